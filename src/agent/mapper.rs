//! From services and their endpoints to the nouns of the data path.
//!
//! An endpoint that stays the same keeps its object, and with it everything that was learnt about
//! its health.

use std::collections::{BTreeSet, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use super::hosts::Resolved;
use crate::model::{self, Coverage, Endpoint, Mesh, Service, TrustDomain};
use crate::resources::bound::{self, Bound, BoundEndpoint, Instance};
use crate::resources::{Address, Resource, Workload};

/// Builds pictures of the mesh, each knowing the one before.
#[derive(Debug, Default)]
pub struct Mapper {
    version: u64,
    endpoints: HashMap<(SocketAddr, Arc<str>), Arc<Endpoint>>,
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
        for resource in resources {
            if let Resource::Service(service) = resource {
                let bound = bound::bind(service, workloads.iter().copied(), trust_domain);
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
    /// The mesh that a picture shows; names that are not in `hosts` have no address yet.
    pub fn map(&mut self, picture: &Picture, hosts: &Resolved) -> Mesh {
        self.version += 1;
        let mut mesh =
            Mesh { version: self.version, coverage: picture.coverage.clone(), ..Mesh::default() };
        let before = std::mem::take(&mut self.endpoints);
        for bound in &picture.services {
            self.service(&mut mesh, bound, hosts, &before);
        }
        for instance in &picture.instances {
            let endpoints = self.endpoints_of(&instance.endpoint, hosts, &before);
            for endpoint in endpoints {
                let app = SocketAddr::new(endpoint.address.ip(), instance.endpoint.port);
                let (owner, protocol) = (instance.owner.clone(), instance.protocol);
                let instance = model::Instance { endpoint, owner, protocol };
                mesh.instances.entry(app).or_insert(instance);
            }
        }
        mesh
    }

    fn service(
        &mut self,
        mesh: &mut Mesh,
        bound: &Bound,
        hosts: &Resolved,
        before: &HashMap<(SocketAddr, Arc<str>), Arc<Endpoint>>,
    ) {
        let Bound {
            name,
            protocol,
            cluster_ips,
            headless,
            endpoints: bound_endpoints,
            attachments: _,
        } = bound;
        let mut endpoints = Vec::with_capacity(bound_endpoints.len());
        for each in bound_endpoints {
            for endpoint in self.endpoints_of(each, hosts, before) {
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
        let (name, protocol) = (name.clone(), *protocol);
        let service = Service { name, protocol, endpoints, policy: Arc::default(), routes: vec![] };
        mesh.services.insert(service.name.clone(), Arc::new(service));
    }

    fn endpoints_of(
        &mut self,
        bound: &BoundEndpoint,
        hosts: &Resolved,
        before: &HashMap<(SocketAddr, Arc<str>), Arc<Endpoint>>,
    ) -> Vec<Arc<Endpoint>> {
        let ips = match &bound.address {
            Address::Ip(ip) => std::slice::from_ref(ip),
            Address::Host(host) => hosts.get(host).map_or(&[][..], Vec::as_slice),
        };
        ips.iter().map(|&ip| self.endpoint(bound, ip, before)).collect()
    }

    fn endpoint(
        &mut self,
        bound: &BoundEndpoint,
        ip: IpAddr,
        before: &HashMap<(SocketAddr, Arc<str>), Arc<Endpoint>>,
    ) -> Arc<Endpoint> {
        let BoundEndpoint { workload, address: _, port, mesh_port, identity, zone, weight } = bound;
        let address = SocketAddr::new(ip, mesh_port.unwrap_or(*port));
        let key = (address, Arc::clone(workload));
        let fresh =
            Endpoint::new(address, identity.clone(), Arc::clone(workload), zone.clone(), *weight);
        let known = self.endpoints.get(&key).or_else(|| before.get(&key));
        let endpoint = match known {
            Some(known) if known.is_same(&fresh) => Arc::clone(known),
            _ => Arc::new(fresh),
        };
        self.endpoints.insert(key, Arc::clone(&endpoint));
        endpoint
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ServiceName;
    use crate::resources::{Origin, parse_documents};

    const SHOP: &str = r#"
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {selector: {app: web}, clusterIP: 10.0.0.7, ports: [{name: http, port: 80, targetPort: http}]}
---
apiVersion: outrigger.dev/v1alpha1
kind: Workload
metadata: {name: web-1, namespace: shop, labels: {app: web}}
spec: {address: 127.0.0.1, serviceAccount: web, zone: a, ports: [{name: http, port: 8080, meshPort: 18080}]}
---
apiVersion: outrigger.dev/v1alpha1
kind: Workload
metadata: {name: web-2, namespace: shop, labels: {app: web}}
spec: {address: web.example, ports: [{name: http, port: 8080}]}
---
apiVersion: outrigger.dev/v1alpha1
kind: Workload
metadata: {name: other, namespace: other, labels: {app: web}}
spec: {address: 127.0.0.3, ports: [{name: http, port: 8080}]}
"#;

    fn picture() -> Picture {
        let read = parse_documents(SHOP, &Origin::file("shop.yaml"), "default").expect("valid");
        Picture::of(&read, &TrustDomain::default())
    }

    #[test]
    fn services_select_workloads_of_their_namespace() {
        let mut mapper = Mapper::default();
        let hosts = Resolved::from([("web.example".into(), vec![[127, 0, 0, 2].into()])]);
        let mesh = mapper.map(&picture(), &hosts);
        let name = ServiceName::parse("web.shop:80", "default").expect("a name");
        let endpoints = &mesh.services[&name].endpoints;
        let seen: Vec<_> = endpoints
            .iter()
            .map(|e| (e.address.to_string(), e.identity.clone().map(|i| i.to_string())))
            .collect();
        assert_eq!(
            seen,
            [
                ("127.0.0.1:18080".into(), Some("spiffe://cluster.local/ns/shop/sa/web".into())),
                ("127.0.0.2:8080".into(), None),
            ]
        );
        assert!(mesh.by_cluster_ip(([10, 0, 0, 7], 80).into()).is_some());
        assert!(mesh.by_cluster_ip(([10, 0, 0, 7], 81).into()).is_none());
        assert!(mesh.instances.contains_key(&([127, 0, 0, 1], 8080).into()));
    }

    #[test]
    fn an_endpoint_that_stays_keeps_its_health() {
        let mut mapper = Mapper::default();
        let name = ServiceName::parse("web.shop:80", "default").expect("a name");
        let first = mapper.map(&picture(), &Resolved::new());
        let second = mapper.map(&picture(), &Resolved::new());
        assert!(Arc::ptr_eq(
            &first.services[&name].endpoints[0],
            &second.services[&name].endpoints[0]
        ));
        assert!(second.version > first.version);
    }
}
