//! The house's nouns as the protocol writes them, and back.

use std::net::{IpAddr, SocketAddr};

use serde_json::{Value, json};

use super::subscriptions::MOST;
use crate::control::catalog::AddressFact;
use crate::model::{ServiceName, SpiffeId};
use crate::resources::Address;
use crate::resources::bound::{Bound, BoundEndpoint, Instance};
use crate::wire::{protocol_number, protocol_of, v1};

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
        let services = services.into_iter().map(ServiceName::try_from).collect::<Result<_, _>>()?;
        let address = |text: String| {
            text.parse().map_err(|_| format!("{text:?} is no address such as 10.0.0.1:80"))
        };
        let addresses = addresses.into_iter().map(address).collect::<Result<_, _>>()?;
        Ok(Self { services, addresses })
    }
}

pub fn service(bound: &Bound) -> v1::Service {
    let Bound { name: _, protocol: spoken, cluster_ips, headless, endpoints, attachments: _ } =
        bound;
    v1::Service {
        protocol: protocol_number(*spoken),
        cluster_ips: cluster_ips.iter().map(ToString::to_string).collect(),
        headless: *headless,
        endpoints: endpoints.iter().map(endpoint).collect(),
    }
}

pub fn endpoint(from: &BoundEndpoint) -> v1::Endpoint {
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

pub fn key(endpoint: &BoundEndpoint) -> v1::EndpointKey {
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
    name_of: &ServiceName,
    before: Option<&Option<std::sync::Arc<Bound>>>,
    now: Option<&Bound>,
) -> Option<v1::ServiceAnswer> {
    use v1::service_answer::Answer;
    let answer = match (before, now) {
        (Some(None), None) => return None,
        (_, None) => Answer::Unknown(v1::Unknown {}),
        (Some(Some(before)), Some(now)) if **before == *now => return None,
        (Some(Some(before)), Some(now)) if is_same_but_endpoints(before, now) => {
            Answer::Endpoints(delta(before, now))
        }
        (_, Some(now)) => Answer::Service(service(now)),
    };
    Some(v1::ServiceAnswer { name: Some(name_of.into()), answer: Some(answer) })
}

fn is_same_but_endpoints(before: &Bound, now: &Bound) -> bool {
    before.protocol == now.protocol
        && before.cluster_ips == now.cluster_ips
        && before.headless == now.headless
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
