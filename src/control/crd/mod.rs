//! The kinds of resources as CustomResourceDefinitions, for an API server to check what it is given.
//!
//! Fields, what must be there, words and bounds come from the decoders ([`crate::resources::sketch()`])
//! and can't differ from them. Told here is what a decoder doesn't know of itself: a sentence for
//! each field (`words`), a pattern for each form of text (`text`), and rules across fields
//! (`rules`). The schema never refuses what the decoder takes; where it can't say all that the
//! decoder checks, the validator does, and the object's status. Nothing that somebody wrote is dropped
//! before the decoder saw it.

mod rules;
mod schema;
#[cfg(test)]
mod tests;
mod text;
mod words;

use serde_json::{Value, json};

use crate::resources;

/// The API group of our kinds.
pub const GROUP: &str = "outrigger.dev";

/// Its only version.
pub const VERSION: &str = "v1alpha1";

/// A kind, and what an API server is told of it beside its fields.
#[derive(Debug)]
struct Kind {
    name: &'static str,
    plural: &'static str,
    short: &'static str,
    about: &'static str,
    /// What `kubectl get` shows between name and age: heading and JSON path.
    columns: &'static [(&'static str, &'static str)],
    /// A sentence for each field.
    words: &'static [(&'static str, &'static str)],
    /// Rules across fields.
    rules: &'static [rules::Rule],
}

const ACCEPTED: (&str, &str) = ("Accepted", ".status.conditions[?(@.type==\"Accepted\")].status");

const KINDS: [Kind; 4] = [
    Kind {
        name: "AccessPolicy",
        plural: "accesspolicies",
        short: "outap",
        about: "Who may call a workload, and how.",
        columns: &[
            ("mTLS", ".spec.mtls"),
            ("Mode", ".spec.mode"),
            ("Ports", ".spec.ports"),
            ACCEPTED,
        ],
        words: words::ACCESS_POLICY,
        rules: &[],
    },
    Kind {
        name: "RateLimitPolicy",
        plural: "ratelimitpolicies",
        short: "outrl",
        about: "How often a workload may be called, and how much of it at once.",
        columns: &[
            ("Keys", ".spec.limits[*].key"),
            ("Concurrency", ".spec.concurrency.limit"),
            ("Ports", ".spec.ports"),
            ACCEPTED,
        ],
        words: words::RATE_LIMIT_POLICY,
        rules: rules::RATE_LIMIT_POLICY,
    },
    Kind {
        name: "TrafficPolicy",
        plural: "trafficpolicies",
        short: "outtp",
        about: "How callers treat a service, the requests of a route, or everything in a namespace or the mesh.",
        columns: &[("Targets", ".spec.targetRefs[*].name"), ACCEPTED],
        words: words::TRAFFIC_POLICY,
        rules: rules::TRAFFIC_POLICY,
    },
    Kind {
        name: "Workload",
        plural: "workloads",
        short: "outwl",
        about: "One running instance outside the cluster's pods, such as a virtual machine's.",
        columns: &[
            ("Address", ".spec.address"),
            ("Account", ".spec.serviceAccount"),
            ("Zone", ".spec.zone"),
            ("Meshed", ".status.conditions[?(@.type==\"Meshed\")].status"),
            ACCEPTED,
        ],
        words: words::WORKLOAD,
        rules: rules::WORKLOAD,
    },
];

/// A CustomResourceDefinition for each kind that this version decodes.
pub fn all() -> Vec<Value> {
    KINDS.iter().filter_map(definition).collect()
}

fn definition(kind: &Kind) -> Option<Value> {
    let spec = schema::of(&resources::sketch(kind.name)?, kind.words, kind.rules);
    let column =
        |(name, path): &(&str, &str)| json!({"name": name, "type": "string", "jsonPath": path});
    let age = json!({"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"});
    let columns: Value = kind.columns.iter().map(column).chain([age]).collect();
    Some(json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": format!("{}.{GROUP}", kind.plural),
            "labels": {
                "app.kubernetes.io/name": "outrigger",
                // Who updates an installation sees by it whether the kinds were updated too.
                "app.kubernetes.io/version": env!("CARGO_PKG_VERSION"),
            },
        },
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": kind.name,
                "listKind": format!("{}List", kind.name),
                "plural": kind.plural,
                "singular": kind.name.to_ascii_lowercase(),
                "shortNames": [kind.short],
                "categories": ["outrigger"],
            },
            "versions": [{
                "name": VERSION,
                "served": true,
                "storage": true,
                "subresources": {"status": {}},
                "additionalPrinterColumns": columns,
                "schema": {"openAPIV3Schema": {
                    "type": "object",
                    "description": kind.about,
                    "required": ["spec"],
                    // A field of the spec that is not indented enough stands here.
                    (schema::KEPT): true,
                    "properties": {
                        "apiVersion": {"type": "string"},
                        "kind": {"type": "string"},
                        "metadata": {"type": "object"},
                        "spec": spec,
                        "status": schema::status(),
                    },
                }},
            }],
        },
    }))
}
