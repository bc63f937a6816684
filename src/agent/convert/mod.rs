//! The control plane's answers as the house's nouns.
//!
//! Every field is taken apart by name, so that a new one does not compile until somebody decided
//! what it means. An answer that can't be read is refused with a sentence that says where.

mod manifests;
mod tapped;
mod traffic;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use super::session::{AddressAnswer, References, ServiceAnswer};
use crate::model::{Protocol, ServiceName, SpiffeId};
use crate::resources::bound::{Bound, BoundEndpoint, Instance};
use crate::resources::{AccessPolicy, Address, RateLimitPolicy, Resource};
use crate::wire::{protocol_of, v1};
pub use manifests::Manifests;
use manifests::{access_policy, rate_limit_policy};
pub use tapped::{filters, tapped};
pub use traffic::{endpoint_states, span, traffic, unused};

/// What tells endpoints of a service apart.
pub type EndpointKey = (Arc<str>, Address, u16);

/// A change of a service's endpoints.
pub struct Delta {
    pub upserted: Vec<BoundEndpoint>,
    pub removed: Vec<EndpointKey>,
}

/// What hangs on a service, as far as it can be read.
#[derive(Default)]
pub struct Attached {
    pub resources: Vec<Arc<Resource>>,
    pub references: References,
    /// What can't be read, each with the resource that it is in.
    pub faults: Vec<String>,
}

/// An answer by name.
pub fn service_answer(
    from: v1::ServiceAnswer,
    manifests: &mut Manifests,
) -> Result<(ServiceName, ServiceAnswer), String> {
    use v1::service_answer::Answer;
    let v1::ServiceAnswer { name, answer } = from;
    let name: ServiceName = name.ok_or("an answer names no service")?.try_into()?;
    let answer = match answer.ok_or_else(|| format!("{name}: the answer says nothing"))? {
        Answer::Service(service) => {
            let (bound, attached) = bound(&name, service, manifests)?;
            ServiceAnswer::Whole(bound, attached)
        }
        Answer::Attachments(from) => {
            ServiceAnswer::Attachments(attachments(&name, from, manifests))
        }
        Answer::Endpoints(v1::EndpointDelta { upserted, removed }) => {
            let of = |error| format!("{name}: {error}");
            ServiceAnswer::Endpoints(Delta {
                upserted: all(upserted, endpoint).map_err(of)?,
                removed: all(removed, key).map_err(of)?,
            })
        }
        Answer::Unknown(v1::Unknown {}) => ServiceAnswer::Unknown,
    };
    Ok((name, answer))
}

/// An answer by address.
pub fn address_answer(from: v1::AddressAnswer) -> Result<(SocketAddr, AddressAnswer), String> {
    use v1::address_answer::Answer;
    let v1::AddressAnswer { address, answer } = from;
    let address: SocketAddr =
        address.parse().map_err(|_| format!("{address:?} is no address and port"))?;
    let answer = match answer.ok_or_else(|| format!("{address}: the answer says nothing"))? {
        Answer::Service(name) => AddressAnswer::Service(name.try_into()?),
        Answer::Instance(v1::Instance { endpoint: of, owner, protocol: spoken }) => {
            let missing = || format!("{address}: the instance has no endpoint");
            AddressAnswer::Instance(Box::new(Instance {
                endpoint: endpoint(of.ok_or_else(missing)?)?,
                owner: owner.map(ServiceName::try_from).transpose()?,
                protocol: protocol(spoken)?,
            }))
        }
        Answer::Unknown(v1::Unknown {}) => AddressAnswer::Unknown,
    };
    Ok((address, answer))
}

fn bound(
    name: &ServiceName,
    from: v1::Service,
    manifests: &mut Manifests,
) -> Result<(Bound, Attached), String> {
    let v1::Service {
        protocol: spoken,
        cluster_ips,
        headless,
        endpoints,
        attachments: attached,
        session_affinity,
    } = from;
    let of = |error| format!("{name}: {error}");
    let ip = |text: String| {
        let ip = text.parse().map_err(|_| format!("{text:?} is no IP address"));
        ip.map(|ip: IpAddr| ip.to_canonical())
    };
    let bound = Bound {
        name: name.clone(),
        protocol: protocol(spoken).map_err(of)?,
        cluster_ips: all(cluster_ips, ip).map_err(of)?,
        headless,
        session_affinity,
        endpoints: all(endpoints, endpoint).map_err(of)?,
        attachments: Vec::new(),
    };
    Ok((bound, attachments(name, attached.unwrap_or_default(), manifests)))
}

/// Everything that can't be read is said. It is no reason to refuse the service: a policy that is
/// newer than this sidecar must not keep it from the endpoints.
fn attachments(name: &ServiceName, from: v1::Attachments, manifests: &mut Manifests) -> Attached {
    let v1::Attachments { attachments, references } = from;
    let mut attached = Attached::default();
    let Attached { resources, references: named, faults } = &mut attached;
    let mut fault = |fault| faults.push(format!("{name}: {fault}"));
    for v1::Attachment { manifest } in attachments {
        manifests.read(manifest).map_or_else(&mut fault, |one| resources.push(one));
    }
    for reference in references {
        ServiceName::try_from(reference).map_or_else(&mut fault, |one| named.push(one));
    }
    attached
}

/// The access policies of a workload: all of them, or what is wrong with each that can't be read.
pub fn access_policies(from: Vec<v1::Attachment>) -> Result<Vec<Arc<AccessPolicy>>, Vec<String>> {
    let (mut policies, mut faults) = (Vec::with_capacity(from.len()), Vec::new());
    for v1::Attachment { manifest } in from {
        access_policy(&manifest).map_or_else(|fault| faults.push(fault), |one| policies.push(one));
    }
    if faults.is_empty() { Ok(policies) } else { Err(faults) }
}

/// The same of rate-limit policies.
pub fn rate_limit_policies(
    from: Vec<v1::Attachment>,
) -> Result<Vec<Arc<RateLimitPolicy>>, Vec<String>> {
    let (mut policies, mut faults) = (Vec::with_capacity(from.len()), Vec::new());
    for v1::Attachment { manifest } in from {
        let read = rate_limit_policy(&manifest);
        read.map_or_else(|fault| faults.push(fault), |one| policies.push(one));
    }
    if faults.is_empty() { Ok(policies) } else { Err(faults) }
}

fn endpoint(from: v1::Endpoint) -> Result<BoundEndpoint, String> {
    let v1::Endpoint { key: of, mesh_port, identity, zone, weight } = from;
    let (workload, address, app) = key(of.ok_or("an endpoint has no key")?)?;
    let identity = match identity.as_str() {
        "" => None,
        text => Some(SpiffeId::parse(text).map_err(|error| format!("{workload}: {error}"))?),
    };
    let mesh_port = if mesh_port == 0 { None } else { Some(port(mesh_port)?) };
    let zone = (!zone.is_empty()).then(|| zone.into());
    Ok(BoundEndpoint { workload, address, port: app, mesh_port, identity, zone, weight })
}

fn key(from: v1::EndpointKey) -> Result<EndpointKey, String> {
    let v1::EndpointKey { workload, address, port: number } = from;
    let address = match address.parse::<IpAddr>() {
        Ok(ip) => Address::Ip(ip.to_canonical()),
        Err(_) if address.is_empty() => return Err(format!("{workload}: it has no address")),
        Err(_) => Address::Host(address),
    };
    Ok((workload.into(), address, port(number)?))
}

fn port(number: u32) -> Result<u16, String> {
    let port = u16::try_from(number).ok().filter(|&port| port > 0);
    port.ok_or_else(|| format!("{number} is no port"))
}

fn protocol(number: i32) -> Result<Protocol, String> {
    protocol_of(number).ok_or_else(|| format!("protocol {number} is newer than this sidecar"))
}

fn all<A, B>(from: Vec<A>, convert: impl Fn(A) -> Result<B, String>) -> Result<Vec<B>, String> {
    from.into_iter().map(convert).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn access_policies_are_taken_whole_or_not_at_all() {
        let policy = |name: &str, spec: &str| v1::Attachment {
            manifest: format!(
                r#"{{"apiVersion": "outrigger.dev/v1alpha1", "kind": "AccessPolicy",
                    "metadata": {{"name": "{name}", "namespace": "shop"}}, "spec": {spec}}}"#
            ),
        };
        let (a, b) = (policy("a", "{}"), policy("b", r#"{"mtls": "strict"}"#));
        assert_eq!(access_policies(vec![a.clone(), b]).map(|read| read.len()), Ok(2));
        let newer = [policy("c", r#"{"newer": 1}"#), policy("d", r#"{"newest": 1}"#)];
        let faults = access_policies([vec![a], newer.to_vec()].concat()).expect_err("newer");
        assert!(faults.len() == 2 && faults[0].contains("c.shop"), "{faults:?}");
        assert_eq!(access_policies(Vec::new()), Ok(Vec::new()));
    }
}
