//! What is shown: applied resources, registered workloads and pods as one list.
//!
//! Where two go by one name, what somebody applied is shown: it is what that person can change.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde_json::Value;

use crate::control::catalog::{Catalog, Held, Pod, Registration, Snapshot, resource_name};
use crate::control::store::{Key, Shelf};
use crate::resources::{Metadata, Resource, Workload, manifest};

pub const WORKLOAD: &str = "Workload";

/// What a resource goes by. Sorts by kind, namespace and name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Id {
    pub kind: &'static str,
    pub namespace: String,
    pub name: String,
}

impl Id {
    pub fn of(resource: &Resource) -> Self {
        Self::new(resource.kind(), resource.metadata())
    }

    pub fn new(kind: &'static str, metadata: &Metadata) -> Self {
        Self { kind, namespace: metadata.namespace.clone(), name: metadata.name.clone() }
    }

    /// Where it is stored when somebody applied it.
    pub fn applied(&self) -> Key {
        let name = resource_name(self.kind, &self.namespace, &self.name);
        Key { shelf: Shelf::Resources, name }
    }

    /// Where it is stored when a sidecar registered it; only workloads are.
    pub fn registered(&self) -> Option<Key> {
        let name = || format!("{}/{}", self.namespace, self.name).into();
        (self.kind == WORKLOAD).then(|| Key { shelf: Shelf::Registrations, name: name() })
    }

    pub fn held<'a>(&self, snapshot: &'a Snapshot) -> Option<&'a Arc<Held>> {
        snapshot.resources.get(&self.applied().name)
    }

    /// A pod, where it is one's name.
    pub fn pod(&self, catalog: &Catalog) -> Option<Shown> {
        if self.kind != WORKLOAD {
            return None;
        }
        let pod = catalog.pod(&format!("{}/{}", self.namespace, self.name))?;
        let zone = catalog.zone_of(&pod);
        Shown::pod(pod, zone)
    }

    pub fn registration<'a>(&self, snapshot: &'a Snapshot) -> Option<&'a Arc<Registration>> {
        snapshot.registrations.get(&self.registered()?.name)
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} of namespace {}", self.kind, self.name, self.namespace)
    }
}

/// What somebody wants to see; `None` is everything.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    pub kind: Option<&'static str>,
    pub namespace: Option<String>,
}

impl Filter {
    fn takes(&self, id: &Id) -> bool {
        self.kind.is_none_or(|kind| kind == id.kind)
            && self.namespace.as_ref().is_none_or(|namespace| *namespace == id.namespace)
    }

    /// All that match.
    pub fn of(&self, snapshot: &Snapshot) -> BTreeMap<Id, Shown> {
        let registered = snapshot.registrations.values().map(|registration| {
            let id = Id::new(WORKLOAD, &registration.workload.metadata);
            (id, Shown::Registered(Arc::clone(registration)))
        });
        let pods = snapshot.pods.iter().filter_map(|(pod, zone)| {
            let id = Id::new(WORKLOAD, &pod.metadata);
            Some((id, Shown::pod(Arc::clone(pod), zone.clone())?))
        });
        let applied = snapshot.resources.values();
        let applied =
            applied.map(|held| (Id::of(&held.resource), Shown::Applied(Arc::clone(held))));
        pods.chain(registered).chain(applied).filter(|(id, _)| self.takes(id)).collect()
    }
}

/// A resource and where it comes from.
#[derive(Clone, Debug)]
pub enum Shown {
    Applied(Arc<Held>),
    Registered(Arc<Registration>),
    /// As a workload.
    Pod(Arc<Pod>, Box<Workload>),
}

impl Shown {
    /// `None` before it has an address.
    fn pod(pod: Arc<Pod>, zone: Option<Arc<str>>) -> Option<Self> {
        let workload = pod.workload(zone.as_deref())?;
        Some(Self::Pod(pod, Box::new(workload)))
    }

    pub fn version(&self) -> u64 {
        match self {
            Self::Applied(held) => held.version,
            Self::Registered(registration) => registration.since,
            Self::Pod(pod, _) => pod.version,
        }
    }

    /// When it was first there, in milliseconds since 1970.
    pub fn created_ms(&self) -> i64 {
        match self {
            Self::Applied(held) => held.created_ms,
            Self::Registered(registration) => registration.created_ms,
            Self::Pod(pod, _) => pod.metadata.created.map_or(0, jiff::Timestamp::as_millisecond),
        }
    }

    /// With its version.
    pub fn manifest(&self) -> Value {
        match self {
            Self::Applied(held) => held.manifest(),
            Self::Registered(registration) => registration.manifest(),
            Self::Pod(pod, workload) => {
                let mut workload = Workload::clone(workload);
                workload.metadata.version = Some(pod.version.to_string());
                manifest::of(&Resource::Workload(workload))
            }
        }
    }
}
