//! Routes, policies and workloads: read by the same strict decoder as a file.
//!
//! The API server's schema lets in what it doesn't know, and can't say everything that must hold. What
//! it let in and the mesh can't act on is a fault, said to whoever writes the object if the validator
//! is asked in time, and in its status; of an access policy the strict one that then counts comes with
//! it. Of a route only those parents count that are Services: the others are a gateway's.

use std::sync::Arc;

use kube::api::{DynamicObject, ObjectMeta};
use serde_json::{Value, json};

use super::{created_ms, metadata, version};
use crate::control::catalog::Held;
use crate::resources::{AccessPolicy, Fault, Origin, Resource, parse_documents};

/// What became of an object.
#[derive(Debug)]
pub enum Judged {
    /// It is not for the mesh.
    Foreign,
    Sound(Held),
    Faulty {
        faults: Vec<Fault>,
        /// What counts for an access policy of which no good form is known.
        strict: Option<Held>,
    },
}

/// Reads an object of a kind that may be written in a file.
pub fn judge(api_version: &str, kind: &str, object: DynamicObject) -> Judged {
    let DynamicObject { types: _, metadata: meta, mut data } = object;
    let mut spec = data.get_mut("spec").map(Value::take).unwrap_or_else(|| json!({}));
    if let Some(parents) = spec.get_mut("parentRefs").and_then(Value::as_array_mut) {
        parents.retain(is_service);
        if parents.is_empty() {
            return Judged::Foreign;
        }
    } else if kind.ends_with("Route") {
        return Judged::Foreign;
    }
    let name = meta.name.clone().unwrap_or_default();
    let mut document = json!({
        "apiVersion": api_version,
        "kind": kind,
        "metadata": {
            "name": name,
            "namespace": meta.namespace,
            "labels": meta.labels,
            "creationTimestamp": meta.creation_timestamp.as_ref().map(|time| time.0.to_string()),
        },
        "spec": spec,
    });
    // Nobody's field, as the decoder says: most likely one of the spec's that is not indented enough.
    for (field, value) in data.as_object_mut().into_iter().flatten() {
        if !matches!(field.as_str(), "spec" | "status") {
            document[field] = value.take();
        }
    }
    let origin = Origin::file(format!("{kind} {name}"));
    let namespace = meta.namespace.as_deref().unwrap_or_default();
    let manifest = document.to_string();
    match parse_documents(&manifest, &origin, namespace).map(|mut all| all.pop()) {
        Ok(Some(resource)) => Judged::Sound(held(resource, &meta)),
        Ok(None) => Judged::Foreign,
        Err(faults) => {
            let of_access = metadata(&meta).filter(|_| kind == "AccessPolicy");
            let policy = of_access.map(|of| Arc::new(AccessPolicy::in_place_of(&manifest, of)));
            let strict = policy.map(|policy| held(Resource::AccessPolicy(policy), &meta));
            Judged::Faulty { faults, strict }
        }
    }
}

fn held(resource: Resource, meta: &ObjectMeta) -> Held {
    Held { resource: resource.into(), version: version(meta), created_ms: created_ms(meta) }
}

/// The API server fills in `group` and `kind`, which mean a Gateway unless somebody said otherwise.
fn is_service(parent: &Value) -> bool {
    let word = |name: &str| parent.get(name).and_then(Value::as_str);
    word("kind") == Some("Service") && matches!(word("group"), None | Some("" | "core"))
}
