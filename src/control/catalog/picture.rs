//! Services joined with their endpoints, kept current change by change.
//!
//! A change of a workload touches the services of its namespace that select it, before or after;
//! nothing else is computed again. What is the same afterwards did not change, and nobody is told.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use crate::model::{ServiceName, TrustDomain};
use crate::resources::bound::{self, Bound, Instance};
use crate::resources::{Address, Service, Workload};

/// What an address is known to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AddressFact {
    Service(ServiceName),
    Instance(Box<Instance>),
    Unknown,
}

/// What a commit changed.
#[derive(Debug, Default)]
pub struct Changed {
    pub services: HashSet<ServiceName>,
    /// Every address there may mean something else now.
    pub ips: HashSet<IpAddr>,
}

/// `namespace`, then `name`.
type ByName<T> = HashMap<String, BTreeMap<String, T>>;

pub struct Picture {
    trust_domain: TrustDomain,
    services: ByName<Service>,
    workloads: ByName<Workload>,
    by_ip: HashMap<IpAddr, BTreeSet<(String, String)>>,
    cluster_ips: HashMap<IpAddr, BTreeSet<(String, String)>>,
    bound: HashMap<ServiceName, Arc<Bound>>,
    /// Also of services that are gone.
    changed_at: HashMap<ServiceName, u64>,
    /// Services to bind again, by namespace and name.
    stale: HashSet<(String, String)>,
    changed: Changed,
}

/// Services that are gone are remembered up to this many, so that a sidecar that was away hears of
/// them; beyond it every returning one is told everything. Arbitrary.
const GONE: usize = 100_000;

impl Picture {
    pub fn new(trust_domain: TrustDomain) -> Self {
        Self {
            trust_domain,
            services: HashMap::new(),
            workloads: HashMap::new(),
            by_ip: HashMap::new(),
            cluster_ips: HashMap::new(),
            bound: HashMap::new(),
            changed_at: HashMap::new(),
            stale: HashSet::new(),
            changed: Changed::default(),
        }
    }

    pub fn services(&self) -> usize {
        self.bound.len()
    }

    /// All of them, in no order, and when each changed last.
    pub fn all_services(&self) -> Vec<(Arc<Bound>, u64)> {
        let changed_at = |bound: &Bound| self.changed_at.get(&bound.name).copied();
        let one = |bound: &Arc<Bound>| (Arc::clone(bound), changed_at(bound).unwrap_or_default());
        self.bound.values().map(one).collect()
    }

    pub fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }

    /// A service, and when it changed last; one that never was has never changed.
    pub fn service(&self, name: &ServiceName) -> (Option<Arc<Bound>>, u64) {
        (self.bound.get(name).cloned(), self.changed_at.get(name).copied().unwrap_or_default())
    }

    /// What an address means now.
    pub fn address(&self, address: SocketAddr) -> AddressFact {
        let ip = address.ip().to_canonical();
        if let Some(name) = self.cluster_service(ip, address.port()) {
            return AddressFact::Service(name);
        }
        let at_ip = self.by_ip.get(&ip).into_iter().flatten();
        let mut own = None;
        for (namespace, name) in at_ip {
            let Some(workload) = self.workloads.get(namespace).and_then(|all| all.get(name)) else {
                continue;
            };
            if let Some(instance) = self.owned(workload, address.port()) {
                return AddressFact::Instance(Box::new(instance));
            }
            let mut listed = bound::instances(workload, &self.trust_domain);
            own = own.or_else(|| {
                let at = listed.iter().position(|i| i.endpoint.port == address.port())?;
                Some(listed.swap_remove(at))
            });
        }
        own.map_or(AddressFact::Unknown, |instance| AddressFact::Instance(Box::new(instance)))
    }

    /// A service came, changed or went.
    pub fn serve(&mut self, before: Option<&Service>, now: Option<&Service>) {
        for service in before.into_iter().chain(now) {
            let key = (service.metadata.namespace.clone(), service.metadata.name.clone());
            self.changed.ips.extend(&service.cluster_ips);
            if service.headless {
                self.touch_endpoints(service);
            }
            for ip in &service.cluster_ips {
                drop_from(&mut self.cluster_ips, *ip, &key);
            }
            self.stale.insert(key);
        }
        if let Some(before) = before {
            remove(&mut self.services, &before.metadata.namespace, &before.metadata.name);
        }
        if let Some(now) = now {
            let key = (now.metadata.namespace.clone(), now.metadata.name.clone());
            for ip in &now.cluster_ips {
                self.cluster_ips.entry(*ip).or_default().insert(key.clone());
            }
            self.services.entry(key.0).or_default().insert(key.1, now.clone());
        }
    }

    /// A workload came, changed or went.
    pub fn workload(&mut self, before: Option<&Workload>, now: Option<&Workload>) {
        for workload in before.into_iter().chain(now) {
            let (namespace, name) = (&workload.metadata.namespace, &workload.metadata.name);
            let services = self.services.get(namespace).into_iter().flatten();
            let selecting = services.filter(|(_, service)| bound::selects(service, workload));
            self.stale.extend(selecting.map(|(name, _)| (namespace.clone(), name.clone())));
            if let Address::Ip(ip) = workload.address {
                self.changed.ips.insert(ip.to_canonical());
                drop_from(&mut self.by_ip, ip.to_canonical(), &(namespace.clone(), name.clone()));
            }
        }
        if let Some(before) = before {
            remove(&mut self.workloads, &before.metadata.namespace, &before.metadata.name);
        }
        if let Some(now) = now {
            let key = (now.metadata.namespace.clone(), now.metadata.name.clone());
            if let Address::Ip(ip) = now.address {
                self.by_ip.entry(ip.to_canonical()).or_default().insert(key.clone());
            }
            self.workloads.entry(key.0).or_default().insert(key.1, now.clone());
        }
    }

    /// Binds what became stale, and says what is different for it.
    pub fn settle(&mut self, revision: u64) -> Changed {
        for (namespace, name) in std::mem::take(&mut self.stale) {
            let mut bound = self.bind(&namespace, &name);
            let is_one =
                |known: &ServiceName| *known.name == *name && *known.namespace == *namespace;
            // A service has few ports; those that are gone have to be found among all.
            let gone: Vec<ServiceName> = self
                .bound
                .keys()
                .filter(|known| is_one(known) && !bound.iter().any(|b| b.name == **known))
                .cloned()
                .collect();
            for name in gone {
                self.bound.remove(&name);
                self.note(name, revision);
            }
            for bound in bound.drain(..) {
                if self.bound.get(&bound.name).is_none_or(|before| **before != bound) {
                    self.note(bound.name.clone(), revision);
                    self.bound.insert(bound.name.clone(), Arc::new(bound));
                }
            }
        }
        if self.changed_at.len() > self.bound.len() + GONE {
            self.changed_at.retain(|name, _| self.bound.contains_key(name));
        }
        std::mem::take(&mut self.changed)
    }

    fn note(&mut self, name: ServiceName, revision: u64) {
        self.changed_at.insert(name.clone(), revision);
        self.changed.services.insert(name);
    }

    fn bind(&self, namespace: &str, name: &str) -> Vec<Bound> {
        let Some(service) = self.services.get(namespace).and_then(|all| all.get(name)) else {
            return Vec::new();
        };
        let workloads = self.workloads.get(namespace).into_iter().flat_map(BTreeMap::values);
        bound::bind(service, workloads, &self.trust_domain)
    }

    fn cluster_service(&self, ip: IpAddr, port: u16) -> Option<ServiceName> {
        let names = self.cluster_ips.get(&ip)?.iter();
        let named = |(namespace, name): &(String, String)| ServiceName {
            name: name.as_str().into(),
            namespace: namespace.as_str().into(),
            port,
        };
        names.map(named).find(|name| self.bound.contains_key(name))
    }

    /// The endpoint that a workload is of a headless service, at one of the app's ports.
    fn owned(&self, workload: &Workload, port: u16) -> Option<Instance> {
        let namespace = &workload.metadata.namespace;
        let services = self.services.get(namespace)?.values();
        let headless = services.filter(|s| s.headless && bound::selects(s, workload));
        headless
            .flat_map(|service| bound::bind(service, std::iter::once(workload), &self.trust_domain))
            .find_map(|bound| {
                let endpoint = bound.endpoints.into_iter().find(|e| e.port == port)?;
                Some(Instance { endpoint, owner: Some(bound.name), protocol: bound.protocol })
            })
    }

    fn touch_endpoints(&mut self, service: &Service) {
        let workloads = self.workloads.get(&service.metadata.namespace).into_iter();
        let selected = workloads.flat_map(BTreeMap::values).filter(|w| bound::selects(service, w));
        self.changed.ips.extend(selected.filter_map(|workload| match workload.address {
            Address::Ip(ip) => Some(ip.to_canonical()),
            Address::Host(_) => None,
        }));
    }
}

fn remove<T>(map: &mut ByName<T>, namespace: &str, name: &str) {
    if let Some(all) = map.get_mut(namespace) {
        all.remove(name);
        if all.is_empty() {
            map.remove(namespace);
        }
    }
}

fn drop_from(
    map: &mut HashMap<IpAddr, BTreeSet<(String, String)>>,
    ip: IpAddr,
    key: &(String, String),
) {
    if let Some(keys) = map.get_mut(&ip) {
        keys.remove(key);
        if keys.is_empty() {
            map.remove(&ip);
        }
    }
}
