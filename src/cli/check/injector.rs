//! Whether new pods get sidecars, and whether mistakes are told of as they are written: the webhooks'
//! registrations, their root, and a try of each.
//!
//! The tries are a pod, and a resource with a mistake, that are created as dry runs: the API server
//! asks the webhook as for any other, and keeps nothing.

use serde_json::{Value, json};

use super::certificates::{BUNDLE, certificates};
use super::cluster::Cluster;
use super::finding::Finding;
use super::place::{items, label, name, text};
use crate::control::inject::{INJECT, has_sidecar};
use crate::control::kube::webhook::{INJECTOR, VALIDATOR};

const REGISTRATION: &str = "webhook";
const TRY: &str = "injection";
const VALIDATION: &str = "validation";

/// Where registrations are.
const REGISTRATIONS: &str = "/apis/admissionregistration.k8s.io/v1";

/// The mistake of the other try.
const MISTAKE: &str = "adress";

pub(super) async fn check(cluster: &Cluster) -> Vec<Finding> {
    let bundle = cluster.object(BUNDLE).await.ok().flatten();
    let mut all = Vec::new();
    let path = format!("{REGISTRATIONS}/mutatingwebhookconfigurations/{INJECTOR}");
    match cluster.object(&path).await {
        Err(why) => all.push(Finding::failed(REGISTRATION, why, "ask for the right to look")),
        Ok(found) => {
            all.push(registration(found.as_ref(), bundle.as_ref()));
            if found.is_some() {
                all.push(attempt(cluster).await);
            }
        }
    }
    let path = format!("{REGISTRATIONS}/validatingwebhookconfigurations/{VALIDATOR}");
    all.push(match cluster.object(&path).await {
        Err(why) => Finding::failed(VALIDATION, why, "ask for the right to look"),
        Ok(found) => match trusted(VALIDATION, VALIDATOR, found.as_ref(), bundle.as_ref()) {
            Ok(_) => mistaken(try_mistake(cluster).await),
            Err(finding) => finding,
        },
    });
    all
}

/// A registration that is there, and knows the control plane by its root.
fn trusted<'a>(
    about: &'static str,
    name: &str,
    found: Option<&'a Value>,
    bundle: Option<&Value>,
) -> Result<&'a Value, Finding> {
    let Some(found) = found else {
        let cure = "outrigger install | kubectl apply -f -";
        return Err(Finding::failed(about, format!("{name} is not there"), cure));
    };
    let cure = "the control plane's leader writes it: its log says what keeps it from that";
    let roots = bundle.map(|of| certificates(text(&of["data"]["ca.pem"]))).unwrap_or_default();
    for webhook in items(&found["webhooks"]) {
        let encoded = text(&webhook["clientConfig"]["caBundle"]);
        let known = certificates(&decoded(encoded));
        let of = text(&webhook["name"]);
        if known.is_empty() {
            return Err(Finding::failed(about, format!("{of} has no caBundle"), cure));
        }
        if !roots.is_empty() && !known.iter().any(|root| roots.contains(root)) {
            let says = format!("{of} knows none of the mesh's roots");
            return Err(Finding::failed(about, says, cure));
        }
    }
    Ok(found)
}

/// Of the injector's registration.
pub(super) fn registration(found: Option<&Value>, bundle: Option<&Value>) -> Finding {
    let found = match trusted(REGISTRATION, INJECTOR, found, bundle) {
        Ok(found) => found,
        Err(finding) => return finding,
    };
    let policies: Vec<&str> =
        items(&found["webhooks"]).iter().map(|of| text(&of["failurePolicy"])).collect();
    match policies.contains(&"Ignore") {
        true => Finding::remark(
            REGISTRATION,
            "pods start without a sidecar while the control plane is away (failurePolicy: Ignore)",
            "outrigger install --failure-policy fail, or look here after each outage",
        ),
        false => Finding::fine(REGISTRATION, "registered, with the mesh's root"),
    }
}

async fn try_mistake(cluster: &Cluster) -> Result<Value, String> {
    let workload = json!({
        "apiVersion": "outrigger.dev/v1alpha1",
        "kind": "Workload",
        "metadata": {"generateName": "outrigger-check-"},
        "spec": {"address": "192.0.2.1", MISTAKE: "192.0.2.1"},
    });
    let path = "/apis/outrigger.dev/v1alpha1/namespaces/default/workloads?dryRun=All";
    cluster.create(path, &workload).await
}

/// What became of the mistake. An API server that gets no answer lets it pass.
pub(super) fn mistaken(workload: Result<Value, String>) -> Finding {
    match workload {
        Err(why) if why.contains(MISTAKE) => {
            Finding::fine(VALIDATION, "a mistake in a resource is refused as it is written")
        }
        Err(why) => Finding::remark(
            VALIDATION,
            format!("not tried: {why}"),
            "ask for the right to create workloads",
        ),
        Ok(_) => Finding::remark(
            VALIDATION,
            "mistakes in resources are not refused as they are written, and stand in their status only",
            "may the API server reach the control plane's port 15017?",
        ),
    }
}

async fn attempt(cluster: &Cluster) -> Finding {
    let namespaces = cluster.list("/api/v1/namespaces").await.unwrap_or_default();
    let opted_in = namespaces.iter().find(|of| label(of, INJECT) == "enabled");
    let namespace = opted_in.map_or("default", name);
    let pod = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"generateName": "outrigger-check-", "labels": {INJECT: "enabled"}},
        "spec": {"containers": [{"name": "app", "image": "none"}]},
    });
    let path = format!("/api/v1/namespaces/{namespace}/pods?dryRun=All");
    judged(namespace, cluster.create(&path, &pod).await)
}

/// What became of the try.
pub(super) fn judged(namespace: &str, pod: Result<Value, String>) -> Finding {
    match pod {
        Ok(pod) if has_sidecar(&pod["spec"]) => {
            Finding::fine(TRY, format!("a new pod in {namespace} gets a sidecar"))
        }
        Ok(_) => Finding::failed(
            TRY,
            format!("a new pod in {namespace} that asks for a sidecar gets none"),
            "the control plane's log says why; without a line there, the API server can't reach port 15017",
        ),
        Err(why) if why.contains("PodSecurity") => Finding::failed(
            TRY,
            format!("{namespace} takes no meshed pods: {why}"),
            "let it have NET_ADMIN for the init container, or use a CNI: see deploy/kubernetes/security.md",
        ),
        Err(why) if why.contains("webhook") => Finding::failed(
            TRY,
            why,
            "is the control plane available, and may the API server reach its port 15017?",
        ),
        Err(why) => {
            Finding::remark(TRY, format!("not tried: {why}"), "ask for the right to create pods")
        }
    }
}

/// From base64; what is none is empty.
pub(super) fn decoded(text: &str) -> String {
    let bytes: Option<k8s_openapi::ByteString> = serde_json::from_value(json!(text)).ok();
    bytes.map(|bytes| String::from_utf8_lossy(&bytes.0).into_owned()).unwrap_or_default()
}
