//! What requests look up, compiled whenever the picture of the mesh changes.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use super::backend::Backend;
use super::target::{Backends, Target};
use crate::model::{Instance, Mesh, Service, ServiceName};

/// Everything at one instant.
#[derive(Debug, Default)]
pub struct Snapshot {
    pub version: u64,
    /// Grows with every compilation, also of the same picture.
    pub revision: u64,
    /// Everything that may be asked for by name.
    pub targets: HashMap<ServiceName, Arc<Target>>,
    /// Every service that requests may be sent to: also those that only routes name.
    pub backends: Backends,
    /// Single instances, reached by their own address.
    pub instances: HashMap<SocketAddr, Arc<Target>>,
    pub mesh: Arc<Mesh>,
    /// Our own.
    pub zone: Option<Arc<str>>,
}

impl Snapshot {
    /// Whether roots of services outside the mesh lie on the disk otherwise than they were read.
    pub fn has_stale_roots(&self) -> bool {
        self.backends.values().any(|backend| backend.has_stale_roots())
    }
}

/// Compiles `mesh` for a sidecar in `zone`.
pub fn compile(mesh: Arc<Mesh>, zone: Option<&str>, previous: &Snapshot) -> Snapshot {
    let backend = |service: &Arc<Service>, before: Option<&Arc<Backend>>| {
        Arc::new(Backend::new(service, zone, before.map(Arc::as_ref)))
    };
    let backends: Backends = mesh
        .services
        .iter()
        .map(|(name, service)| (name.clone(), backend(service, previous.backends.get(name))))
        .collect();
    let target = |backend: &Arc<Backend>, before: Option<&Arc<Target>>| {
        Arc::new(Target::new(backend, &backends, before.map(Arc::as_ref)))
    };
    let targets = backends
        .iter()
        // Of a service that only routes name, its own routes may not be known.
        .filter(|(name, _)| mesh.knows_service(name))
        .map(|(name, backend)| (name.clone(), target(backend, previous.targets.get(name))))
        .collect();
    let instances = mesh
        .instances
        .iter()
        .map(|(&address, of)| {
            let owner = of.owner.as_ref().and_then(|owner| mesh.services.get(owner));
            let service = Arc::new(instance(address, of, owner.map(Arc::as_ref)));
            let before = previous.instances.get(&address);
            let backend = backend(&service, before.map(|before| &before.backend));
            (address, target(&backend, before))
        })
        .collect();
    let (version, revision) = (mesh.version, previous.revision + 1);
    let zone = zone.map(Arc::from);
    Snapshot { version, revision, targets, backends, instances, mesh, zone }
}

/// A service of one endpoint, under the policy of the service that owns it. Routes are about the
/// service; who dials an instance wants that one.
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
        conflicts: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Endpoint, Limits, Policy, Protocol};

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
            conflicts: Vec::new(),
        };
        let services = HashMap::from([(name, Arc::new(service))]);
        Arc::new(Mesh { version, services, ..Mesh::default() })
    }

    #[test]
    fn what_counts_over_time_survives_an_update() {
        let first = compile(mesh(1, Limits::default()), Some("b"), &Snapshot::default());
        let bulkhead = |snapshot: &Snapshot| {
            Arc::clone(&snapshot.targets.values().next().expect("one").backend.bulkhead)
        };
        let ticket = bulkhead(&first).try_admit().expect("a place");
        let other = Limits { max_requests: 1, ..Limits::default() };
        let second = compile(mesh(2, other), Some("b"), &first);
        assert_eq!(bulkhead(&second).requests(), 1);
        assert!(bulkhead(&second).try_admit().is_err(), "the new limit counts what is under way");
        drop(ticket);
        assert!(bulkhead(&second).try_admit().is_ok());
    }
}
