//! The house's nouns as the protocol writes them, and back.

use std::net::SocketAddr;

use super::subscriptions::MOST;
use crate::control::catalog::AddressFact;
use crate::model::{Protocol, ServiceName};
use crate::resources::Address;
use crate::resources::bound::{Bound, BoundEndpoint, Instance};
use crate::wire::v1;

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
        let services = services.into_iter().map(service_name).collect::<Result<_, _>>()?;
        let address = |text: String| {
            text.parse().map_err(|_| format!("{text:?} is no address such as 10.0.0.1:80"))
        };
        let addresses = addresses.into_iter().map(address).collect::<Result<_, _>>()?;
        Ok(Self { services, addresses })
    }
}

fn service_name(from: v1::ServiceName) -> Result<ServiceName, String> {
    let v1::ServiceName { name, namespace, port } = from;
    let text = format!("{name}.{namespace}:{port}");
    ServiceName::parse(&text, "").map_err(|error| error.to_string())
}

pub fn name(name: &ServiceName) -> v1::ServiceName {
    v1::ServiceName {
        name: name.name.to_string(),
        namespace: name.namespace.to_string(),
        port: u32::from(name.port),
    }
}

pub fn protocol(protocol: Protocol) -> i32 {
    let protocol = match protocol {
        Protocol::Auto => v1::Protocol::Unspecified,
        Protocol::Http => v1::Protocol::Http,
        Protocol::Http2 => v1::Protocol::Http2,
        Protocol::Grpc => v1::Protocol::Grpc,
        Protocol::Tcp => v1::Protocol::Tcp,
    };
    protocol.into()
}

pub fn service(bound: &Bound) -> v1::Service {
    let Bound { name: _, protocol: spoken, cluster_ips, headless, endpoints } = bound;
    v1::Service {
        protocol: protocol(*spoken),
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
    Some(v1::ServiceAnswer { name: Some(name(name_of)), answer: Some(answer) })
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
        AddressFact::Service(service) => Answer::Service(name(service)),
        AddressFact::Instance(instance) => {
            let Instance { endpoint: of, owner, protocol: spoken } = &**instance;
            Answer::Instance(v1::Instance {
                endpoint: Some(endpoint(of)),
                owner: owner.as_ref().map(name),
                protocol: protocol(*spoken),
            })
        }
        AddressFact::Unknown => Answer::Unknown(v1::Unknown {}),
    };
    v1::AddressAnswer { address: address.to_string(), answer: Some(answer) }
}
