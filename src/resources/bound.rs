//! Services joined with the workloads that they select: what discovery is about.
//!
//! A service selects workloads of its namespace by label; each match is an endpoint. Called by the
//! sidecar for its files and by the control plane for everything it holds, so that both find the
//! same endpoints.

use std::net::IpAddr;
use std::sync::Arc;

use super::{
    Address, Labels, Metadata, Resource, Service, TargetPort, Workload, WorkloadPort, attach,
};
use crate::model::{Protocol, ServiceName, SpiffeId, TrustDomain};

/// One port of a service, and who serves it.
#[derive(Clone, Debug, PartialEq)]
pub struct Bound {
    pub name: ServiceName,
    pub protocol: Protocol,
    /// Its own addresses.
    pub cluster_ips: Vec<IpAddr>,
    /// Callers dial its endpoints by their own addresses.
    pub headless: bool,
    /// Each caller's address stays with one endpoint, unless a policy of the service says otherwise.
    pub session_affinity: bool,
    /// In the order of the workloads.
    pub endpoints: Vec<BoundEndpoint>,
    /// Routes that name it, of every namespace, and policies that concern it or one of those routes;
    /// by kind, namespace and name.
    pub attachments: Vec<Arc<Resource>>,
}

/// A port of a workload, as callers reach it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BoundEndpoint {
    /// `name.namespace`.
    pub workload: Arc<str>,
    pub address: Address,
    /// The app's.
    pub port: u16,
    /// Where its sidecar takes that traffic, when that is another port.
    pub mesh_port: Option<u16>,
    /// Whom it must prove to be; absent: it is not meshed.
    pub identity: Option<SpiffeId>,
    pub zone: Option<Arc<str>>,
    /// From 1.
    pub weight: u32,
}

/// A port of a workload that is reached by the workload's own address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    pub endpoint: BoundEndpoint,
    /// The headless service whose policies hold.
    pub owner: Option<ServiceName>,
    pub protocol: Protocol,
}

/// Each port of `service`, with those of `workloads` that it selects, and those of `attachable`
/// (routes and policies, in any order) that are about it.
pub fn bind<'a>(
    service: &Service,
    workloads: impl Iterator<Item = &'a Workload> + Clone,
    attachable: &[Arc<Resource>],
    trust_domain: &TrustDomain,
) -> Vec<Bound> {
    let selected = workloads.filter(|workload| selects(service, workload));
    let bind = |port: &super::ServicePort| {
        let mut protocol = port.protocol;
        let mut endpoints = Vec::new();
        for workload in selected.clone() {
            let Some(target) = target(&port.target, workload) else { continue };
            if protocol == Protocol::Auto {
                protocol = target.protocol;
            }
            endpoints.push(endpoint(workload, &target, trust_domain));
        }
        endpoints.extend(elsewhere(service, port));
        Bound {
            name: ServiceName {
                name: service.metadata.name.as_str().into(),
                namespace: service.metadata.namespace.as_str().into(),
                port: port.port,
            },
            protocol,
            cluster_ips: service.cluster_ips.clone(),
            headless: service.headless,
            session_affinity: service.session_affinity,
            endpoints,
            attachments: attach::select(service, port, attachable),
        }
    };
    service.ports.iter().map(bind).collect()
}

/// The host that a service is another name for.
fn elsewhere(service: &Service, port: &super::ServicePort) -> Option<BoundEndpoint> {
    let Metadata { name, namespace, .. } = &service.metadata;
    Some(BoundEndpoint {
        workload: format!("{name}.{namespace}").into(),
        address: Address::Host(service.external_name.clone()?),
        port: port.port,
        mesh_port: None,
        identity: None,
        zone: None,
        weight: 1,
    })
}

/// The listed ports of a workload under its own address; what no headless service owns.
pub fn instances(workload: &Workload, trust_domain: &TrustDomain) -> Vec<Instance> {
    let instance = |port: &WorkloadPort| Instance {
        endpoint: endpoint(workload, port, trust_domain),
        owner: None,
        protocol: port.protocol,
    };
    workload.ports.iter().map(instance).collect()
}

/// What a port of a workload is at the workload's own address, where no headless service owns it. A
/// meshed workload whose ports have no mesh port takes every port's traffic where it was going to,
/// also that of ports which it doesn't list.
pub fn instance(workload: &Workload, port: u16, trust_domain: &TrustDomain) -> Option<Instance> {
    let listed = workload.ports.iter().find(|listed| listed.port == port).cloned();
    let takes_all = workload.service_account.is_some()
        && workload.ports.iter().all(|port| port.mesh_port.is_none());
    let port = listed.or_else(|| takes_all.then(|| unlisted(port)))?;
    let (endpoint, protocol) = (endpoint(workload, &port, trust_domain), port.protocol);
    Some(Instance { endpoint, owner: None, protocol })
}

fn unlisted(port: u16) -> WorkloadPort {
    WorkloadPort { name: None, port, mesh_port: None, protocol: Protocol::Auto }
}

/// Whether a workload is an endpoint of a service; a service without a selector selects nothing.
pub fn selects(service: &Service, workload: &Workload) -> bool {
    let has = |labels: &Labels, (key, value): (&String, &String)| labels.get(key) == Some(value);
    service.metadata.namespace == workload.metadata.namespace
        && !service.selector.is_empty()
        && service.selector.iter().all(|label| has(&workload.metadata.labels, label))
}

fn endpoint(workload: &Workload, port: &WorkloadPort, trust_domain: &TrustDomain) -> BoundEndpoint {
    let metadata = &workload.metadata;
    let account = workload.service_account.as_ref();
    BoundEndpoint {
        workload: format!("{}.{}", metadata.name, metadata.namespace).into(),
        address: workload.address.clone(),
        port: port.port,
        mesh_port: port.mesh_port,
        // The names were checked when the resource was read, so the id can be written.
        identity: account
            .and_then(|account| SpiffeId::new(trust_domain, &metadata.namespace, account)),
        zone: workload.zone.as_deref().map(Arc::from),
        weight: u32::from(workload.weight),
    }
}

/// The workload's port that a service's `targetPort` means.
fn target(target: &TargetPort, workload: &Workload) -> Option<WorkloadPort> {
    match target {
        TargetPort::Name(name) => {
            workload.ports.iter().find(|port| port.name.as_ref() == Some(name)).cloned()
        }
        // A number need not be listed, as in Kubernetes.
        TargetPort::Number(number) => {
            let listed = workload.ports.iter().find(|port| port.port == *number).cloned();
            Some(listed.unwrap_or_else(|| unlisted(*number)))
        }
    }
}
