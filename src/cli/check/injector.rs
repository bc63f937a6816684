//! Whether new pods get sidecars: the webhook's registration, its root, and a try.
//!
//! The try is a pod that is created as a dry run: the API server asks the webhook as for any other
//! pod, and keeps nothing.

use serde_json::{Value, json};

use super::certificates::{BUNDLE, certificates};
use super::cluster::Cluster;
use super::finding::Finding;
use super::place::{items, label, name, text};
use crate::control::inject::{INJECT, has_sidecar};
use crate::control::kube::webhook::INJECTOR;

const REGISTRATION: &str = "webhook";
const TRY: &str = "injection";

pub(super) async fn check(cluster: &Cluster) -> Vec<Finding> {
    let path =
        format!("/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/{INJECTOR}");
    let found = match cluster.object(&path).await {
        Ok(found) => found,
        Err(why) => return vec![Finding::failed(REGISTRATION, why, "ask for the right to look")],
    };
    let bundle = cluster.object(BUNDLE).await.ok().flatten();
    let registration = registration(found.as_ref(), bundle.as_ref());
    if found.is_none() {
        return vec![registration];
    }
    vec![registration, attempt(cluster).await]
}

/// Whether it is there, and knows the control plane by its root.
pub(super) fn registration(found: Option<&Value>, bundle: Option<&Value>) -> Finding {
    let Some(found) = found else {
        let cure = "outrigger install | kubectl apply -f -";
        return Finding::failed(REGISTRATION, format!("{INJECTOR} is not there"), cure);
    };
    let cure = "the control plane's leader writes it: its log says what keeps it from that";
    let roots = bundle.map(|of| certificates(text(&of["data"]["ca.pem"]))).unwrap_or_default();
    for webhook in items(&found["webhooks"]) {
        let encoded = text(&webhook["clientConfig"]["caBundle"]);
        let known = certificates(&decoded(encoded));
        let of = text(&webhook["name"]);
        if known.is_empty() {
            return Finding::failed(REGISTRATION, format!("{of} has no caBundle"), cure);
        }
        if !roots.is_empty() && !known.iter().any(|root| roots.contains(root)) {
            let says = format!("{of} knows none of the mesh's roots");
            return Finding::failed(REGISTRATION, says, cure);
        }
    }
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
