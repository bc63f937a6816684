//! What the API server is told of a pod that is created: injected, refused, or left as it is. Nothing
//! is kept and nothing else is done, so that a dry run is like any other.
//!
//! What can't be injected is refused with the sentence that says why: a pod that asked for a sidecar
//! and starts without one would be let in nowhere, or worse, everywhere.

use k8s_openapi::ByteString;
use serde_json::{Value, json};
use tracing::{debug, info};

use super::{Asked, Injected, Outcome, Refusal, Remark, Settings, inject, patch};
use crate::control::webhook::{Cause, Judge, ReviewError, Subject, at, refused, text};
use crate::resources::Labels;
use crate::telemetry::metrics::{Counter, Registry};

/// The labels of a namespace; `None` where nothing is known of it.
pub type NamespaceLabels = Box<dyn Fn(&str) -> Option<Labels> + Send + Sync>;

/// Injects pods as they are created.
pub struct Injector {
    settings: Settings,
    namespace_labels: NamespaceLabels,
    injections: Injections,
}

/// Answers to the API server, by what they were.
#[derive(Clone, Default)]
struct Injections {
    injected: Counter,
    skipped: Counter,
    refused: Counter,
    /// The question was none.
    failed: Counter,
}

impl Injections {
    fn register(registry: &Registry) -> Self {
        let family = registry.counter_family(
            "outrigger_control_injections_total",
            "Pods that the injector was asked about: injected, skipped, refused, or failed for want \
             of a question.",
            4,
            &["result"],
        );
        let of = |result| family.with(&[result]);
        Self {
            injected: of("injected"),
            skipped: of("skipped"),
            refused: of("refused"),
            failed: of("failed"),
        }
    }
}

impl Injector {
    pub fn new(settings: Settings, namespace_labels: NamespaceLabels) -> Self {
        Self { settings, namespace_labels, injections: Injections::default() }
    }

    /// The same, whose answers are counted where others see it.
    #[must_use]
    pub fn counted(self, registry: &Registry) -> Self {
        Self { injections: Injections::register(registry), ..self }
    }
}

impl Judge for Injector {
    fn verdict(&self, request: &Value) -> Result<Value, ReviewError> {
        if !is_new_pod(request) {
            return Ok(json!({"allowed": true}));
        }
        let pod = at(request, "object").ok_or(ReviewError::Lacks("request.object"))?;
        let namespace =
            text(request, ["namespace"]).ok_or(ReviewError::Lacks("request.namespace"))?;
        let labels = (self.namespace_labels)(namespace);
        let name = text(pod, ["metadata", "name"])
            .or_else(|| text(pod, ["metadata", "generateName"]))
            .unwrap_or_default();
        let asked = Asked::OnCreation(labels.as_ref());
        Ok(match inject(pod, Some(namespace), asked, &self.settings) {
            Ok(Outcome::Skipped(reason)) => {
                self.injections.skipped.inc();
                debug!(namespace, pod = name, %reason, "not injected");
                json!({"allowed": true})
            }
            Ok(Outcome::Injected(Injected { pod: injected, remarks })) => {
                self.injections.injected.inc();
                debug!(namespace, pod = name, "injected");
                accepted(pod, &injected, &remarks)
            }
            Err(refusals) => {
                self.injections.refused.inc();
                let sentence = sentence(&refusals);
                info!(namespace, pod = name, "refused: {sentence}");
                let subject = Subject { group: "", kind: "Pod", name };
                let causes: Vec<Cause> = refusals.iter().map(Refusal::cause).collect();
                refused(&sentence, subject, &causes)
            }
        })
    }

    fn failed(&self) {
        self.injections.failed.inc();
    }
}

/// Whoever configures the webhook may ask for more than it is for.
fn is_new_pod(request: &Value) -> bool {
    let kind = &request["kind"];
    text(kind, ["group"]).unwrap_or_default().is_empty()
        && text(kind, ["kind"]) == Some("Pod")
        && text(request, ["operation"]) == Some("CREATE")
        && text(request, ["subResource"]).unwrap_or_default().is_empty()
}

fn accepted(pod: &Value, injected: &Value, remarks: &[Remark]) -> Value {
    let operations = Value::from(patch::diff(pod, injected)).to_string();
    let mut response = json!({
        "allowed": true,
        "patchType": "JSONPatch",
        // As bytes are in Kubernetes' JSON: in base64.
        "patch": ByteString(operations.into_bytes()),
    });
    if !remarks.is_empty() {
        let remarks: Vec<String> = remarks.iter().map(Remark::to_string).collect();
        response["warnings"] = json!(remarks);
    }
    response
}

fn sentence(refusals: &[Refusal]) -> String {
    let refusals: Vec<String> = refusals.iter().map(Refusal::to_string).collect();
    format!("no sidecar can be injected: {}", refusals.join("; "))
}
