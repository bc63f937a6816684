//! What resources must be beside each other. Each check looks at the whole state as it would be and
//! finds fault only with what somebody wants to apply: what is held already keeps nobody from
//! changing something else. A new kind that must agree with others adds a row to [`CHECKS`].

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::net::IpAddr;

use super::apply::said;
use super::view::Id;
use crate::control::catalog::{Held, Snapshot};
use crate::resources::{Fault, Resource, Service};

/// The state as it would be.
struct Outcome<'a> {
    /// In the order of the documents.
    wanted: Vec<(Id, &'a Resource)>,
    held: &'a Snapshot,
}

type Check = fn(&Outcome<'_>, &mut Vec<Fault>);

const CHECKS: &[Check] = &[versions, services, workloads];

/// Everything that stands against applying `wanted`, by source and line.
pub fn faults(wanted: &[Resource], held: &Snapshot) -> Vec<Fault> {
    let wanted = wanted.iter().map(|resource| (Id::of(resource), resource)).collect();
    let outcome = Outcome { wanted, held };
    let mut faults = Vec::new();
    for check in CHECKS {
        check(&outcome, &mut faults);
    }
    faults.sort_by(|a, b| a.at.cmp(&b.at));
    faults
}

impl Outcome<'_> {
    /// What stays as it is held.
    fn kept(&self) -> impl Iterator<Item = &Held> {
        let replaced: HashSet<&Id> = self.wanted.iter().map(|(id, _)| id).collect();
        let held = self.held.resources.values().map(|held| &**held);
        held.filter(move |held| !replaced.contains(&Id::of(&held.resource)))
    }

    fn services(&self) -> impl Iterator<Item = &Service> {
        self.wanted.iter().filter_map(|(_, resource)| match resource {
            Resource::Service(service) => Some(service),
            _ => None,
        })
    }
}

fn fault(resource: &Resource, path: &str, message: String) -> Fault {
    Fault { at: resource.metadata().at.clone(), path: path.to_owned(), message }
}

/// Whoever says which version they saw wants no other replaced.
fn versions(outcome: &Outcome<'_>, faults: &mut Vec<Fault>) {
    for (id, resource) in &outcome.wanted {
        let Some(seen) = &resource.metadata().version else { continue };
        let message = match id.held(outcome.held) {
            Some(held) if held.version.to_string() == *seen => continue,
            Some(held) => format!(
                "{id} was changed since you read it (you have version {seen}, it is at {}): read \
                 it again and redo your change",
                held.version
            ),
            // That it is registered is said by another check.
            None if id.registration(outcome.held).is_some() => continue,
            None => format!(
                "{id} is not there, though you have version {seen} of it: to make it again, remove \
                 its resourceVersion"
            ),
        };
        faults.push(fault(resource, "metadata.resourceVersion", message));
    }
}

/// An address and port means one service.
fn services(outcome: &Outcome<'_>, faults: &mut Vec<Fault>) {
    let mut taken: HashMap<(IpAddr, u16), String> = HashMap::new();
    for service in outcome.kept().filter_map(Held::service) {
        let name = Id::new("Service", &service.metadata).to_string();
        taken.extend(addresses(service).into_iter().map(|address| (address, name.clone())));
    }
    for service in outcome.services() {
        let metadata = &service.metadata;
        let name = format!("{}, at {}", Id::new("Service", metadata), metadata.at);
        let mut others: BTreeMap<String, (IpAddr, u16)> = BTreeMap::new();
        for address in addresses(service) {
            match taken.entry(address) {
                Entry::Vacant(free) => drop(free.insert(name.clone())),
                Entry::Occupied(other) => drop(others.insert(other.get().clone(), address)),
            }
        }
        faults.extend(others.into_iter().map(|(other, (ip, port))| Fault {
            at: metadata.at.clone(),
            path: "spec.clusterIP".to_owned(),
            message: format!(
                "{ip} with port {port} is already that of {other}: choose another address or port"
            ),
        }));
    }
}

fn addresses(service: &Service) -> BTreeSet<(IpAddr, u16)> {
    let ports = |ip: &IpAddr| {
        let ip = ip.to_canonical();
        service.ports.iter().map(move |port| (ip, port.port))
    };
    service.cluster_ips.iter().flat_map(ports).collect()
}

/// What a sidecar registered is the sidecar's. Who lists everything and gives it back changes nothing
/// of it.
fn workloads(outcome: &Outcome<'_>, faults: &mut Vec<Fault>) {
    for (id, resource) in &outcome.wanted {
        let Some(registration) = id.registration(outcome.held) else { continue };
        let stands = match id.held(outcome.held) {
            Some(held) => said(&held.resource),
            None => said(&Resource::Workload(registration.workload.clone())),
        };
        if stands != said(resource) {
            let message = format!(
                "{id} is registered by its sidecar, which alone changes it: leave it out, or choose \
                 another name"
            );
            faults.push(fault(resource, "metadata.name", message));
        }
    }
}
