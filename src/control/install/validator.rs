//! The registration of the validator: which writes the API server asks it about.
//!
//! Everything here is `Ignore`, and has to be. Nothing rests on the validator: what comes past it is
//! judged by the watch with the same decoder, has no effect but the strict one, and says so in its
//! status; so nothing fails open. But a registration that failed closed would keep everybody from
//! changing any policy while no control plane answers: also from the one that keeps an attacker out,
//! and from what would bring the control plane back. The injector's is another matter: there `Ignore`
//! would start pods without a sidecar, which nobody notices.
//!
//! What is removed is asked about nowhere, nor is what is written into a status, so neither a namespace
//! nor a finalizer ever waits for an answer.

use serde_json::{Value, json};

use super::{NAME, labels, webhook};
use crate::control::kube::webhook::VALIDATOR;
use crate::model::CONTROL_PLANE_NAMESPACE;

/// `caBundle` is the control plane's to write, as in the injector's.
pub(super) fn configuration() -> Value {
    json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": VALIDATOR, "labels": labels()},
        "webhooks": [
            entry(
                "resources",
                ("outrigger.dev", "v1alpha1"),
                &["accesspolicies", "ratelimitpolicies", "trafficpolicies", "workloads"],
            ),
            // Only to warn: they are not ours to refuse.
            entry("routes", ("gateway.networking.k8s.io", "v1"), &["grpcroutes", "httproutes"]),
        ],
    })
}

fn entry(name: &str, (group, version): (&str, &str), resources: &[&str]) -> Value {
    json!({
        "name": format!("{name}.validator.outrigger.dev"),
        "admissionReviewVersions": ["v1"],
        "clientConfig": {
            "service": {
                "name": NAME,
                "namespace": CONTROL_PLANE_NAMESPACE,
                "path": "/validate",
                "port": webhook::PORT,
            },
        },
        "failurePolicy": "Ignore",
        "matchPolicy": "Equivalent",
        "rules": [{
            "apiGroups": [group],
            "apiVersions": [version],
            "operations": ["CREATE", "UPDATE"],
            "resources": resources,
            "scope": "Namespaced",
        }],
        "sideEffects": "None",
        // Whoever writes waits so long where a call gets lost on its way. An answer takes milliseconds.
        "timeoutSeconds": 3,
    })
}
