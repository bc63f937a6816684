//! A cluster's objects as the house's nouns.
//!
//! Nothing of an object is kept that the mesh doesn't use, and nothing that Kubernetes knows is
//! refused: what the mesh can't act on is left out. Pure functions, one file a kind.

mod pod;
mod resource;
mod service;
mod slice;
#[cfg(test)]
mod tests;

use std::net::IpAddr;

use kube::api::ObjectMeta;

use crate::resources::{Metadata, Origin};

pub use pod::pod;
pub use resource::{Judged, judge};
pub use service::service;
pub use slice::slice;

/// Where a node is.
const ZONE: &str = "topology.kubernetes.io/zone";

/// The zone that a node's labels name.
pub fn zone(meta: &ObjectMeta) -> Option<&str> {
    let zone = meta.labels.as_ref()?.get(ZONE)?;
    (!zone.is_empty()).then_some(zone)
}

/// The time of creation in milliseconds since 1970.
pub fn created_ms(meta: &ObjectMeta) -> i64 {
    meta.creation_timestamp.as_ref().map_or(0, |time| time.0.as_millisecond())
}

/// A cluster's versions are numbers, though it doesn't promise it; 0: this one isn't.
pub fn version(meta: &ObjectMeta) -> u64 {
    meta.resource_version.as_deref().and_then(|version| version.parse().ok()).unwrap_or_default()
}

/// `None` for what has no name, which no server gives.
fn metadata(meta: &ObjectMeta) -> Option<Metadata> {
    Some(Metadata {
        name: meta.name.clone()?,
        namespace: meta.namespace.clone().unwrap_or_default(),
        labels: meta.labels.clone().unwrap_or_default(),
        created: meta.creation_timestamp.as_ref().map(|time| time.0),
        version: None,
        at: Origin::Default,
    })
}

/// An address, in the form that whoever dials it is looked up by.
fn ip(text: &str) -> Option<IpAddr> {
    text.parse().ok().map(|ip: IpAddr| ip.to_canonical())
}

/// Whether a port speaks TCP, which is what the mesh carries.
fn is_tcp(protocol: Option<&str>) -> bool {
    protocol.is_none_or(|protocol| protocol == "TCP" || protocol.is_empty())
}
