//! The registration of the injector's webhook: for which pods the API server asks it.
//!
//! Opting in is the only way in, so a webhook that is down holds up only pods that were to be
//! meshed. The two entries never match the same pod: one is about pods that say nothing in
//! namespaces that opted in, the other about pods that say something. A label with a value that
//! means nothing reaches the injector too, which refuses the pod and says what would do.

use serde_json::{Value, json};

use super::{FailurePolicy, NAME, Settings, labels};
use crate::control::inject::{EXEMPT, INJECT};
use crate::control::kube::webhook::INJECTOR;
use crate::model::CONTROL_PLANE_NAMESPACE;

/// The port of the webhook, at the pod and at the service.
pub(super) const PORT: u16 = 15017;

/// `caBundle` is the control plane's to write, as soon as it has its root; until then nobody can
/// be taken for it.
pub(super) fn configuration(settings: &Settings) -> Value {
    // Of a namespace too, a value that means nothing is refused rather than taken for no.
    let opted_in = [exists(INJECT), expression(INJECT, "NotIn", &["disabled"])];
    let silent = [json!({"key": INJECT, "operator": "DoesNotExist"})];
    json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingWebhookConfiguration",
        "metadata": {"name": INJECTOR, "labels": labels()},
        "webhooks": [
            webhook(settings, "namespace", &opted_in, &silent),
            webhook(settings, "pod", &[], &opted_in),
        ],
    })
}

fn webhook(settings: &Settings, name: &str, namespaces: &[Value], pods: &[Value]) -> Value {
    let mut namespaces = namespaces.to_vec();
    namespaces.push(expression("kubernetes.io/metadata.name", "NotIn", &EXEMPT));
    json!({
        "name": format!("{name}.injector.outrigger.dev"),
        "admissionReviewVersions": ["v1"],
        "clientConfig": {
            "service": {
                "name": NAME,
                "namespace": CONTROL_PLANE_NAMESPACE,
                "path": "/inject",
                "port": PORT,
            },
        },
        "failurePolicy": match settings.failure_policy {
            FailurePolicy::Fail => "Fail",
            FailurePolicy::Ignore => "Ignore",
        },
        "matchPolicy": "Equivalent",
        "namespaceSelector": {"matchExpressions": namespaces},
        "objectSelector": {"matchExpressions": pods},
        // A second call would find the pod injected and leave it alone.
        "reinvocationPolicy": "Never",
        "rules": [{
            "apiGroups": [""],
            "apiVersions": ["v1"],
            "operations": ["CREATE"],
            "resources": ["pods"],
            "scope": "Namespaced",
        }],
        "sideEffects": "None",
        "timeoutSeconds": 10,
    })
}

fn expression(key: &str, operator: &str, values: &[&str]) -> Value {
    json!({"key": key, "operator": operator, "values": values})
}

/// `NotIn` alone also takes what has no such label.
fn exists(key: &str) -> Value {
    json!({"key": key, "operator": "Exists"})
}
