//! Services joined with their endpoints, kept current change by change.
//!
//! A change of a workload touches the services of its namespace that select it, before or after; one
//! of a route or policy those that it concerns. Nothing else is computed again. What is the same
//! afterwards did not change, and nobody is told.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use super::ages::Ages;
use super::attachments::{Attachments, Reach, ServiceKey};
use super::governed::{self, Governed, Governing, Known, Subjects};
use super::limited::{self, Limited};
use super::members::{Members, Touched};
use super::served::{Served, Views};
use crate::model::{Protocol, ServiceName, TrustDomain};
use crate::resources::bound::{self, Bound, Instance};
use crate::resources::{Address, Labels, Resource, Service, Workload};

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
    /// Whose callers other access policies may hold for.
    pub subjects: Subjects,
}

/// `namespace`, then `name`.
type ByName<T> = HashMap<String, BTreeMap<String, T>>;

pub struct Picture {
    trust_domain: TrustDomain,
    services: ByName<Service>,
    workloads: ByName<Workload>,
    members: Members,
    attachments: Attachments,
    governed: Governed,
    limited: Limited,
    by_ip: HashMap<IpAddr, BTreeSet<ServiceKey>>,
    cluster_ips: HashMap<IpAddr, BTreeSet<ServiceKey>>,
    bound: HashMap<ServiceName, Views>,
    /// The ports of `bound`.
    ports: HashMap<ServiceKey, Vec<u16>>,
    ages: Ages,
    /// Services to bind again.
    stale: HashSet<ServiceKey>,
    /// Services whose endpoints are as they were.
    reattached: Reach,
    changed: Changed,
}

impl Picture {
    pub fn new(trust_domain: TrustDomain) -> Self {
        Self {
            trust_domain,
            services: HashMap::new(),
            workloads: HashMap::new(),
            members: Members::default(),
            attachments: Attachments::default(),
            governed: Governed::default(),
            limited: Limited::default(),
            by_ip: HashMap::new(),
            cluster_ips: HashMap::new(),
            bound: HashMap::new(),
            ports: HashMap::new(),
            ages: Ages::default(),
            stale: HashSet::new(),
            reattached: Reach::default(),
            changed: Changed::default(),
        }
    }

    pub fn services(&self) -> usize {
        self.bound.len()
    }

    /// All of them, in no order, and when each changed last.
    pub fn all_services(&self) -> Vec<(Arc<Served>, u64)> {
        let one = |(name, views): (&ServiceName, &Views)| {
            (Arc::clone(views.shared()), self.ages.changed_at(name))
        };
        self.bound.iter().map(one).collect()
    }

    pub fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }

    /// A service as workloads of a namespace are told it, and when it changed last; one that never
    /// was has never changed.
    pub fn service(&self, name: &ServiceName, namespace: &str) -> (Option<Arc<Served>>, u64) {
        let served = self.bound.get(name).map(|views| Arc::clone(views.within(namespace)));
        (served, self.ages.changed_at(name))
    }

    /// Whoever was told of a moment before this builds on nothing.
    pub fn forgotten_at(&self) -> u64 {
        self.ages.forgotten_at()
    }

    /// What an address means now.
    pub fn address(&self, address: SocketAddr) -> AddressFact {
        let ip = address.ip().to_canonical();
        if let Some(name) = self.cluster_service(ip, address.port()) {
            return AddressFact::Service(name);
        }
        // A pod's address is what the cluster says, whatever somebody wrote down.
        if let Some(pod) = self.members.instance(address, |key| self.find(key), &self.trust_domain)
        {
            return AddressFact::Instance(Box::new(pod));
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
            own = own.or_else(|| bound::instance(workload, address.port(), &self.trust_domain));
        }
        own.map_or(AddressFact::Unknown, |instance| AddressFact::Instance(Box::new(instance)))
    }

    pub fn members(&self) -> &Members {
        &self.members
    }

    /// Changes who is said to serve; what that concerns is bound again. False: nothing changed.
    pub fn enlist(&mut self, change: impl FnOnce(&mut Members) -> Option<Touched>) -> bool {
        let Some(Touched { services, ips }) = change(&mut self.members) else { return false };
        self.stale.extend(services);
        self.changed.ips.extend(ips);
        true
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
        let labels = |of: &Workload| (of.metadata.labels.clone(), of.service_account.clone());
        if before.map(labels) != now.map(labels) {
            let of = before.or(now).map(|of| &of.metadata);
            let key = of.map(|of| (of.namespace.clone(), of.name.clone()));
            self.changed.subjects.workloads.extend(key);
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

    /// A route or policy came, changed or went.
    pub fn attach(&mut self, before: Option<&Resource>, now: Option<&Arc<Resource>>) {
        let Reach { services, namespaces, mesh } = self.attachments.change(before, now);
        self.reattached.services.extend(services);
        self.reattached.namespaces.extend(namespaces);
        self.reattached.mesh |= mesh;
    }

    /// An access policy came, changed or went.
    pub fn govern(&mut self, before: Option<&Resource>, now: Option<&Arc<Resource>>) {
        let before = before.and_then(governed::policy).map(|policy| &**policy);
        let now = now.and_then(|now| governed::policy(now));
        self.governed.change(before, now, &mut self.changed.subjects);
    }

    /// A rate-limit policy came, changed or went.
    pub fn limit(&mut self, before: Option<&Resource>, now: Option<&Arc<Resource>>) {
        let before = before.and_then(limited::policy).map(|policy| &**policy);
        let now = now.and_then(|now| limited::policy(now));
        self.limited.change(before, now, &mut self.changed.subjects);
    }

    /// A workload may have other labels, by `namespace/name`.
    pub fn relabelled(&mut self, workload: &str) {
        let key = workload.split_once('/').map(|(of, name)| (of.to_owned(), name.to_owned()));
        self.changed.subjects.workloads.extend(key);
    }

    /// The manifests of the policies about callers of a workload.
    pub fn governing(&self, namespace: &str, labels: Known<'_>) -> Governing {
        let limits = self.limited.of(namespace, labels);
        Governing { limits, ..self.governed.of(namespace, labels) }
    }

    /// The labels of a workload, if it is known under this service account.
    pub fn labels(&self, namespace: &str, name: &str, account: &str) -> Option<&Labels> {
        let workload = self.workloads.get(namespace)?.get(name)?;
        let is_it = workload.service_account.as_deref() == Some(account);
        is_it.then_some(&workload.metadata.labels)
    }

    /// The workload at an address, as `name.namespace`, where there is just one.
    pub fn workload_at(&self, ip: IpAddr) -> Option<String> {
        let written = self.by_ip.get(&ip.to_canonical()).into_iter().flatten();
        let pods = self.members.at(ip).map(|pod| &pod.metadata);
        let mut there = written
            .map(|(namespace, name)| (namespace, name))
            .chain(pods.map(|of| (&of.namespace, &of.name)));
        let (namespace, name) = there.next()?;
        there.next().is_none().then(|| format!("{name}.{namespace}"))
    }

    /// Binds what became stale, and says what is different for it.
    pub fn settle(&mut self, revision: u64) -> Changed {
        let stale = std::mem::take(&mut self.stale);
        for key in self.reattached() {
            if !stale.contains(&key) {
                let bound = self.reattach(&key);
                self.replace(bound, revision);
            }
        }
        for key in stale {
            let bound = self.bind(&key);
            let ports: Vec<u16> = bound.iter().map(|bound| bound.name.port).collect();
            let before = self.ports.remove(&key).unwrap_or_default();
            for port in before.into_iter().filter(|port| !ports.contains(port)) {
                let name = named(&key, port);
                self.bound.remove(&name);
                self.note(name, revision);
            }
            if !ports.is_empty() {
                self.ports.insert(key, ports);
            }
            self.replace(bound, revision);
        }
        self.ages.prune(self.bound.len(), |name| self.bound.contains_key(name), revision);
        std::mem::take(&mut self.changed)
    }

    fn replace(&mut self, bound: Vec<Bound>, revision: u64) {
        for bound in bound {
            let name = bound.name.clone();
            let mut views = Views::of(bound, &self.attachments);
            if self.bound.get(&name).is_none_or(|before| views.succeed(before)) {
                self.note(name.clone(), revision);
                self.bound.insert(name, views);
            }
        }
    }

    /// The services that there are of those that a route or policy concerns.
    fn reattached(&mut self) -> Vec<ServiceKey> {
        let Reach { services, namespaces, mesh } = std::mem::take(&mut self.reattached);
        if !mesh && namespaces.is_empty() {
            return services.into_iter().filter(|key| self.ports.contains_key(key)).collect();
        }
        let is_concerned =
            |key: &&ServiceKey| mesh || namespaces.contains(&key.0) || services.contains(*key);
        self.ports.keys().filter(is_concerned).cloned().collect()
    }

    /// As it is, with what hangs on it now: a policy of the mesh must not make every service look for
    /// its endpoints again.
    fn reattach(&self, key: &ServiceKey) -> Vec<Bound> {
        let Some(service) = self.find(key) else { return Vec::new() };
        let attachable = self.attachments.of(key);
        let bound = bound::bind(service, std::iter::empty(), &attachable, &self.trust_domain);
        let as_it_is = |Bound { name, attachments, .. }: Bound| {
            let known = &self.bound.get(&name)?.shared().bound;
            Some(Bound { attachments, ..known.clone() })
        };
        bound.into_iter().filter_map(as_it_is).collect()
    }

    fn note(&mut self, name: ServiceName, revision: u64) {
        self.ages.note(name.clone(), revision);
        self.changed.services.insert(name);
    }

    fn find(&self, (namespace, name): &ServiceKey) -> Option<&Service> {
        self.services.get(namespace)?.get(name)
    }

    fn bind(&self, key: &ServiceKey) -> Vec<Bound> {
        let Some(service) = self.find(key) else { return Vec::new() };
        let workloads = self.workloads.get(&key.0).into_iter().flat_map(BTreeMap::values);
        let attachable = self.attachments.of(key);
        let mut all = bound::bind(service, workloads, &attachable, &self.trust_domain);
        for (bound, port) in all.iter_mut().zip(&service.ports) {
            let (listed, spoken) = self.members.endpoints(service, port, &self.trust_domain);
            bound.endpoints.extend(listed);
            if bound.protocol == Protocol::Auto {
                bound.protocol = spoken;
            }
        }
        all
    }

    fn cluster_service(&self, ip: IpAddr, port: u16) -> Option<ServiceName> {
        let names = self.cluster_ips.get(&ip)?.iter();
        names.map(|key| named(key, port)).find(|name| self.bound.contains_key(name))
    }

    /// The endpoint that a workload is of a headless service, at one of the app's ports.
    fn owned(&self, workload: &Workload, port: u16) -> Option<Instance> {
        let namespace = &workload.metadata.namespace;
        let services = self.services.get(namespace)?.values();
        let headless = services.filter(|s| s.headless && bound::selects(s, workload));
        headless
            // What hangs on the service is told with the service.
            .flat_map(|service| {
                bound::bind(service, std::iter::once(workload), &[], &self.trust_domain)
            })
            .find_map(|bound| {
                let endpoint = bound.endpoints.into_iter().find(|e| e.port == port)?;
                Some(Instance { endpoint, owner: Some(bound.name), protocol: bound.protocol })
            })
    }

    fn touch_endpoints(&mut self, service: &Service) {
        let key = (service.metadata.namespace.clone(), service.metadata.name.clone());
        self.changed.ips.extend(self.members.addresses(&key));
        let workloads = self.workloads.get(&service.metadata.namespace).into_iter();
        let selected = workloads.flat_map(BTreeMap::values).filter(|w| bound::selects(service, w));
        self.changed.ips.extend(selected.filter_map(|workload| match workload.address {
            Address::Ip(ip) => Some(ip.to_canonical()),
            Address::Host(_) => None,
        }));
    }
}

fn named((namespace, name): &ServiceKey, port: u16) -> ServiceName {
    ServiceName { name: name.as_str().into(), namespace: namespace.as_str().into(), port }
}

fn remove<T>(map: &mut ByName<T>, namespace: &str, name: &str) {
    if let Some(all) = map.get_mut(namespace) {
        all.remove(name);
        if all.is_empty() {
            map.remove(namespace);
        }
    }
}

fn drop_from(map: &mut HashMap<IpAddr, BTreeSet<ServiceKey>>, ip: IpAddr, key: &ServiceKey) {
    if let Some(keys) = map.get_mut(&ip) {
        keys.remove(key);
        if keys.is_empty() {
            map.remove(&ip);
        }
    }
}
