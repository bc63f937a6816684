//! What is known of the mesh at one instant: services, their endpoints, their policies.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use super::{Endpoint, Policy, Protocol, ServiceName};

/// One port of a service and who serves it.
#[derive(Clone, Debug)]
pub struct Service {
    pub name: ServiceName,
    pub protocol: Protocol,
    pub endpoints: Vec<Arc<Endpoint>>,
    pub policy: Policy,
}

/// An immutable picture of all that this sidecar was told.
#[derive(Clone, Debug, Default)]
pub struct Mesh {
    /// Grows with every published picture.
    pub version: u64,
    pub services: HashMap<ServiceName, Arc<Service>>,
    /// Cluster addresses: balanced like the name.
    pub cluster_ips: HashMap<IpAddr, Vec<ServiceName>>,
    /// Single instances: reached by their own address only, as part of the service named, if one
    /// owns them.
    pub instances: HashMap<SocketAddr, (Arc<Endpoint>, Option<ServiceName>)>,
}

impl Mesh {
    /// The service that a cluster address means.
    pub fn by_cluster_ip(&self, address: SocketAddr) -> Option<&Arc<Service>> {
        let names = self.cluster_ips.get(&address.ip())?;
        let name = names.iter().find(|name| name.port == address.port())?;
        self.services.get(name)
    }
}
