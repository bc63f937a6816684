//! Whose requests somebody watches, and what a sidecar is asked for because of that.
//!
//! A service is seen from both sides: what its workloads take, whoever sends it, and what anybody's
//! sidecar sends there, answered or not. Callers' sidecars know it by its name; its own know only that
//! they take requests, so they are found by the catalog.

use std::fmt;

use crate::control::memory::Directory;
use crate::model::{Direction, SpiffeId};
use crate::telemetry::tap::Filter;

/// Whose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    Everybody,
    Namespace(Box<str>),
    /// `name.namespace`.
    Workload(Box<str>),
    /// `name.namespace`.
    Service(Box<str>),
}

/// Somebody who is connected.
#[derive(Clone, Copy, Debug)]
pub struct Sidecar<'a> {
    /// The name alone.
    pub workload: &'a str,
    /// Of its certificate, whose namespace is its own.
    pub identity: &'a SpiffeId,
}

impl Sidecar<'_> {
    /// `name.namespace`.
    pub fn name(&self) -> String {
        format!("{}.{}", self.workload, self.identity.namespace())
    }

    fn is(&self, name: &str) -> bool {
        let rest = name.strip_prefix(self.workload).and_then(|rest| rest.strip_prefix('.'));
        rest == Some(self.identity.namespace())
    }

    /// Whether it takes requests for a service.
    fn is_behind(&self, service: &str, directory: &Directory) -> bool {
        let Some(entry) = directory.services.get(service) else { return false };
        let is_it = |of: &crate::control::memory::Endpoint| {
            of.identity.as_ref() == Some(self.identity) && self.is(&of.workload)
        };
        entry.endpoints.iter().any(is_it)
    }
}

impl Target {
    /// What a sidecar is to tell; nothing: it is not concerned.
    pub fn filters(
        &self,
        wanted: &Filter,
        sidecar: Sidecar<'_>,
        directory: &Directory,
    ) -> Vec<Filter> {
        let is_concerned = match self {
            Target::Everybody | Target::Service(_) => true,
            Target::Namespace(namespace) => **namespace == *sidecar.identity.namespace(),
            Target::Workload(workload) => sidecar.is(workload),
        };
        let service = match (self, &wanted.service) {
            (Target::Service(of), None) => Some(of),
            (Target::Service(of), Some(wanted)) if name_of(wanted) != &**of => return Vec::new(),
            (_, wanted) => wanted.as_ref(),
        };
        if !is_concerned {
            return Vec::new();
        }
        let Some(service) = service else { return vec![wanted.clone()] };
        let of = |direction, service: Option<&Box<str>>| Filter {
            direction: Some(direction),
            service: service.cloned(),
            ..wanted.clone()
        };
        let mut filters = vec![of(Direction::Outbound, Some(service))];
        if sidecar.is_behind(name_of(service), directory) {
            filters.push(of(Direction::Inbound, None));
        }
        filters.retain(|filter| wanted.direction.is_none_or(|only| filter.direction == Some(only)));
        filters
    }
}

/// Without its port.
fn name_of(service: &str) -> &str {
    service.split_once(':').map_or(service, |(name, _)| name)
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::Everybody => f.write_str("everybody"),
            Target::Namespace(name) => write!(f, "namespace {name}"),
            Target::Workload(name) => write!(f, "workload {name}"),
            Target::Service(name) => write!(f, "service {name}"),
        }
    }
}
