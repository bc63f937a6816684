//! What requests look up, compiled whenever the picture of the mesh changes.
//!
//! Whatever counts over time (bulkheads, budgets; circuits live in the endpoints) is carried over
//! from the snapshot before, so that an update resets nothing.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;

use http::uri::Authority;

use crate::limit::Bulkhead;
use crate::model::{Endpoint, Instance, Mesh, Service, ServiceName};
use crate::retry::Budget;
use crate::route::Table;

/// One service port, ready to take requests.
#[derive(Debug)]
pub struct Target {
    pub service: Arc<Service>,
    /// The metric label and log field: `name.namespace:port`.
    pub label: Arc<str>,
    /// For HTTP/1.0 requests without a Host.
    pub authority: Authority,
    pub routes: Table,
    /// Indices of the endpoints in our own zone.
    pub local: Vec<u32>,
    pub bulkhead: Arc<Bulkhead>,
    pub budget: Arc<Budget>,
    /// Set by whoever takes an endpoint of it, cleared by whoever asks.
    pub used: AtomicBool,
}

/// Everything at one instant.
#[derive(Debug, Default)]
pub struct Snapshot {
    pub version: u64,
    pub targets: HashMap<ServiceName, Arc<Target>>,
    /// Single instances, reached by their own address.
    pub instances: HashMap<SocketAddr, Arc<Target>>,
    pub mesh: Arc<Mesh>,
}

/// Compiles `mesh` for a sidecar in `zone`.
pub fn compile(mesh: Arc<Mesh>, zone: Option<&str>, previous: &Snapshot) -> Snapshot {
    let target = |service: &Arc<Service>, before: Option<&Arc<Target>>| {
        Arc::new(Target::new(service, zone, before.map(Arc::as_ref)))
    };
    let targets = mesh
        .services
        .iter()
        .map(|(name, service)| (name.clone(), target(service, previous.targets.get(name))))
        .collect();
    let instances = mesh
        .instances
        .iter()
        .map(|(&address, of)| {
            let owner = of.owner.as_ref().and_then(|owner| mesh.services.get(owner));
            let service = Arc::new(instance(address, of, owner.map(Arc::as_ref)));
            (address, target(&service, previous.instances.get(&address)))
        })
        .collect();
    Snapshot { version: mesh.version, targets, instances, mesh }
}

/// A service of one endpoint, under the policy of the service that owns it.
fn instance(address: SocketAddr, of: &Instance, owner: Option<&Service>) -> Service {
    let name = owner.map_or_else(
        || ServiceName {
            name: address.ip().to_string().into(),
            namespace: "instance".into(),
            port: address.port(),
        },
        |owner| owner.name.clone(),
    );
    Service {
        name,
        protocol: of.protocol,
        endpoints: vec![Arc::clone(&of.endpoint)],
        policy: owner.map_or_else(Arc::default, |owner| Arc::clone(&owner.policy)),
        routes: Vec::new(),
    }
}

impl Target {
    fn new(service: &Arc<Service>, zone: Option<&str>, before: Option<&Target>) -> Self {
        let policy = &service.policy;
        let same_limits = |b: &&Target| b.service.policy.limits == policy.limits;
        let same_budget = |b: &&Target| b.service.policy.retry.budget == policy.retry.budget;
        let in_zone = |e: &Endpoint| zone.is_some() && e.zone.as_deref() == zone;
        let name = &service.name;
        let host = format!("{}.{}", name.name, name.namespace);
        Self {
            label: service.name.to_string().into(),
            authority: Authority::try_from(host)
                .unwrap_or_else(|_| Authority::from_static("service")),
            routes: Table::single(),
            local: (0..)
                .zip(&service.endpoints)
                .filter(|(_, endpoint)| in_zone(endpoint))
                .map(|(index, _)| index)
                .collect(),
            bulkhead: before.filter(same_limits).map_or_else(
                || Bulkhead::new(policy.limits.clone()),
                |before| Arc::clone(&before.bulkhead),
            ),
            budget: before.filter(same_budget).map_or_else(
                || Arc::new(Budget::new(policy.retry.budget)),
                |before| Arc::clone(&before.budget),
            ),
            used: AtomicBool::new(before.is_some_and(|before| before.used.load(Relaxed))),
            service: Arc::clone(service),
        }
    }

    /// Keeps it from being let go as unused.
    pub fn touch(&self) {
        // Read first: a write would take the line from the other workers.
        if !self.used.load(Relaxed) {
            self.used.store(true, Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Limits, Policy, Protocol};

    fn mesh(version: u64, limits: Limits) -> Arc<Mesh> {
        let name = ServiceName::parse("web:80", "default").expect("a name");
        let endpoint = |port, zone: &str| {
            let address = ([127, 0, 0, 1], port).into();
            Arc::new(Endpoint::new(address, None, "w".into(), Some(zone.into()), 1))
        };
        let service = Service {
            name: name.clone(),
            protocol: Protocol::Auto,
            endpoints: vec![endpoint(1, "a"), endpoint(2, "b"), endpoint(3, "b")],
            policy: Arc::new(Policy { limits, ..Policy::default() }),
            routes: Vec::new(),
        };
        let services = HashMap::from([(name, Arc::new(service))]);
        Arc::new(Mesh { version, services, ..Mesh::default() })
    }

    #[test]
    fn what_counts_over_time_survives_an_update() {
        let first = compile(mesh(1, Limits::default()), Some("b"), &Snapshot::default());
        let target = first.targets.values().next().expect("one");
        assert_eq!(target.local, [1, 2]);
        let ticket = target.bulkhead.try_admit().expect("a place");
        let second = compile(mesh(2, Limits::default()), Some("b"), &first);
        assert_eq!(second.targets.values().next().expect("one").bulkhead.requests(), 1);
        let other = Limits { max_requests: 5, ..Limits::default() };
        let third = compile(mesh(3, other), Some("b"), &second);
        assert_eq!(third.targets.values().next().expect("one").bulkhead.requests(), 0);
        drop(ticket);
    }
}
