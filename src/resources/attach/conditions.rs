//! How each route and policy fares, for those who wrote it: whether what it is about exists, whether
//! an older policy has its place, whether what it sends requests to is there.
//!
//! Called when resources change, with all of them: every name is looked up, none is searched for.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::select::parents;
use super::{by_age, drafts, sent_to};
use crate::model::{CONTROL_PLANE_NAMESPACE, ServiceName};
use crate::resources::{
    ParentRef, Resource, Service, ServicePort, TargetKind, TargetRef, TrafficPolicy,
};

/// A route or policy and how it fares.
#[derive(Clone, Debug, PartialEq)]
pub struct Standing<'a> {
    pub resource: &'a Resource,
    /// For each parent of a route or target of a policy, as it was written; for a policy without
    /// targets one, for its namespace or the mesh.
    pub on: Vec<(String, Condition)>,
    /// Backends, mirrors and fallbacks that do not exist; port 0 for a fallback without a port whose
    /// service doesn't exist at all.
    pub missing: Vec<ServiceName>,
}

/// How a resource fares with one of the things that it is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    Accepted,
    /// An older policy is about the same: `namespace/name`.
    Conflicted {
        with: String,
    },
    /// What does not exist, as in `Service web of namespace shop`.
    TargetNotFound {
        what: String,
    },
    /// What asks for something that this version can't read, and what becomes of it.
    Unread {
        what: String,
    },
}

impl Standing<'_> {
    /// Whether it does all that it says.
    pub fn is_sound(&self) -> bool {
        self.missing.is_empty() && self.on.iter().all(|(_, how)| *how == Condition::Accepted)
    }
}

/// How each of the routes and policies among `resources` fares, in their order.
pub fn conditions<'a>(resources: impl IntoIterator<Item = &'a Resource>) -> Vec<Standing<'a>> {
    let resources: Vec<&Resource> = resources.into_iter().collect();
    let index = Index::of(&resources);
    resources.into_iter().filter_map(|resource| index.standing(resource)).collect()
}

/// What a policy is about: its namespace, and in it a kind, name and section, or everything.
type Place<'a> = (&'a str, Option<(TargetKind, &'a str, Option<&'a str>)>);

fn places<'a>(policy: &'a TrafficPolicy) -> Vec<Place<'a>> {
    let namespace = policy.metadata.namespace.as_str();
    let place = |target: &'a TargetRef| -> Place<'a> {
        (namespace, Some((target.kind, target.name.as_str(), target.section.as_deref())))
    };
    match policy.targets.as_slice() {
        [] => vec![(namespace, None)],
        targets => targets.iter().map(place).collect(),
    }
}

struct Route<'a> {
    parents: &'a [ParentRef],
    /// The names of its rules.
    rules: HashSet<String>,
}

struct Index<'a> {
    /// By namespace and name.
    services: HashMap<(&'a str, &'a str), &'a Service>,
    /// By kind, namespace and name.
    routes: HashMap<(TargetKind, &'a str, &'a str), Route<'a>>,
    /// The oldest policy about a thing.
    winners: HashMap<Place<'a>, &'a TrafficPolicy>,
}

impl<'a> Index<'a> {
    fn of(resources: &[&'a Resource]) -> Self {
        let (mut services, mut routes) = (HashMap::new(), HashMap::new());
        let mut winners: HashMap<Place<'a>, &'a TrafficPolicy> = HashMap::new();
        for &resource in resources {
            let of = resource.metadata();
            match resource {
                Resource::Service(service) => {
                    services.insert((&*of.namespace, &*of.name), service);
                }
                Resource::TrafficPolicy(policy) => {
                    for place in places(policy) {
                        let winner = winners.entry(place).or_insert(policy);
                        if by_age(of, &winner.metadata).is_lt() {
                            *winner = policy;
                        }
                    }
                }
                Resource::HttpRoute(_)
                | Resource::GrpcRoute(_)
                | Resource::Workload(_)
                | Resource::AccessPolicy(_)
                | Resource::RateLimitPolicy(_) => {}
            }
            if let Some((kind, drafts)) = drafts(resource) {
                let rules = drafts.into_iter().filter_map(|draft| draft.section).collect();
                let route = Route { parents: parents(resource), rules };
                routes.insert((kind, &*of.namespace, &*of.name), route);
            }
        }
        Self { services, routes, winners }
    }

    fn standing(&self, resource: &'a Resource) -> Option<Standing<'a>> {
        let on = match resource {
            Resource::Service(_) | Resource::Workload(_) => return None,
            // Several about the same add up, and whom it is about may come later.
            Resource::AccessPolicy(policy) => {
                let unread = policy.unread_rules().map(|what| Condition::Unread { what });
                let all = std::iter::once(Condition::Accepted).chain(unread);
                all.map(|how| (policy.subject(), how)).collect()
            }
            Resource::RateLimitPolicy(policy) => {
                vec![(policy.about().workloads(), Condition::Accepted)]
            }
            Resource::HttpRoute(_) | Resource::GrpcRoute(_) => {
                parents(resource).iter().map(|parent| self.parent(parent)).collect()
            }
            Resource::TrafficPolicy(policy) => {
                places(policy).into_iter().map(|place| self.target(policy, place)).collect()
            }
        };
        Some(Standing { resource, on, missing: self.missing(resource) })
    }

    /// A fallback without a port is asked for whichever port the caller asked for.
    fn missing(&self, resource: &'a Resource) -> Vec<ServiceName> {
        let mut missing = sent_to(resource, 0);
        missing.retain(|name| !self.exists(name));
        if let (true, Resource::TrafficPolicy(policy)) = (missing.is_empty(), resource) {
            let asked = self.asked(policy).into_iter();
            missing.extend(asked.flat_map(|port| sent_to(resource, port)));
            missing.retain(|name| !self.exists(name));
        }
        missing.sort();
        missing.dedup();
        missing
    }

    /// The ports that callers reach a policy's targets by; none of a policy without targets, which is
    /// about services that nobody named.
    fn asked(&self, policy: &'a TrafficPolicy) -> BTreeSet<u16> {
        let namespace = policy.metadata.namespace.as_str();
        let of_target = |TargetRef { kind, name, section }: &'a TargetRef| {
            if *kind == TargetKind::Service {
                return self.ports(namespace, name, None, section.as_deref());
            }
            let route = self.routes.get(&(*kind, namespace, name.as_str()));
            let parents = route.into_iter().flat_map(|route| route.parents);
            let of_parent = |ParentRef { name, namespace, port, section }: &'a ParentRef| {
                self.ports(namespace, name, *port, section.as_deref())
            };
            parents.flat_map(of_parent).collect()
        };
        policy.targets.iter().flat_map(of_target).collect()
    }

    /// The ports of a service that have this number and name, where they are said.
    fn ports(
        &self,
        namespace: &str,
        name: &str,
        port: Option<u16>,
        section: Option<&str>,
    ) -> Vec<u16> {
        let ports = self.services.get(&(namespace, name)).into_iter().flat_map(|of| &of.ports);
        let is_meant = |has: &&ServicePort| {
            port.is_none_or(|port| has.port == port)
                && section.is_none_or(|section| has.name.as_deref() == Some(section))
        };
        ports.filter(is_meant).map(|has| has.port).collect()
    }

    fn exists(&self, ServiceName { name, namespace, port }: &ServiceName) -> bool {
        let found = self.services.get(&(&**namespace, &**name));
        found.is_some_and(|s| *port == 0 || s.ports.iter().any(|has| has.port == *port))
    }

    fn parent(&self, parent: &ParentRef) -> (String, Condition) {
        let ParentRef { name, namespace, port, section } = parent;
        let service = format!("Service {name} of namespace {namespace}");
        let Some(found) = self.services.get(&(namespace.as_str(), name.as_str())) else {
            return (service.clone(), Condition::TargetNotFound { what: service });
        };
        let mut ports = found.ports.iter().filter(|has| port.is_none_or(|port| has.port == port));
        let what = match (port, section) {
            (Some(port), Some(section)) => format!("port {port} {section} of {service}"),
            (Some(port), None) => format!("port {port} of {service}"),
            (None, Some(section)) => format!("port {section} of {service}"),
            (None, None) => return (service, Condition::Accepted),
        };
        let is_there = ports.any(|has| section.is_none() || has.name == *section);
        (what.clone(), if is_there { Condition::Accepted } else { not_found(what) })
    }

    fn target(&self, policy: &TrafficPolicy, place: Place<'a>) -> (String, Condition) {
        let (what, is_there) = self.named(place);
        let winner = self.winners.get(&place).filter(|winner| !std::ptr::eq(**winner, policy));
        let condition = match winner.map(|winner| &winner.metadata) {
            _ if !is_there => not_found(what.clone()),
            Some(of) => Condition::Conflicted { with: format!("{}/{}", of.namespace, of.name) },
            None => Condition::Accepted,
        };
        (what, condition)
    }

    /// What a place is called, and whether it exists.
    fn named(&self, (namespace, target): Place<'_>) -> (String, bool) {
        let Some((kind, name, section)) = target else {
            let mesh = namespace == CONTROL_PLANE_NAMESPACE;
            let whole = if mesh { "the mesh".into() } else { format!("namespace {namespace}") };
            return (whole, true);
        };
        let whole = format!("{} {name} of namespace {namespace}", kind.as_str());
        let service = self.services.get(&(namespace, name));
        let route = self.routes.get(&(kind, namespace, name));
        match (kind, section) {
            (TargetKind::Service, None) => (whole, service.is_some()),
            (TargetKind::Service, Some(section)) => {
                let mut ports = service.into_iter().flat_map(|service| &service.ports);
                let is_there = ports.any(|port| port.name.as_deref() == Some(section));
                (
                    if service.is_some() { format!("port {section} of {whole}") } else { whole },
                    is_there,
                )
            }
            (_, None) => (whole, route.is_some()),
            (_, Some(section)) => {
                let is_there = route.is_some_and(|route| route.rules.contains(section));
                (
                    if route.is_some() { format!("rule {section} of {whole}") } else { whole },
                    is_there,
                )
            }
        }
    }
}

fn not_found(what: String) -> Condition {
    Condition::TargetNotFound { what }
}
