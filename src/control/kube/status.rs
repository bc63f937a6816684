//! How routes, policies and workloads fare, written into their status for those who look with kubectl.
//!
//! The reading side says what there is ([`Picture`]): each object as the watch saw it last, and how
//! all of them stand together. What its status should say follows from that alone (`due`), so that
//! one's own writes, seen again by the watch, cause no more. Only the leader writes, with the
//! object's version as a precondition: entries of other controllers are never lost.

mod due;
#[cfg(test)]
mod tests;
mod verdict;
mod writer;

use std::sync::Arc;

use kube::Client;
use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use serde_json::Value;
use tokio::sync::watch;

pub use verdict::{Verdict, Verdicts};

/// How routes name us among the controllers that write into them.
pub const CONTROLLER: &str = "outrigger.dev/control-plane";

/// The kinds that have a status of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    HttpRoute,
    GrpcRoute,
    TrafficPolicy,
    AccessPolicy,
    RateLimitPolicy,
    Workload,
}

impl Kind {
    pub const ALL: [Kind; 6] = [
        Kind::HttpRoute,
        Kind::GrpcRoute,
        Kind::TrafficPolicy,
        Kind::AccessPolicy,
        Kind::RateLimitPolicy,
        Kind::Workload,
    ];

    /// By its name; `None` for kinds without a status.
    pub fn of(name: &str) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| kind.as_str() == name)
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Kind::HttpRoute => "HTTPRoute",
            Kind::GrpcRoute => "GRPCRoute",
            Kind::TrafficPolicy => "TrafficPolicy",
            Kind::AccessPolicy => "AccessPolicy",
            Kind::RateLimitPolicy => "RateLimitPolicy",
            Kind::Workload => "Workload",
        }
    }

    /// Routes say for each parent how they fare with it; the others say it once.
    pub fn is_route(self) -> bool {
        matches!(self, Kind::HttpRoute | Kind::GrpcRoute)
    }

    pub fn resource(self) -> ApiResource {
        let (group, version, plural) = match self {
            Kind::HttpRoute => ("gateway.networking.k8s.io", "v1", "httproutes"),
            Kind::GrpcRoute => ("gateway.networking.k8s.io", "v1", "grpcroutes"),
            Kind::TrafficPolicy => ("outrigger.dev", "v1alpha1", "trafficpolicies"),
            Kind::AccessPolicy => ("outrigger.dev", "v1alpha1", "accesspolicies"),
            Kind::RateLimitPolicy => ("outrigger.dev", "v1alpha1", "ratelimitpolicies"),
            Kind::Workload => ("outrigger.dev", "v1alpha1", "workloads"),
        };
        let gvk = GroupVersionKind::gvk(group, version, self.as_str());
        ApiResource::from_gvk_with_plural(&gvk, plural)
    }
}

/// What an object goes by.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Id {
    pub kind: Kind,
    pub namespace: String,
    pub name: String,
}

/// An object as it was seen last.
#[derive(Clone, Debug)]
pub struct Subject {
    pub id: Id,
    pub uid: String,
    pub resource_version: String,
    pub generation: i64,
    /// `spec.parentRefs` of a route, as written, Gateways and all.
    pub parent_refs: Vec<Value>,
    /// `status`; null when there is none.
    pub status: Value,
    pub reading: Reading,
}

/// What came of reading an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reading {
    /// It is in use as it stands.
    Sound,
    /// It can't be used.
    Faulty {
        /// Each with its field, cause and cure.
        faults: Vec<String>,
        instead: Instead,
    },
}

/// What counts in place of an object that can't be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Instead {
    Nothing,
    /// What it said before.
    Before,
    /// `mtls: strict`, for these.
    Strict(String),
}

impl Subject {
    /// `None` for what is no whole object of this kind.
    pub fn of(kind: Kind, object: &DynamicObject, reading: Reading) -> Option<Self> {
        let metadata = &object.metadata;
        let id = Id { kind, namespace: metadata.namespace.clone()?, name: metadata.name.clone()? };
        let parent_refs = object.data["spec"]["parentRefs"].as_array().cloned();
        Some(Self {
            id,
            uid: metadata.uid.clone()?,
            resource_version: metadata.resource_version.clone()?,
            generation: metadata.generation.unwrap_or_default(),
            parent_refs: parent_refs.unwrap_or_default(),
            status: object.data["status"].clone(),
            reading,
        })
    }
}

/// Everything that status is about, at one moment.
#[derive(Clone, Debug, Default)]
pub struct Picture {
    pub subjects: Vec<Arc<Subject>>,
    /// How those that can be used stand together. One that is not among them is waited for.
    pub verdicts: Arc<Verdicts>,
}

/// Keeps every status as `pictures` say, while this replica leads; never ends.
pub async fn write(
    client: Client,
    pictures: watch::Receiver<Arc<Picture>>,
    is_leader: watch::Receiver<bool>,
) {
    writer::Writer::new(client).run(pictures, is_leader).await;
}
