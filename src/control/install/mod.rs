//! What `outrigger install` puts into a cluster, as the objects themselves.
//!
//! One source for the plain manifests, the Helm chart and the kustomize base: whatever is printed
//! comes from [`objects`], in an order in which each thing finds what it needs. The namespace is no
//! setting: it is part of the identity by which every sidecar knows the control plane.

mod rights;
#[cfg(test)]
mod tests;
mod validator;
mod webhook;
mod workload;

use std::time::Duration;

use serde_json::{Value, json};

pub use rights::SECRETS;

use super::crd;
use super::inject::{INJECT, SIDECAR, Traces};
use super::replicas::LABELS;
use crate::model::{CONTROL_PLANE_ACCOUNT, CONTROL_PLANE_NAMESPACE, Mtls, TrustDomain};

/// The control plane's name, wherever an object of it has one: its account, its service.
pub const NAME: &str = CONTROL_PLANE_ACCOUNT;

/// The policy for the whole mesh.
pub const MESH_DEFAULT: &str = "mesh-default";

/// Written on the Deployment, so that `check` knows what was asked for.
pub const MTLS: &str = "outrigger.dev/mtls";

/// The label that says which release a pod runs.
pub const VERSION: &str = "app.kubernetes.io/version";

/// What becomes of new pods while the webhook can't be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailurePolicy {
    /// They wait: their controllers try again.
    Fail,
    /// They start without a sidecar.
    Ignore,
}

/// What an installation may say of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    pub control_plane_image: String,
    /// What the injector writes into pods.
    pub proxy_image: String,
    /// Of all pods that say nothing themselves.
    pub traces: Traces,
    pub replicas: u32,
    /// Whether workloads take plaintext where no policy says otherwise.
    pub mtls: Mtls,
    pub trust_domain: TrustDomain,
    pub cert_lifetime: Duration,
    /// The Secret of the control plane's namespace that another program writes the mesh's issuer into;
    /// absent: the control plane makes its own.
    pub issuer_secret: Option<String>,
    pub failure_policy: FailurePolicy,
    /// error, warn, info, debug or trace.
    pub log_level: String,
    pub cpu_request: String,
    pub memory_request: String,
    pub memory_limit: String,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            control_plane_image: image(NAME),
            proxy_image: image(SIDECAR),
            traces: Traces::default(),
            replicas: 2,
            mtls: Mtls::Permissive,
            trust_domain: TrustDomain::default(),
            cert_lifetime: Duration::from_secs(24 * 60 * 60),
            issuer_secret: None,
            failure_policy: FailurePolicy::Fail,
            log_level: "info".into(),
            cpu_request: "100m".into(),
            memory_request: "128Mi".into(),
            memory_limit: "1Gi".into(),
        }
    }
}

/// An image of this release by its name.
fn image(name: &str) -> String {
    format!("{name}:{}", env!("CARGO_PKG_VERSION"))
}

/// Objects that belong together; a file each in the chart and the kustomize base.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Group {
    Namespace,
    /// The kinds of resources; everything else can wait for them.
    Crds,
    Rights,
    ControlPlane,
    Injector,
    Validator,
    /// Objects of our own kinds, which an API server takes once it serves the kinds.
    Policy,
}

impl Group {
    /// In the order in which they are applied.
    pub const ALL: [Group; 7] = [
        Group::Namespace,
        Group::Crds,
        Group::Rights,
        Group::ControlPlane,
        Group::Injector,
        Group::Validator,
        Group::Policy,
    ];

    /// The name of its file, without an extension.
    pub fn file(self) -> &'static str {
        match self {
            Group::Namespace => "namespace",
            Group::Crds => "crds",
            Group::Rights => "rights",
            Group::ControlPlane => "control-plane",
            Group::Injector => "injector",
            Group::Validator => "validator",
            Group::Policy => "policy",
        }
    }
}

/// The objects of one group, in the order in which they are applied.
pub fn group(group: Group, settings: &Settings) -> Vec<Value> {
    match group {
        Group::Namespace => vec![namespace()],
        Group::Crds => crd::all(),
        Group::Rights => rights::objects(),
        Group::ControlPlane => workload::objects(settings),
        Group::Injector => vec![webhook::configuration(settings)],
        Group::Validator => vec![validator::configuration()],
        Group::Policy => match settings.mtls {
            Mtls::Permissive => vec![permissive()],
            Mtls::Strict => Vec::new(),
        },
    }
}

/// Everything, in the order in which it is applied.
pub fn objects(settings: &Settings) -> Vec<Value> {
    Group::ALL.into_iter().flat_map(|of| group(of, settings)).collect()
}

/// Everything, in the order in which it can be taken away: first what would hold up new pods, then
/// what watches, then what it stood on. The kinds go only on demand, because everything that was
/// written in them goes with them.
pub fn removals(with_kinds: bool) -> Vec<Value> {
    let settings = Settings::default();
    let mut order = vec![
        Group::Injector,
        Group::Validator,
        Group::ControlPlane,
        Group::Rights,
        Group::Namespace,
    ];
    if with_kinds {
        order.push(Group::Crds);
    }
    let named = |object: Value| {
        let metadata = &object["metadata"];
        let mut place = json!({"name": metadata["name"]});
        if let Some(namespace) = metadata.get("namespace") {
            place["namespace"] = namespace.clone();
        }
        json!({"apiVersion": object["apiVersion"], "kind": object["kind"], "metadata": place})
    };
    order.into_iter().flat_map(|of| group(of, &settings)).map(named).collect()
}

/// The control plane meets the strictest of the Pod Security Standards, so it is asked of all that
/// ever runs beside its keys.
fn namespace() -> Value {
    let mut labels = labels();
    for mode in ["enforce", "audit", "warn"] {
        labels[format!("pod-security.kubernetes.io/{mode}")] = json!("restricted");
    }
    labels[INJECT] = json!("disabled");
    json!({
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": CONTROL_PLANE_NAMESPACE, "labels": labels},
    })
}

/// So that switching injection on breaks nobody who still calls in plaintext.
fn permissive() -> Value {
    json!({
        "apiVersion": "outrigger.dev/v1alpha1",
        "kind": "AccessPolicy",
        "metadata": metadata(MESH_DEFAULT),
        "spec": {"mtls": Mtls::Permissive.as_str()},
    })
}

/// On every object.
fn labels() -> Value {
    json!({
        "app.kubernetes.io/name": "outrigger",
        "app.kubernetes.io/component": "control-plane",
        VERSION: env!("CARGO_PKG_VERSION"),
    })
}

/// What finds the control plane's pods.
fn selector() -> Value {
    LABELS.iter().map(|(key, value)| ((*key).to_owned(), json!(value))).collect()
}

/// Of an object in the control plane's namespace.
fn metadata(name: &str) -> Value {
    json!({"name": name, "namespace": CONTROL_PLANE_NAMESPACE, "labels": labels()})
}
