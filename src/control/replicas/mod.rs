//! The control planes of a cluster, and how this one asks the others what they know of the mesh.
//!
//! Pods of the control plane's namespace with its labels. Who was told to end is left out: its
//! sidecars go to another, and tell that one everything. `others` asks all of them at once and keeps
//! what they say for a moment, `link` is the way to one. `tapping` watches requests at all
//! of them. Called by the observer of the memory, and by whoever taps.

mod link;
mod others;
mod tapping;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::sync::Arc;

use super::catalog::{Catalog, Pod};
pub use others::Others;
pub use tapping::{Elsewhere, State};

/// What finds the control plane's pods; a Deployment's selector can never be changed.
pub const LABELS: [(&str, &str); 2] =
    [("app.kubernetes.io/name", "outrigger"), ("app.kubernetes.io/component", "control-plane")];

/// How this one knows itself and the others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replicas {
    /// This one's pod.
    pub own: String,
    pub namespace: String,
    /// Where each listens, at its own address.
    pub port: u16,
}

impl Replicas {
    /// All that there are now, by name.
    pub fn all(&self, catalog: &Catalog) -> Vec<(String, SocketAddr)> {
        let pods = catalog.snapshot().pods.into_iter().map(|(pod, _)| pod);
        let ours = pods.filter(|pod| {
            let labels = &pod.metadata.labels;
            let has = |(key, value): &(&str, &str)| labels.get(*key).is_some_and(|v| v == value);
            pod.metadata.namespace == self.namespace
                && !pod.is_terminating
                && LABELS.iter().all(has)
        });
        let shown = |pod: Arc<Pod>| {
            let address = SocketAddr::new(*pod.addresses.first()?, self.port);
            Some((pod.metadata.name.clone(), address))
        };
        ours.filter_map(shown).collect()
    }

    /// The same without this one.
    pub fn others(&self, catalog: &Catalog) -> Vec<(String, SocketAddr)> {
        let mut all = self.all(catalog);
        all.retain(|(name, _)| *name != self.own);
        all
    }
}
