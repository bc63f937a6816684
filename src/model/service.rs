//! What is known of the mesh at one instant: services, their endpoints, their policies.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use super::{Endpoint, Policy, Protocol, Rule, ServiceName};

/// One port of a service and who serves it.
#[derive(Clone, Debug)]
pub struct Service {
    pub name: ServiceName,
    pub protocol: Protocol,
    pub endpoints: Vec<Arc<Endpoint>>,
    pub policy: Arc<Policy>,
    /// Rules of the routes that hold for this sidecar's workload, the oldest route first; empty:
    /// everything goes to the service's own endpoints.
    pub routes: Vec<Arc<Rule>>,
    /// Policies that don't count, for the pages.
    pub conflicts: Vec<Conflict>,
}

/// A policy that an older one about the same thing stands before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// As `TrafficPolicy namespace/name`.
    pub resource: Arc<str>,
    /// The one that counts.
    pub with: Arc<str>,
}

/// One port of a workload, reached by the workload's own address.
#[derive(Clone, Debug)]
pub struct Instance {
    pub endpoint: Arc<Endpoint>,
    /// The service whose policies hold, if one owns it.
    pub owner: Option<ServiceName>,
    pub protocol: Protocol,
}

/// How much of the mesh a picture shows.
#[derive(Clone, Debug, Default)]
pub enum Coverage {
    /// All of it: what is not there does not exist.
    #[default]
    Whole,
    /// What was asked for and answered: of the rest nothing is known.
    Answered { services: HashSet<ServiceName>, addresses: HashSet<SocketAddr> },
}

/// An immutable picture of all that this sidecar was told.
#[derive(Clone, Debug, Default)]
pub struct Mesh {
    /// Grows with every published picture.
    pub version: u64,
    pub coverage: Coverage,
    pub services: HashMap<ServiceName, Arc<Service>>,
    /// Cluster addresses: balanced like the name.
    pub cluster_ips: HashMap<IpAddr, Vec<ServiceName>>,
    /// Workloads reached by their own addresses only.
    pub instances: HashMap<SocketAddr, Instance>,
}

impl Mesh {
    /// Whether it is known if there is such a service.
    pub fn knows_service(&self, name: &ServiceName) -> bool {
        match &self.coverage {
            Coverage::Whole => true,
            Coverage::Answered { services, .. } => services.contains(name),
        }
    }

    /// Whether it is known what an address is.
    pub fn knows_address(&self, address: SocketAddr) -> bool {
        match &self.coverage {
            Coverage::Whole => true,
            Coverage::Answered { addresses, .. } => addresses.contains(&address),
        }
    }

    /// The service that a cluster address means.
    pub fn by_cluster_ip(&self, address: SocketAddr) -> Option<&Arc<Service>> {
        let names = self.cluster_ips.get(&address.ip())?;
        let name = names.iter().find(|name| name.port == address.port())?;
        self.services.get(name)
    }
}
