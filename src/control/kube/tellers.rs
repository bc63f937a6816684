//! How each kind of object becomes a change of the catalog.

use std::collections::HashSet;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Namespace, Node, Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::{DynamicObject, PartialObjectMeta};
use tracing::warn;

use super::convert::{self, Judged};
use super::namespaces::NamespaceLabels;
use super::status::{Kind, Reading, Subject};
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
    /// Those of which a good form is in force.
    pub in_force: HashSet<ObjectName>,
}

impl Teller<DynamicObject> for Written {
    fn now(&mut self, name: &ObjectName, object: DynamicObject) -> Option<Change> {
        let kind = Kind::of(self.kind);
        let subject = kind.and_then(|kind| Subject::of(kind, &object, Reading::Sound));
        let (reading, change) = match convert::judge(self.api_version, self.kind, object) {
            // What its status says of parents that it no longer has must go.
            Judged::Foreign => (Reading::Sound, Some(None)),
            Judged::Sound(held) => (Reading::Sound, Some(Some(held))),
            Judged::Faulty(faults) => {
                let faults: Vec<String> = faults.iter().map(ToString::to_string).collect();
                let fell_back = self.in_force.contains(name);
                let said = faults.join("; ");
                let stays = if fell_back {
                    "its last good form stays in force"
                } else {
                    "it has no effect"
                };
                warn!(kind = self.kind, %name, "it can't be used, {stays}: {said}");
                (Reading::Faulty { faults, fell_back }, None)
            }
        };
        match &change {
            Some(Some(_)) => drop(self.in_force.insert(Arc::clone(name))),
            Some(None) => drop(self.in_force.remove(name)),
            None => {}
        }
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

fn key(kind: &str, name: &ObjectName) -> Arc<str> {
    format!("{kind}/{name}").into()
}
