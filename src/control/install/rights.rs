//! What the control plane may do in a cluster: no verb without somebody who needs it.
//!
//! It reads what describes the mesh, and writes only its own: status of routes and policies, its
//! Secrets, its Lease, the trust bundle, the bundles of its webhooks. It can't read a Secret that is
//! not its own, make a pod, or change a workload. Where the API has no way to say it more narrowly
//! (a `create` knows no names), the comment says so.

use serde_json::{Value, json};

use super::{NAME, labels, metadata};
use crate::control::kube::{authority, lease, state, trust, webhook};
use crate::model::CONTROL_PLANE_NAMESPACE;

/// Keys, tokens and the operators' token; and what was registered from outside the cluster. That of
/// an issuer made elsewhere is not among them: the kubelet reads it, and mounts it.
pub const SECRETS: [&str; 2] = [authority::SECRET, state::SECRET];

/// To have them all, and follow them.
const FOLLOW: [&str; 2] = ["list", "watch"];

/// And read one again, when its status was written by somebody else meanwhile.
const READ: [&str; 3] = ["get", "list", "watch"];

/// A name limits `list` and `watch` too, when they ask for that one name only.
const PATCH: [&str; 3] = ["list", "watch", "patch"];

/// With the version that was read as a precondition, which a patch need not have.
const UPDATE: [&str; 4] = ["get", "list", "watch", "update"];

/// The same of what is asked for again and again, and not followed.
const RENEW: [&str; 2] = ["get", "update"];

pub(super) fn objects() -> Vec<Value> {
    let account =
        json!({"kind": "ServiceAccount", "name": NAME, "namespace": CONTROL_PLANE_NAMESPACE});
    let role = |kind: &str| json!({"apiGroup": RBAC, "kind": kind, "name": NAME});
    let of_cluster = json!({"name": NAME, "labels": labels()});
    let version = format!("{RBAC}/v1");
    vec![
        json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata(NAME)}),
        json!({
            "apiVersion": version,
            "kind": "ClusterRole",
            "metadata": of_cluster,
            "rules": everywhere(),
        }),
        json!({
            "apiVersion": version,
            "kind": "ClusterRoleBinding",
            "metadata": of_cluster,
            "roleRef": role("ClusterRole"),
            "subjects": [account],
        }),
        json!({
            "apiVersion": version,
            "kind": "Role",
            "metadata": metadata(NAME),
            "rules": at_home(),
        }),
        json!({
            "apiVersion": version,
            "kind": "RoleBinding",
            "metadata": metadata(NAME),
            "roleRef": role("Role"),
            "subjects": [account],
        }),
    ]
}

const RBAC: &str = "rbac.authorization.k8s.io";

/// In the whole cluster.
fn everywhere() -> Vec<Value> {
    vec![
        // Names, ports and addresses; who runs where, under which account, and with which labels;
        // which namespaces want sidecars and the trust bundle; the zone of a node.
        rule("", &["services", "pods", "namespaces", "nodes"], &FOLLOW),
        rule("discovery.k8s.io", &["endpointslices"], &FOLLOW),
        rule("gateway.networking.k8s.io", &["httproutes", "grpcroutes"], &READ),
        // Whether a route was accepted; what it says is never written.
        rule("gateway.networking.k8s.io", &["httproutes/status", "grpcroutes/status"], &["patch"]),
        rule(
            "outrigger.dev",
            &["accesspolicies", "ratelimitpolicies", "trafficpolicies", "workloads"],
            &READ,
        ),
        rule(
            "outrigger.dev",
            &[
                "accesspolicies/status",
                "ratelimitpolicies/status",
                "trafficpolicies/status",
                "workloads/status",
            ],
            &["patch"],
        ),
        // Whose token a sidecar brings when it asks for its first certificate.
        rule("authentication.k8s.io", &["tokenreviews"], &["create"]),
        // The trust bundle, in every namespace; to create one can't be limited to a name.
        rule("", &["configmaps"], &["create"]),
        named("", "configmaps", &[trust::CONFIG_MAP], &PATCH),
        // The root by which the API server knows the webhooks; nobody else's webhook.
        named(
            "admissionregistration.k8s.io",
            "mutatingwebhookconfigurations",
            &[webhook::INJECTOR],
            &PATCH,
        ),
        named(
            "admissionregistration.k8s.io",
            "validatingwebhookconfigurations",
            &[webhook::VALIDATOR],
            &PATCH,
        ),
    ]
}

/// In its own namespace.
fn at_home() -> Vec<Value> {
    vec![
        // Its own two; to create one can't be limited to a name.
        rule("", &["secrets"], &["create"]),
        named("", "secrets", &SECRETS, &UPDATE),
        // Which replica writes; to create one can't be limited to a name.
        rule("coordination.k8s.io", &["leases"], &["create"]),
        named("coordination.k8s.io", "leases", &[lease::LEASE], &RENEW),
    ]
}

fn rule(group: &str, resources: &[&str], verbs: &[&str]) -> Value {
    json!({"apiGroups": [group], "resources": resources, "verbs": verbs})
}

fn named(group: &str, resource: &str, names: &[&str], verbs: &[&str]) -> Value {
    json!({
        "apiGroups": [group],
        "resources": [resource],
        "resourceNames": names,
        "verbs": verbs,
    })
}
