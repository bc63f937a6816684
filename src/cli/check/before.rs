//! Whether a cluster can take the mesh: its release, what else is in it, what the user may do.
//!
//! Native sidecars are what a pod's start and end stand on: a cluster that has none is too old.

use serde_json::{Value, json};

use super::cluster::Cluster;
use super::finding::Finding;
use super::place::{collection, items, name, some_of, text};
use crate::control::install::{self, Settings};
use crate::control::kube::webhook::INJECTOR;

const VERSION: &str = "Kubernetes";
const ROUTES: &str = "Gateway API";
const OTHERS: &str = "other meshes";
const RIGHTS: &str = "rights";

/// Whether it answers, and is recent enough; what stands there already.
pub(super) async fn cluster(cluster: &Cluster) -> Vec<Finding> {
    let version = match cluster.object("/version").await {
        Ok(version) => version.unwrap_or_default(),
        Err(why) => {
            let cure = "see what `kubectl version` says; --kubeconfig and --kube-context choose another cluster";
            return vec![Finding::failed("API server", format!("{}: {why}", cluster.url), cure)];
        }
    };
    let mut all = vec![Finding::fine("API server", cluster.url.clone()), release(&version)];
    all.push(match cluster.object("/apis/gateway.networking.k8s.io/v1").await {
        Ok(kinds) => routes(kinds.as_ref()),
        Err(why) => Finding::remark(ROUTES, why, "ask for the right to look"),
    });
    let path = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations";
    all.push(match cluster.list(path).await {
        Ok(list) => others(&list),
        Err(why) => {
            Finding::remark(OTHERS, why, "ask for the right to list webhook configurations")
        }
    });
    all
}

pub(super) fn release(version: &Value) -> Finding {
    let number = |field: &str| -> Option<u32> {
        text(&version[field]).trim_end_matches(|c: char| !c.is_ascii_digit()).parse().ok()
    };
    let (Some(major), Some(minor)) = (number("major"), number("minor")) else {
        return Finding::failed(VERSION, "its version can't be read", "is this an API server?");
    };
    let says = format!("{major}.{minor}");
    match (major, minor) {
        (1, ..=27) => Finding::failed(
            VERSION,
            format!("{says} has no native sidecars"),
            "upgrade the cluster to 1.29 or later",
        ),
        (1, 28) => Finding::remark(
            VERSION,
            format!(
                "{says} has native sidecars only where the feature gate SidecarContainers is on"
            ),
            "turn it on for the API server and all kubelets, or upgrade to 1.29",
        ),
        _ => Finding::fine(VERSION, says),
    }
}

pub(super) fn routes(kinds: Option<&Value>) -> Finding {
    let cure =
        "for HTTPRoute and GRPCRoute, install the Gateway API (its standard channel, 1.1 or later)";
    let Some(kinds) = kinds else {
        return Finding::remark(ROUTES, "is not installed: there are no routes", cure);
    };
    let has =
        |plural: &&str| items(&kinds["resources"]).iter().any(|of| text(&of["name"]) == *plural);
    let missing: Vec<&str> =
        ["httproutes", "grpcroutes"].into_iter().filter(|plural| !has(plural)).collect();
    match missing.is_empty() {
        true => Finding::fine(ROUTES, "HTTPRoute and GRPCRoute are there"),
        false => Finding::remark(ROUTES, format!("lacks {}", missing.join(" and ")), cure),
    }
}

/// Two sidecars that redirect the same connections end in a loop.
pub(super) fn others(webhooks: &[Value]) -> Finding {
    let known = ["istio", "linkerd", "kuma", "consul", "osm-", "cilium-envoy"];
    let is_mesh = |of: &&Value| known.iter().any(|word| name(of).contains(word));
    let found: Vec<&str> =
        webhooks.iter().filter(is_mesh).map(name).filter(|name| *name != INJECTOR).collect();
    match found.is_empty() {
        true => Finding::fine(OTHERS, "none"),
        false => Finding::remark(
            OTHERS,
            format!("{} may inject too", some_of(&found)),
            "never opt a namespace in to two meshes at once",
        ),
    }
}

/// Whether the user may do what `kubectl apply` of the manifests asks for.
pub(super) async fn rights(cluster: &Cluster) -> Vec<Finding> {
    let mut refused = Vec::new();
    for asked in questions() {
        let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
        let review = json!({
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": asked},
        });
        match cluster.create(path, &review).await {
            Ok(answer) if answer["status"]["allowed"] == true => {}
            Ok(_) => refused.push(format!("{} {}", text(&asked["verb"]), text(&asked["resource"]))),
            Err(why) => {
                return vec![Finding::failed(RIGHTS, why, "ask an administrator of the cluster")];
            }
        }
    }
    let refused: Vec<&str> = refused.iter().map(String::as_str).collect();
    vec![match refused.is_empty() {
        true => Finding::fine(RIGHTS, "enough to install"),
        false => Finding::failed(
            RIGHTS,
            format!("you may not {}", some_of(&refused)),
            "let an administrator of the cluster install it",
        ),
    }]
}

/// One for each kind and verb.
pub(super) fn questions() -> Vec<Value> {
    let mut all: Vec<Value> = Vec::new();
    for object in install::objects(&Settings::default()) {
        let api_version = text(&object["apiVersion"]);
        let (_, plural) = collection(api_version, text(&object["kind"]));
        let group = api_version.split_once('/').map_or("", |(group, _)| group);
        for verb in ["create", "patch"] {
            let mut asked = json!({"group": group, "resource": plural, "verb": verb});
            if let Some(namespace) = object["metadata"]["namespace"].as_str() {
                asked["namespace"] = json!(namespace);
            }
            if !all.contains(&asked) {
                all.push(asked);
            }
        }
    }
    all
}
