//! The house's nouns as the protocol writes them, and back.

mod observed;
pub mod recalled;
mod reported;
mod tapped;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::subscriptions::MOST;
use crate::control::catalog::{AddressFact, Served};
use crate::control::plaintext::{Path, Report, Seen};
use crate::model::{PlaintextCaller, ServiceName, SpiffeId};
use crate::resources::Address;
use crate::resources::bound::{Bound, BoundEndpoint, Instance};
use crate::wire::{protocol_number, protocol_of, v1};
pub use observed::{edges, filter, seen, stat, top, trace, traces, window_s};
pub use reported::traffic;
pub use tapped::{TapOrder, Whose, tapped};

/// Callers in one report.
const REPORTED: usize = 100;

/// What a sidecar asks for; what can't be read is said, not skipped.
pub struct Wanted {
    pub services: Vec<ServiceName>,
    pub addresses: Vec<SocketAddr>,
}

impl TryFrom<v1::Subscription> for Wanted {
    type Error = String;

    fn try_from(from: v1::Subscription) -> Result<Self, String> {
        let v1::Subscription { services, addresses } = from;
        if services.len() + addresses.len() > MOST {
            return Err(format!("at most {MOST} services and addresses may be named at once"));
        }
        let services = names(services)?;
        let address = |text: String| {
            text.parse().map_err(|_| format!("{text:?} is no address such as 10.0.0.1:80"))
        };
        let addresses = addresses.into_iter().map(address).collect::<Result<_, _>>()?;
        Ok(Self { services, addresses })
    }
}

/// # Errors
/// The first name that can't be one.
pub fn names(from: Vec<v1::ServiceName>) -> Result<Vec<ServiceName>, String> {
    from.into_iter().map(ServiceName::try_from).collect()
}

fn service(served: &Served) -> v1::Service {
    let Bound {
        name: _,
        protocol: spoken,
        cluster_ips,
        headless,
        session_affinity,
        endpoints,
        attachments: _,
    } = &served.bound;
    v1::Service {
        protocol: protocol_number(*spoken),
        cluster_ips: cluster_ips.iter().map(ToString::to_string).collect(),
        headless: *headless,
        session_affinity: *session_affinity,
        endpoints: endpoints.iter().map(endpoint).collect(),
        attachments: (!served.manifests.is_empty()).then(|| attachments(served)),
    }
}

fn attachments(Served { bound: _, manifests, references }: &Served) -> v1::Attachments {
    let attachment = |manifest: &Arc<str>| v1::Attachment { manifest: manifest.to_string() };
    v1::Attachments {
        attachments: manifests.iter().map(attachment).collect(),
        references: references.iter().map(Into::into).collect(),
    }
}

fn endpoint(from: &BoundEndpoint) -> v1::Endpoint {
    let BoundEndpoint { workload: _, address: _, port: _, mesh_port, identity, zone, weight } =
        from;
    v1::Endpoint {
        key: Some(key(from)),
        mesh_port: mesh_port.map_or(0, u32::from),
        identity: identity.as_ref().map(ToString::to_string).unwrap_or_default(),
        zone: zone.as_deref().unwrap_or_default().to_owned(),
        weight: *weight,
    }
}

fn key(endpoint: &BoundEndpoint) -> v1::EndpointKey {
    v1::EndpointKey {
        workload: endpoint.workload.to_string(),
        address: match &endpoint.address {
            Address::Ip(ip) => ip.to_string(),
            Address::Host(host) => host.clone(),
        },
        port: u32::from(endpoint.port),
    }
}

/// What tells endpoints of a service apart, without writing it.
fn identity_of(endpoint: &BoundEndpoint) -> (&str, &Address, u16) {
    (&endpoint.workload, &endpoint.address, endpoint.port)
}

/// What became of a service since `before` was said; `None` when nothing did.
pub fn answer(
    name: &ServiceName,
    before: Option<&Option<Arc<Served>>>,
    now: Option<&Arc<Served>>,
) -> Option<v1::ServiceAnswer> {
    use v1::service_answer::Answer;
    let answer = match (before, now) {
        (Some(None), None) => return None,
        (_, None) => Answer::Unknown(v1::Unknown {}),
        (Some(Some(before)), Some(now)) => change(before, now)?,
        (_, Some(now)) => Answer::Service(service(now)),
    };
    Some(v1::ServiceAnswer { name: Some(name.into()), answer: Some(answer) })
}

/// No more than what is different: endpoints come and go all day, and a policy of the mesh must not
/// send all of them again.
fn change(before: &Arc<Served>, now: &Arc<Served>) -> Option<v1::service_answer::Answer> {
    use v1::service_answer::Answer;
    if Arc::ptr_eq(before, now) {
        return None;
    }
    let (old, new) = (&before.bound, &now.bound);
    let same_service = old.protocol == new.protocol
        && old.cluster_ips == new.cluster_ips
        && old.headless == new.headless
        && old.session_affinity == new.session_affinity;
    let same_endpoints = old.endpoints == new.endpoints;
    let same_attachments = before.manifests == now.manifests && before.references == now.references;
    Some(match (same_service, same_endpoints, same_attachments) {
        (true, true, true) => return None,
        (true, false, true) => Answer::Endpoints(delta(old, new)),
        (true, true, false) => Answer::Attachments(attachments(now)),
        _ => Answer::Service(service(now)),
    })
}

fn delta(before: &Bound, now: &Bound) -> v1::EndpointDelta {
    use std::collections::HashMap;
    let mut gone: HashMap<_, &BoundEndpoint> =
        before.endpoints.iter().map(|endpoint| (identity_of(endpoint), endpoint)).collect();
    let mut upserted = Vec::new();
    for each in &now.endpoints {
        if gone.remove(&identity_of(each)).is_none_or(|old| old != each) {
            upserted.push(endpoint(each));
        }
    }
    let mut removed: Vec<&BoundEndpoint> = gone.into_values().collect();
    removed.sort_by(|a, b| identity_of(a).0.cmp(identity_of(b).0));
    v1::EndpointDelta { upserted, removed: removed.into_iter().map(key).collect() }
}

pub fn address(address: SocketAddr, fact: &AddressFact) -> v1::AddressAnswer {
    use v1::address_answer::Answer;
    let answer = match fact {
        AddressFact::Service(service) => Answer::Service(service.into()),
        AddressFact::Instance(instance) => {
            let Instance { endpoint: of, owner, protocol: spoken } = &**instance;
            Answer::Instance(v1::Instance {
                endpoint: Some(endpoint(of)),
                owner: owner.as_ref().map(Into::into),
                protocol: protocol_number(*spoken),
            })
        }
        AddressFact::Unknown => Answer::Unknown(v1::Unknown {}),
    };
    v1::AddressAnswer { address: address.to_string(), answer: Some(answer) }
}

/// What a sidecar saw.
///
/// # Errors
/// What can't be, or is too much.
pub fn report(from: v1::Report) -> Result<Report, String> {
    let v1::Report { plaintext, left_out } = from;
    if plaintext.len() > REPORTED {
        return Err(format!("a report has at most {REPORTED} callers"));
    }
    let caller = |from: v1::PlaintextCaller| {
        let v1::PlaintextCaller { address, port, connections, first_ago_ms, last_ago_ms } = from;
        Ok(PlaintextCaller {
            address: address.parse().map_err(|_| format!("{address:?} is no IP address"))?,
            port: u16::try_from(port).map_err(|_| format!("{port} is no port"))?,
            connections,
            first: Duration::from_millis(first_ago_ms),
            last: Duration::from_millis(last_ago_ms),
        })
    };
    let callers = plaintext.into_iter().map(caller).collect::<Result<_, String>>()?;
    Ok(Report { callers, left_out })
}

/// Who came in plaintext, while so many sidecars would say so.
pub fn plaintext(seen: Seen, sidecars: u32) -> v1::PlaintextResponse {
    let Seen { since_ms, paths, left_out } = seen;
    let path = |path: Path| {
        let Path { workload, port, address, caller, connections, first_ms, last_ms } = path;
        v1::PlaintextPath {
            workload,
            port: u32::from(port),
            address: address.to_string(),
            caller: caller.unwrap_or_default(),
            connections,
            first_ms,
            last_ms,
        }
    };
    v1::PlaintextResponse {
        watching_since_ms: since_ms,
        sidecars,
        paths: paths.into_iter().map(path).collect(),
        left_out,
        replica: String::new(),
        replicas: Vec::new(),
        seen: None,
    }
}

/// The manifest of a workload as its sidecar describes it.
pub fn manifest_of(
    identity: &SpiffeId,
    name: &str,
    registration: &v1::Registration,
    connected_from: IpAddr,
) -> Value {
    let v1::Registration { address, labels, zone, ports } = registration;
    // A newer sidecar's is refused by its number, like any other word that nobody knows.
    let protocol = |number: i32| {
        protocol_of(number).map_or(number.to_string(), |known| known.as_str().to_owned())
    };
    let port = |port: &v1::Port| {
        let v1::Port { name, port, mesh_port, protocol: spoken } = port;
        json!({
            "name": (!name.is_empty()).then_some(name),
            "port": port,
            "meshPort": (*mesh_port != 0).then_some(mesh_port),
            "protocol": protocol(*spoken),
        })
    };
    let address = if address.is_empty() {
        connected_from.to_canonical().to_string()
    } else {
        address.clone()
    };
    json!({
        "apiVersion": "outrigger.dev/v1alpha1",
        "kind": "Workload",
        "metadata": {"name": name, "namespace": identity.namespace(), "labels": labels},
        "spec": {
            "address": address,
            "serviceAccount": identity.service_account(),
            "zone": (!zone.is_empty()).then_some(zone),
            "ports": ports.iter().map(port).collect::<Vec<_>>(),
        },
    })
}
