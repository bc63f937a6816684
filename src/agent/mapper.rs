//! From services and their endpoints to the nouns of the data path.
//!
//! An endpoint that stays the same keeps its object, and with it everything that was learnt about
//! its health; a service whose routes and policies stay the same keeps what they came to.

use std::collections::{BTreeSet, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use super::hosts::Resolved;
use crate::model::{self, Coverage, Endpoint, Mesh, Service, ServiceName, TrustDomain};
use crate::resources::attach::{Attached, attach};
use crate::resources::bound::{self, Bound, BoundEndpoint, Instance};
use crate::resources::{Address, Resource, Workload};

/// Builds pictures of the mesh, each knowing the one before.
#[derive(Debug, Default)]
pub struct Mapper {
    version: u64,
    /// The caller's, whose own routes come first.
    namespace: String,
    endpoints: Endpoints,
    services: HashMap<ServiceName, Mapped>,
}

type Endpoints = HashMap<(SocketAddr, Arc<str>), Arc<Endpoint>>;

/// A service of the picture before.
#[derive(Debug)]
struct Mapped {
    bound: Arc<Bound>,
    attached: Attached,
    had_endpoints: bool,
}

/// What a picture is made of, beside what it shows.
struct Known<'a> {
    hosts: &'a Resolved,
    endpoints: Endpoints,
    services: HashMap<ServiceName, Mapped>,
    now_us: u64,
}

/// What is known of the mesh, before host names are resolved.
#[derive(Debug, Default)]
pub struct Picture {
    pub services: Vec<Arc<Bound>>,
    /// Workloads reached by their own addresses.
    pub instances: Vec<Instance>,
    pub coverage: Coverage,
}

impl Picture {
    /// What resources draw.
    pub fn of(resources: &[Resource], trust_domain: &TrustDomain) -> Self {
        let mut picture = Picture::default();
        let workloads: Vec<&Workload> = resources
            .iter()
            .filter_map(|resource| match resource {
                Resource::Workload(workload) => Some(workload),
                _ => None,
            })
            .collect();
        let is_attachable = |r: &&Resource| {
            !matches!(
                r,
                Resource::Service(_)
                    | Resource::Workload(_)
                    | Resource::AccessPolicy(_)
                    | Resource::RateLimitPolicy(_)
            )
        };
        let attachable: Vec<Arc<Resource>> =
            resources.iter().filter(is_attachable).cloned().map(Arc::new).collect();
        for resource in resources {
            if let Resource::Service(service) = resource {
                let workloads = workloads.iter().copied();
                let bound = bound::bind(service, workloads, &attachable, trust_domain);
                picture.services.extend(bound.into_iter().map(Arc::new));
            }
        }
        let listed = workloads.iter().flat_map(|workload| bound::instances(workload, trust_domain));
        picture.instances = listed.collect();
        picture
    }

    /// The host names in it.
    pub fn hosts(&self) -> BTreeSet<String> {
        let of_services = self.services.iter().flat_map(|service| &service.endpoints);
        let of_instances = self.instances.iter().map(|instance| &instance.endpoint);
        of_services
            .chain(of_instances)
            .filter_map(|endpoint| match &endpoint.address {
                Address::Host(host) => Some(host.clone()),
                Address::Ip(_) => None,
            })
            .collect()
    }
}

impl Mapper {
    /// For callers in `namespace`.
    pub fn new(namespace: &str) -> Self {
        Self { namespace: namespace.to_owned(), ..Self::default() }
    }

    /// The mesh that a picture shows; names that are not in `hosts` have no address yet.
    pub fn map(&mut self, picture: &Picture, hosts: &Resolved, now_us: u64) -> Mesh {
        self.version += 1;
        let mut mesh =
            Mesh { version: self.version, coverage: picture.coverage.clone(), ..Mesh::default() };
        let endpoints = std::mem::take(&mut self.endpoints);
        let services = std::mem::take(&mut self.services);
        let known = Known { hosts, endpoints, services, now_us };
        for bound in &picture.services {
            self.service(&mut mesh, bound, &known);
        }
        for instance in &picture.instances {
            let endpoints = self.endpoints_of(&instance.endpoint, &known, 0);
            for endpoint in endpoints {
                let app = SocketAddr::new(endpoint.address.ip(), instance.endpoint.port);
                let (owner, protocol) = (instance.owner.clone(), instance.protocol);
                let instance = model::Instance { endpoint, owner, protocol };
                mesh.instances.entry(app).or_insert(instance);
            }
        }
        mesh
    }

    fn service(&mut self, mesh: &mut Mesh, bound: &Arc<Bound>, known: &Known<'_>) {
        let Bound {
            name,
            protocol,
            cluster_ips,
            headless,
            session_affinity,
            endpoints: bound_endpoints,
            attachments,
        } = &**bound;
        let before = known.services.get(name);
        let since_us = before.filter(|b| b.had_endpoints).map_or(0, |_| known.now_us);
        let mut endpoints = Vec::with_capacity(bound_endpoints.len());
        for each in bound_endpoints {
            for endpoint in self.endpoints_of(each, known, since_us) {
                if *headless {
                    let app = SocketAddr::new(endpoint.address.ip(), each.port);
                    let (owner, protocol) = (Some(name.clone()), *protocol);
                    let endpoint = Arc::clone(&endpoint);
                    mesh.instances.insert(app, model::Instance { endpoint, owner, protocol });
                }
                endpoints.push(endpoint);
            }
        }
        for &ip in cluster_ips {
            mesh.cluster_ips.entry(ip).or_default().push(name.clone());
        }
        // Endpoints change far more often than policies do.
        let stays = |before: &&Mapped| {
            let Bound { session_affinity: was, attachments: held, .. } = &*before.bound;
            was == session_affinity && is_same(held, attachments)
        };
        let attached = match before.filter(stays) {
            Some(before) => before.attached.clone(),
            None => attach(name, *session_affinity, attachments, &self.namespace),
        };
        let had_endpoints = !endpoints.is_empty();
        let (name, protocol) = (name.clone(), *protocol);
        let Attached { policy, rules: routes, conflicts } = attached.clone();
        let named = name.clone();
        let service = Service { name: named, protocol, endpoints, policy, routes, conflicts };
        mesh.services.insert(service.name.clone(), Arc::new(service));
        self.services.insert(name, Mapped { bound: Arc::clone(bound), attached, had_endpoints });
    }

    /// `since_us`: for those that were not there before.
    fn endpoints_of(
        &mut self,
        bound: &BoundEndpoint,
        known: &Known<'_>,
        since_us: u64,
    ) -> Vec<Arc<Endpoint>> {
        match &bound.address {
            Address::Ip(ip) => vec![self.endpoint(bound, *ip, None, known, since_us)],
            Address::Host(name) => {
                let host: Arc<str> = name.as_str().into();
                let ips = known.hosts.get(name).map_or(&[][..], Vec::as_slice);
                ips.iter()
                    .map(|&ip| self.endpoint(bound, ip, Some(&host), known, since_us))
                    .collect()
            }
        }
    }

    fn endpoint(
        &mut self,
        bound: &BoundEndpoint,
        ip: IpAddr,
        host: Option<&Arc<str>>,
        known: &Known<'_>,
        since_us: u64,
    ) -> Arc<Endpoint> {
        let BoundEndpoint { workload, address: _, port, mesh_port, identity, zone, weight } = bound;
        let address = SocketAddr::new(ip, mesh_port.unwrap_or(*port));
        let key = (address, Arc::clone(workload));
        let before = self.endpoints.get(&key).or_else(|| known.endpoints.get(&key));
        let endpoint = match before.filter(|before| before.identity == *identity) {
            Some(before) if is_described(before, host, zone.as_ref(), *weight) => {
                Arc::clone(before)
            }
            Some(before) => Arc::new(before.described(host.cloned(), zone.clone(), *weight)),
            None => {
                let (workload, identity) = (Arc::clone(workload), identity.clone());
                let mut fresh = Endpoint::new(address, identity, workload, zone.clone(), *weight);
                fresh.host = host.cloned();
                fresh.since_us = since_us;
                Arc::new(fresh)
            }
        };
        self.endpoints.insert(key, Arc::clone(&endpoint));
        endpoint
    }
}

fn is_described(
    endpoint: &Endpoint,
    host: Option<&Arc<str>>,
    zone: Option<&Arc<str>>,
    weight: u32,
) -> bool {
    endpoint.host.as_ref() == host
        && endpoint.zone.as_ref() == zone
        && endpoint.weight == weight.max(1)
}

/// Whether they are the same objects.
fn is_same(these: &[Arc<Resource>], those: &[Arc<Resource>]) -> bool {
    these.len() == those.len() && these.iter().zip(those).all(|(a, b)| Arc::ptr_eq(a, b))
}

#[cfg(test)]
mod tests;
