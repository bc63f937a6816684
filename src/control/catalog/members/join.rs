//! Who serves a service where the cluster says so: pods and slices, joined.
//!
//! A slice names pods; what is known of a pod (whose identity it has, whether it is meshed) is known
//! from the pod alone. A member whose pod isn't known yet is left out until it is: an endpoint that
//! might be meshed is never offered as one that isn't. Which members count follows kube-proxy: those
//! that are ready; when none is, those that still serve while they end.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use super::Members;
use crate::control::catalog::attachments::ServiceKey;
use crate::control::catalog::cluster::{Member, Pod, Slice, SlicePort};
use crate::model::{Protocol, ServiceName, SpiffeId, TrustDomain};
use crate::resources::bound::{BoundEndpoint, Instance};
use crate::resources::{Address, Service, ServicePort};

/// What tells members of a service apart: a pod is one, whatever its addresses.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Who<'a> {
    Pod(&'a str),
    Address(IpAddr),
}

/// A member that may count.
struct Candidate<'a> {
    member: &'a Member,
    pod: Option<&'a Arc<Pod>>,
    port: u16,
}

impl Members {
    /// Who serves a port, and what the slices declare it to speak.
    pub fn endpoints(
        &self,
        service: &Service,
        port: &ServicePort,
        trust_domain: &TrustDomain,
    ) -> (Vec<BoundEndpoint>, Protocol) {
        let key = (service.metadata.namespace.clone(), service.metadata.name.clone());
        let wants_v6 = service.cluster_ips.first().map(IpAddr::is_ipv6);
        let mut protocol = Protocol::Auto;
        let mut all: BTreeMap<Who<'_>, Candidate<'_>> = BTreeMap::new();
        for (slice, served) in self.serving(&key, port) {
            if protocol == Protocol::Auto {
                protocol = served.protocol;
            }
            for member in &slice.members {
                let Some(pod) = self.behind(member) else { continue };
                let who = match pod {
                    Some(pod) if !pod.is_on_host => Who::Pod(&pod.uid),
                    _ => Who::Address(member.address),
                };
                let candidate = Candidate { member, pod, port: served.port };
                // Of a pod's two addresses, the one that the service prefers.
                let is_better = |known: &Candidate<'_>| {
                    let wants_v6 = wants_v6.unwrap_or_else(|| is_primary_v6(pod));
                    known.member.address.is_ipv6() != wants_v6
                        && member.address.is_ipv6() == wants_v6
                };
                if all.get(&who).is_none_or(is_better) {
                    all.insert(who, candidate);
                }
            }
        }
        let is_leaving = |c: &&Candidate<'_>| self.is_leaving(c);
        let is_ready = |c: &&Candidate<'_>| c.member.is_ready && !self.is_leaving(c);
        let mut counting: Vec<&Candidate<'_>> = all.values().filter(is_ready).collect();
        if counting.is_empty() {
            let serves = |c: &&Candidate<'_>| c.member.is_serving;
            counting = all.values().filter(is_leaving).filter(serves).collect();
        }
        // Hints count when everybody has one, as in kube-proxy.
        let is_hinted = counting.iter().all(|c| !c.member.for_zones.is_empty());
        let endpoint = |c: &&Candidate<'_>| self.endpoint(&key.0, c, is_hinted, trust_domain);
        (counting.iter().filter_map(endpoint).collect(), protocol)
    }

    /// A pod that is reached by its own address, at any port.
    pub fn instance<'a>(
        &self,
        address: SocketAddr,
        service: impl Fn(&ServiceKey) -> Option<&'a Service>,
        trust_domain: &TrustDomain,
    ) -> Option<Instance> {
        let ip = address.ip().to_canonical();
        let at_ip = self.by_ip.get(&ip).into_iter().flatten();
        let pods = at_ip.filter_map(|name| self.pods.get(name));
        // Who shares a node's address is known by its ports.
        let listens = |pod: &Pod| pod.ports.iter().any(|port| port.port == address.port());
        let there = pods.into_iter().filter(|pod| !pod.is_on_host || listens(pod));
        // The address of one that ends may be another's already.
        let pod = there.min_by_key(|pod| pod.is_terminating)?;
        let (owner, protocol) = match self.owner(pod, address.port(), service) {
            Some((owner, protocol)) => (Some(owner), protocol),
            None => (None, Protocol::Auto),
        };
        let zone = self.zone_of(pod).cloned();
        let endpoint = described(pod, ip, address.port(), zone, trust_domain)?;
        Some(Instance { endpoint, owner, protocol })
    }

    /// The headless service that names a pod at one of its ports.
    fn owner<'a>(
        &self,
        pod: &Pod,
        number: u16,
        service: impl Fn(&ServiceKey) -> Option<&'a Service>,
    ) -> Option<(ServiceName, Protocol)> {
        let name = pod.name();
        let mut naming: Vec<&ServiceKey> = self.named.get(&name)?.iter().collect();
        naming.sort_unstable();
        naming.dedup();
        for key in naming {
            let Some(service) = service(key).filter(|service| service.headless) else { continue };
            for port in &service.ports {
                let is_named = |slice: &Slice| {
                    let mut members = slice.members.iter();
                    members.any(|m| m.pod.as_ref().is_some_and(|(pod, _)| *pod == name))
                };
                let mut serving = self.serving(key, port);
                let found = serving.find(|(slice, at)| at.port == number && is_named(slice));
                let Some((_, at)) = found else { continue };
                let (namespace, name) = (key.0.as_str().into(), key.1.as_str().into());
                let spoken =
                    if port.protocol == Protocol::Auto { at.protocol } else { port.protocol };
                return Some((ServiceName { name, namespace, port: port.port }, spoken));
            }
        }
        None
    }

    /// The slices of a service that serve one of its ports, and where.
    fn serving<'a>(
        &'a self,
        service: &ServiceKey,
        port: &ServicePort,
    ) -> impl Iterator<Item = (&'a Slice, &'a SlicePort)> {
        let name = port.name.clone().unwrap_or_default();
        self.slices_of(service).filter_map(move |slice| {
            let port = slice.ports.iter().find(|port| port.name == name)?;
            Some((slice, port))
        })
    }

    pub(super) fn slices_of(&self, service: &ServiceKey) -> impl Iterator<Item = &Slice> {
        let names = self.by_service.get(service).into_iter().flatten();
        names.filter_map(|name| self.slices.get(name))
    }

    /// The pod behind a member, if there is one; `None` where it isn't known yet whether there is.
    fn behind(&self, member: &Member) -> Option<Option<&Arc<Pod>>> {
        let Some((name, uid)) = &member.pod else {
            // Somebody may have named a pod by its address alone.
            let mut at_ip = self.by_ip.get(&member.address.to_canonical()).into_iter().flatten();
            return Some(at_ip.find_map(|name| self.pods.get(name).filter(|pod| !pod.is_on_host)));
        };
        let pod = self.pods.get(name)?;
        let is_it = uid.as_ref().is_none_or(|uid| *uid == pod.uid);
        (is_it && pod.addresses.contains(&member.address)).then_some(Some(pod))
    }

    fn is_leaving(&self, Candidate { member, pod, .. }: &Candidate<'_>) -> bool {
        let leaves = |pod: &Arc<Pod>| pod.is_terminating || self.withdrawn.contains(&pod.name());
        member.is_terminating || pod.is_some_and(leaves)
    }

    fn endpoint(
        &self,
        namespace: &str,
        Candidate { member, pod, port }: &Candidate<'_>,
        is_hinted: bool,
        trust_domain: &TrustDomain,
    ) -> Option<BoundEndpoint> {
        let of_node = || self.zone_of(pod.as_ref()?).cloned();
        let mut zone = member.zone.clone().or_else(of_node);
        // For whom it is meant counts, not where it is: that is what the cluster spread it by.
        if is_hinted && zone.as_ref().is_none_or(|zone| !member.for_zones.contains(zone)) {
            zone = member.for_zones.first().cloned();
        }
        match pod {
            Some(pod) => described(pod, member.address, *port, zone, trust_domain),
            None => Some(BoundEndpoint {
                workload: format!("{}.{namespace}", member.address).into(),
                address: Address::Ip(member.address),
                port: *port,
                mesh_port: None,
                identity: None,
                zone,
                weight: 1,
            }),
        }
    }
}

fn is_primary_v6(pod: Option<&Arc<Pod>>) -> bool {
    pod.and_then(|pod| pod.addresses.first()).is_some_and(IpAddr::is_ipv6)
}

/// `None` for one that is meshed under a name that can't be proven: it is no endpoint, and never one
/// in plaintext.
fn described(
    pod: &Pod,
    ip: IpAddr,
    port: u16,
    zone: Option<Arc<str>>,
    trust_domain: &TrustDomain,
) -> Option<BoundEndpoint> {
    let namespace = &pod.metadata.namespace;
    let identity = match pod.is_meshed {
        true => Some(SpiffeId::new(trust_domain, namespace, &pod.service_account)?),
        false => None,
    };
    Some(BoundEndpoint {
        workload: format!("{}.{namespace}", pod.metadata.name).into(),
        address: Address::Ip(ip),
        port,
        mesh_port: None,
        identity,
        zone,
        weight: 1,
    })
}
