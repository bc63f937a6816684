//! Which services there are, and which of them a workload is of: the catalog's answer, kept until
//! the catalog changes.
//!
//! A workload is of a service when it is one of its endpoints under the identity of its certificate;
//! of several services, of the one with the shortest name (`db` rather than `db-headless`, `web`
//! rather than `web-canary`). Who is of none goes by its service account, which its certificate
//! proves; a name that somebody chose for itself proves nothing. Callers mean any of its services:
//! which those are is what keeps one request from being told twice.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use super::owners::OTHER;
use crate::control::catalog::Catalog;
use crate::model::SpiffeId;
use crate::resources::Address;
use crate::resources::bound::BoundEndpoint;

/// Where requests go that the mesh knows nothing of.
pub const EXTERNAL: &str = "external";
/// Where requests come from that nobody proved to have sent.
pub const UNMESHED: &str = "unmeshed";

/// A workload's name, and what it proves to be or goes by.
type Pair = (Arc<str>, Arc<str>);
type Names = BTreeSet<Arc<str>>;

/// Everybody, at one revision of the catalog.
#[derive(Debug)]
pub struct Directory {
    pub revision: u64,
    /// By `name.namespace`.
    pub services: BTreeMap<Arc<str>, Entry>,
    /// The service of a workload, by its name and what it must prove to be.
    places: HashMap<Pair, Arc<str>>,
    /// The services of all workloads of a place, by that and their identity, where there are others.
    kin: HashMap<Arc<str>, HashMap<Arc<str>, Names>>,
    /// Of an identity.
    identities: HashMap<Arc<str>, Arc<str>>,
    /// Of an address, as apps dial it.
    addresses: HashMap<SocketAddr, Arc<str>>,
    /// The workload that has an address to itself, and its service; nobody where several share it.
    hosts: HashMap<IpAddr, Option<Pair>>,
    external: Arc<str>,
}

impl Default for Directory {
    /// Nobody.
    fn default() -> Self {
        Self {
            revision: 0,
            services: BTreeMap::new(),
            places: HashMap::new(),
            kin: HashMap::new(),
            identities: HashMap::new(),
            addresses: HashMap::new(),
            hosts: HashMap::new(),
            external: EXTERNAL.into(),
        }
    }
}

/// A service.
#[derive(Debug, Default)]
pub struct Entry {
    pub namespace: Arc<str>,
    /// Of all its ports.
    pub endpoints: Vec<Endpoint>,
    /// None of its endpoints is an address of this mesh.
    pub is_outside: bool,
}

/// One of its endpoints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// `name.namespace:port`, the service's.
    pub service: Arc<str>,
    /// As callers' sidecars dial it; absent: by a host name.
    pub address: Option<SocketAddr>,
    /// In words.
    pub shown: String,
    pub workload: Arc<str>,
    pub zone: Option<Arc<str>>,
    pub identity: Option<SpiffeId>,
}

impl Directory {
    pub fn of(catalog: &Catalog) -> Self {
        let revision = catalog.revision();
        let mut of = Self { revision, ..Self::default() };
        let mut services: HashMap<Pair, Names> = HashMap::new();
        for (served, _) in catalog.services() {
            let bound = &served.bound;
            let name: Arc<str> = format!("{}.{}", bound.name.name, bound.name.namespace).into();
            let label: Arc<str> = bound.name.to_string().into();
            let is_outside = !bound.endpoints.is_empty()
                && bound.endpoints.iter().all(|e| matches!(e.address, Address::Host(_)));
            let mut endpoints = Vec::with_capacity(bound.endpoints.len());
            for endpoint in &bound.endpoints {
                let port = endpoint.mesh_port.unwrap_or(endpoint.port);
                let (address, shown) = match &endpoint.address {
                    Address::Ip(ip) => {
                        of.address(ip.to_canonical(), endpoint, &name);
                        let address = SocketAddr::new(*ip, port);
                        (Some(address), address.to_string())
                    }
                    Address::Host(host) => (None, format!("{host}:{port}")),
                };
                endpoints.push(Endpoint {
                    service: Arc::clone(&label),
                    address,
                    shown,
                    workload: Arc::clone(&endpoint.workload),
                    zone: endpoint.zone.clone(),
                    identity: endpoint.identity.clone(),
                });
                if let Some(identity) = &endpoint.identity {
                    let identity: Arc<str> = identity.as_str().into();
                    shortest(of.identities.entry(Arc::clone(&identity)).or_default(), &name);
                    let place = (Arc::clone(&endpoint.workload), identity);
                    services.entry(place).or_default().insert(Arc::clone(&name));
                }
            }
            let entry = of.services.entry(name).or_default();
            entry.namespace = Arc::clone(&bound.name.namespace);
            entry.is_outside = is_outside;
            entry.endpoints.append(&mut endpoints);
        }
        for (place, all) in services {
            let Some(shortest) = all.iter().min_by_key(|name| (name.len(), Arc::clone(name)))
            else {
                continue;
            };
            let shortest = Arc::clone(shortest);
            if all.len() > 1 {
                let kin = of.kin.entry(Arc::clone(&shortest)).or_default();
                kin.entry(Arc::clone(&place.1)).or_default().extend(all);
            }
            of.places.insert(place, shortest);
        }
        of
    }

    fn address(&mut self, ip: IpAddr, endpoint: &BoundEndpoint, name: &Arc<str>) {
        let dialled = SocketAddr::new(ip, endpoint.port);
        shortest(self.addresses.entry(dialled).or_default(), name);
        let new = || Some((Arc::clone(&endpoint.workload), Arc::clone(name)));
        match self.hosts.entry(ip).or_insert_with(new) {
            Some((workload, known)) if *workload == endpoint.workload => shortest(known, name),
            shared => *shared = None,
        }
    }

    /// The service of a workload.
    pub fn place(&self, workload: &Arc<str>, identity: &Arc<str>) -> Option<Arc<str>> {
        self.places.get(&(Arc::clone(workload), Arc::clone(identity))).cloned()
    }

    /// The services that callers may mean who reach those of an identity at a place, beside itself.
    pub fn kin(&self, place: &str, identity: &str) -> impl Iterator<Item = &Arc<str>> {
        self.kin.get(place).and_then(|of| of.get(identity)).into_iter().flatten()
    }

    /// Whether somebody may mean a place who calls a service.
    pub fn may_mean(&self, place: &str, service: &str) -> bool {
        let kin = || self.kin.get(place).into_iter().flat_map(HashMap::values);
        place == service || kin().any(|names| names.contains(service))
    }

    /// What an identity goes by when its workload is of no service.
    pub fn account(&self, identity: &SpiffeId) -> Arc<str> {
        let name = format!("{}.{}", identity.service_account(), identity.namespace());
        match self.services.contains_key(name.as_str()) {
            // Not to be taken for the service.
            true => format!("{name} (account)").into(),
            false => name.into(),
        }
    }

    /// What an identity goes by that somebody else names.
    pub fn named(&self, identity: &str) -> Arc<str> {
        if identity == OTHER {
            return OTHER.into();
        }
        let known = self.identities.get(identity).cloned();
        let account = || SpiffeId::parse(identity).ok().map(|id| self.account(&id));
        known.or_else(account).unwrap_or_else(|| UNMESHED.into())
    }

    /// Whom a sidecar means that calls `name.namespace:port`.
    pub fn called(&self, label: &str) -> Arc<str> {
        let (name, port) = label.rsplit_once(':').unwrap_or((label, ""));
        if let Some((known, _)) = self.services.get_key_value(name) {
            return Arc::clone(known);
        }
        let ip = name.strip_suffix(".instance").and_then(|ip| ip.parse::<IpAddr>().ok());
        let Some(ip) = ip.map(|ip| ip.to_canonical()) else { return Arc::clone(&self.external) };
        let dialled = port.parse().ok().map(|port| SocketAddr::new(ip, port));
        let known = dialled.and_then(|dialled| self.addresses.get(&dialled));
        // A port that is none of its service's.
        let host = || Some(&self.hosts.get(&ip)?.as_ref()?.1);
        Arc::clone(known.or_else(host).unwrap_or(&self.external))
    }
}

fn shortest(known: &mut Arc<str>, name: &Arc<str>) {
    let is_better = known.is_empty() || (name.len(), &**name) < (known.len(), &**known);
    if is_better {
        *known = Arc::clone(name);
    }
}
