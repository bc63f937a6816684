//! From resources to the nouns of the data path.
//!
//! Services select workloads by label; each match is an endpoint. An endpoint that stays the same
//! keeps its object, and with it everything that was learnt about its health.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use crate::model::{Endpoint, Mesh, Policy, Protocol, Service, ServiceName, SpiffeId, TrustDomain};
use crate::resources::{self, Address, Labels, Resource, TargetPort, Workload, WorkloadPort};

/// Builds pictures of the mesh, each knowing the one before.
#[derive(Debug)]
pub struct Mapper {
    trust_domain: TrustDomain,
    version: u64,
    endpoints: HashMap<(SocketAddr, Arc<str>), Arc<Endpoint>>,
}

/// The addresses that host names stand for now.
pub type Resolved = HashMap<String, Vec<IpAddr>>;

impl Mapper {
    pub fn new(trust_domain: TrustDomain) -> Self {
        Self { trust_domain, version: 0, endpoints: HashMap::new() }
    }

    /// The picture that `resources` draw; names that are not in `hosts` have no address yet.
    pub fn map(&mut self, resources: &[Resource], hosts: &Resolved) -> Mesh {
        self.version += 1;
        let mut mesh = Mesh { version: self.version, ..Mesh::default() };
        let before = std::mem::take(&mut self.endpoints);
        let workloads: Vec<&Workload> = resources
            .iter()
            .filter_map(|resource| match resource {
                Resource::Workload(workload) => Some(workload),
                Resource::Service(_) => None,
            })
            .collect();
        for resource in resources {
            if let Resource::Service(service) = resource {
                self.service(&mut mesh, service, &workloads, hosts, &before);
            }
        }
        for workload in &workloads {
            for port in &workload.ports {
                self.instances(&mut mesh, workload, port, hosts, &before);
            }
        }
        mesh
    }

    fn service(
        &mut self,
        mesh: &mut Mesh,
        service: &resources::Service,
        workloads: &[&Workload],
        hosts: &Resolved,
        before: &HashMap<(SocketAddr, Arc<str>), Arc<Endpoint>>,
    ) {
        let metadata = &service.metadata;
        for port in &service.ports {
            let name = ServiceName {
                name: metadata.name.as_str().into(),
                namespace: metadata.namespace.as_str().into(),
                port: port.port,
            };
            let mut endpoints = Vec::new();
            let mut protocol = port.protocol;
            for workload in workloads.iter().filter(|w| selects(service, w)) {
                let Some(target) = target(&port.target, workload) else {
                    continue;
                };
                if protocol == Protocol::Auto {
                    protocol = target.protocol;
                }
                for endpoint in self.endpoints_of(workload, &target, hosts, before) {
                    if service.headless {
                        let app = SocketAddr::new(endpoint.address.ip(), target.port);
                        let owned = (Arc::clone(&endpoint), Some(name.clone()));
                        mesh.instances.insert(app, owned);
                    }
                    endpoints.push(endpoint);
                }
            }
            for &ip in &service.cluster_ips {
                mesh.cluster_ips.entry(ip).or_default().push(name.clone());
            }
            let policy = Policy::default();
            let service = Service { name: name.clone(), protocol, endpoints, policy };
            mesh.services.insert(name, Arc::new(service));
        }
    }

    /// A workload's own addresses, unless a headless service owns them.
    fn instances(
        &mut self,
        mesh: &mut Mesh,
        workload: &Workload,
        port: &WorkloadPort,
        hosts: &Resolved,
        before: &HashMap<(SocketAddr, Arc<str>), Arc<Endpoint>>,
    ) {
        for endpoint in self.endpoints_of(workload, port, hosts, before) {
            let app = SocketAddr::new(endpoint.address.ip(), port.port);
            mesh.instances.entry(app).or_insert((endpoint, None));
        }
    }

    fn endpoints_of(
        &mut self,
        workload: &Workload,
        port: &WorkloadPort,
        hosts: &Resolved,
        before: &HashMap<(SocketAddr, Arc<str>), Arc<Endpoint>>,
    ) -> Vec<Arc<Endpoint>> {
        let ips = match &workload.address {
            Address::Ip(ip) => std::slice::from_ref(ip),
            Address::Host(host) => hosts.get(host).map_or(&[][..], Vec::as_slice),
        };
        ips.iter().map(|&ip| self.endpoint(workload, port, ip, before)).collect()
    }

    fn endpoint(
        &mut self,
        workload: &Workload,
        port: &WorkloadPort,
        ip: IpAddr,
        before: &HashMap<(SocketAddr, Arc<str>), Arc<Endpoint>>,
    ) -> Arc<Endpoint> {
        let metadata = &workload.metadata;
        let name: Arc<str> = format!("{}.{}", metadata.name, metadata.namespace).into();
        let address = SocketAddr::new(ip, port.mesh_port.unwrap_or(port.port));
        // The names were checked when the resource was read, so the id can be written.
        let identity = workload
            .service_account
            .as_ref()
            .and_then(|account| SpiffeId::new(&self.trust_domain, &metadata.namespace, account));
        let zone = workload.zone.as_deref().map(Arc::from);
        let key = (address, Arc::clone(&name));
        let fresh = Endpoint::new(address, identity, name, zone, u32::from(workload.weight));
        let known = self.endpoints.get(&key).or_else(|| before.get(&key));
        let endpoint = match known {
            Some(known) if known.is_same(&fresh) => Arc::clone(known),
            _ => Arc::new(fresh),
        };
        self.endpoints.insert(key, Arc::clone(&endpoint));
        endpoint
    }
}

/// A service without a selector selects nothing.
fn selects(service: &resources::Service, workload: &Workload) -> bool {
    let has = |labels: &Labels, (key, value): (&String, &String)| labels.get(key) == Some(value);
    service.metadata.namespace == workload.metadata.namespace
        && !service.selector.is_empty()
        && service.selector.iter().all(|label| has(&workload.metadata.labels, label))
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
            Some(listed.unwrap_or(WorkloadPort {
                name: None,
                port: *number,
                mesh_port: None,
                protocol: Protocol::Auto,
            }))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
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

    fn resources() -> Vec<Resource> {
        parse_documents(SHOP, &Origin::file("shop.yaml"), "default").expect("valid")
    }

    #[test]
    fn services_select_workloads_of_their_namespace() {
        let mut mapper = Mapper::new(TrustDomain::default());
        let hosts = Resolved::from([("web.example".into(), vec![[127, 0, 0, 2].into()])]);
        let mesh = mapper.map(&resources(), &hosts);
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
        let mut mapper = Mapper::new(TrustDomain::default());
        let name = ServiceName::parse("web.shop:80", "default").expect("a name");
        let first = mapper.map(&resources(), &Resolved::new());
        let second = mapper.map(&resources(), &Resolved::new());
        assert!(Arc::ptr_eq(
            &first.services[&name].endpoints[0],
            &second.services[&name].endpoints[0]
        ));
        assert!(second.version > first.version);
    }
}
