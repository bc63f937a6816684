//! How each kind of object becomes a change of the catalog.

use std::collections::HashMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Namespace, Node, Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::{DynamicObject, PartialObjectMeta};
use tracing::warn;

use super::convert::{self, Judged};
use super::namespaces::NamespaceLabels;
use super::status::{Instead, Kind, Reading, Subject};
use super::subjects::Subjects;
use super::watch::Teller;
use crate::control::catalog::{Change, Held, ObjectName};
use crate::resources::Resource;

pub struct Pods;

impl Teller<Pod> for Pods {
    fn now(&mut self, name: &ObjectName, object: Pod) -> Option<Change> {
        Some(Change::Pod(Arc::clone(name), convert::pod(object).map(Arc::new)))
    }

    fn gone(&mut self, name: &ObjectName) -> Option<Change> {
        Some(Change::Pod(Arc::clone(name), None))
    }
}

pub struct Slices;

impl Teller<EndpointSlice> for Slices {
    fn now(&mut self, name: &ObjectName, object: EndpointSlice) -> Option<Change> {
        Some(Change::Slice(Arc::clone(name), convert::slice(object)))
    }

    fn gone(&mut self, name: &ObjectName) -> Option<Change> {
        Some(Change::Slice(Arc::clone(name), None))
    }
}

pub struct Zones;

impl Teller<PartialObjectMeta<Node>> for Zones {
    fn now(&mut self, name: &ObjectName, object: PartialObjectMeta<Node>) -> Option<Change> {
        let zone = convert::zone(&object.metadata).map(Arc::from);
        Some(Change::Zone { node: Arc::clone(name), zone })
    }

    fn gone(&mut self, name: &ObjectName) -> Option<Change> {
        Some(Change::Zone { node: Arc::clone(name), zone: None })
    }
}

pub struct Services;

impl Teller<Service> for Services {
    fn now(&mut self, name: &ObjectName, object: Service) -> Option<Change> {
        let held = convert::service(&object).map(|service| Held {
            resource: Arc::new(Resource::Service(service)),
            version: convert::version(&object.metadata),
            created_ms: convert::created_ms(&object.metadata),
        });
        Some(Change::Resource(key("Service", name), held))
    }

    fn gone(&mut self, name: &ObjectName) -> Option<Change> {
        Some(Change::Resource(key("Service", name), None))
    }
}

/// Kept beside the catalog: the injector asks for them by name.
pub struct Namespaces(pub NamespaceLabels);

impl Teller<PartialObjectMeta<Namespace>> for Namespaces {
    fn now(&mut self, name: &ObjectName, object: PartialObjectMeta<Namespace>) -> Option<Change> {
        self.0.put(name, object.metadata.labels.unwrap_or_default());
        None
    }

    fn gone(&mut self, name: &ObjectName) -> Option<Change> {
        self.0.remove(name);
        None
    }
}

/// Routes, policies or workloads.
pub struct Written {
    pub api_version: &'static str,
    pub kind: &'static str,
    pub subjects: Subjects,
    /// Those of which a good form is in force, with the uid: one that was deleted leaves nothing to
    /// another of its name.
    pub in_force: HashMap<ObjectName, String>,
}

impl Teller<DynamicObject> for Written {
    fn now(&mut self, name: &ObjectName, object: DynamicObject) -> Option<Change> {
        let kind = Kind::of(self.kind);
        let subject = kind.and_then(|kind| Subject::of(kind, &object, Reading::Sound));
        let uid = object.metadata.uid.clone().unwrap_or_default();
        let was_good = self.in_force.get(name) == Some(&uid);
        self.in_force.remove(name);
        let (reading, change) = match convert::judge(self.api_version, self.kind, object) {
            // What its status says of parents that it no longer has must go.
            Judged::Foreign => (Reading::Sound, Some(None)),
            Judged::Sound(held) => {
                self.in_force.insert(Arc::clone(name), uid);
                (Reading::Sound, Some(Some(held)))
            }
            Judged::Faulty { faults, strict } => {
                let faults: Vec<String> = faults.iter().map(ToString::to_string).collect();
                let (instead, change) = match strict {
                    _ if was_good => {
                        self.in_force.insert(Arc::clone(name), uid);
                        (Instead::Before, None)
                    }
                    Some(held) => (Instead::Strict(scope(&held)), Some(Some(held))),
                    None => (Instead::Nothing, Some(None)),
                };
                let stays = match &instead {
                    Instead::Before => "its last good form stays in force".to_owned(),
                    Instead::Strict(scope) => format!("it counts as `mtls: strict` for {scope}"),
                    Instead::Nothing => "it has no effect".to_owned(),
                };
                let said = faults.join("; ");
                warn!(kind = self.kind, %name, "it can't be used, {stays}: {said}");
                (Reading::Faulty { faults, instead }, change)
            }
        };
        let subject = subject.map(|subject| Subject { reading, ..subject });
        self.subjects.pass((self.kind, Arc::clone(name)), subject);
        change.map(|held| Change::Resource(key(self.kind, name), held))
    }

    fn gone(&mut self, name: &ObjectName) -> Option<Change> {
        self.in_force.remove(name);
        self.subjects.pass((self.kind, Arc::clone(name)), None);
        Some(Change::Resource(key(self.kind, name), None))
    }
}

/// Whom an access policy is about.
fn scope(held: &Held) -> String {
    match &*held.resource {
        Resource::AccessPolicy(policy) if !policy.rules.is_empty() => {
            format!("{}, and lets nobody in", policy.scope())
        }
        Resource::AccessPolicy(policy) => policy.scope(),
        other => other.metadata().name.clone(),
    }
}

fn key(kind: &str, name: &ObjectName) -> Arc<str> {
    format!("{kind}/{name}").into()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::model::Mtls;

    fn written(kind: &'static str) -> Written {
        Written {
            api_version: "outrigger.dev/v1alpha1",
            kind,
            subjects: Subjects::default(),
            in_force: HashMap::new(),
        }
    }

    fn object(kind: &str, uid: &str, spec: Value) -> DynamicObject {
        let object = json!({"apiVersion": "outrigger.dev/v1alpha1", "kind": kind,
            "metadata": {"name": "one", "namespace": "shop", "uid": uid, "resourceVersion": "1"},
            "spec": spec});
        serde_json::from_value(object).expect("an object")
    }

    /// What is told: nothing, that it is gone, or what an access policy asks of whom.
    fn told(written: &mut Written, uid: &str, spec: Value) -> Option<Option<(Mtls, String)>> {
        let change = written.now(&"shop/one".into(), object(written.kind, uid, spec))?;
        let Change::Resource(_, held) = change else { panic!("{change:?}") };
        Some(held.map(|held| match &*held.resource {
            Resource::AccessPolicy(policy) => (policy.mtls.expect("said"), policy.scope()),
            _ => (Mtls::Permissive, String::new()),
        }))
    }

    #[test]
    fn an_access_policy_that_was_never_good_counts_as_strict() {
        let of_shop = "namespace shop".to_owned();
        let strict = Some(Some((Mtls::Strict, of_shop.clone())));
        let good = Some(Some((Mtls::Permissive, of_shop)));
        let faulty = || json!({"mtls": "permissive", "jwt": []});
        let mut first = written("AccessPolicy");
        assert_eq!(told(&mut first, "a", faulty()), strict);
        assert_eq!(told(&mut first, "a", faulty()), strict, "the strict one is no good form");
        assert_eq!(told(&mut first, "a", json!({"mtls": "permissive"})), good);
        assert_eq!(told(&mut first, "a", faulty()), None, "an edit leaves the good one");
        assert_eq!(told(&mut first, "a", faulty()), None);
        assert_eq!(told(&mut first, "b", faulty()), strict, "it is another of the name");
        // Another replica that starts now, and one that saw it deleted.
        assert_eq!(told(&mut written("AccessPolicy"), "a", faulty()), strict);
        assert_eq!(told(&mut first, "b", json!({"mtls": "permissive"})), good);
        first.gone(&"shop/one".into());
        assert_eq!(told(&mut first, "b", faulty()), strict);
    }

    #[test]
    fn one_that_was_made_anew_does_not_have_the_good_form_of_another() {
        let mut policies = written("TrafficPolicy");
        let good = || json!({"timeouts": {"request": "1s"}});
        let faulty = || json!({"timeouts": {"request": "soon"}});
        assert!(told(&mut policies, "a", good()).flatten().is_some());
        assert_eq!(told(&mut policies, "a", faulty()), None);
        assert_eq!(told(&mut policies, "b", faulty()), Some(None), "the one before is gone");
    }
}
