//! Which routes and policies hold for a service, and what they come to.
//!
//! A producer's routes (of the service's own namespace) hold for every caller, unless the caller's
//! namespace has routes of its own for the service: then those hold, alone. Of policies the nearer
//! one wins, part by part: rule, route, port, service, namespace, mesh. Among those that are equally
//! near the oldest wins, whole, so that nobody takes a service over by writing a second policy.
//!
//! `select` (what concerns a port) → `levels` (which policy wins, and what it changes) → here;
//! `conditions` says the same about each resource, for those who wrote it.

mod conditions;
mod levels;
mod select;

#[cfg(test)]
mod tests;

pub use conditions::{Condition, Standing, conditions};
pub use select::{concerns, select};

use std::sync::Arc;

use super::metadata::Metadata;
use super::{DraftRule, FallbackSpec, Resource, TargetKind, grpc_rules, http_rules};
use crate::model::{Conflict, Filter, Policy, Rule, ServiceName};
use levels::{Level, Levels};
use select::names;

/// What holds for one service port, as callers of one namespace see it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Attached {
    /// Of the service itself.
    pub policy: Arc<Policy>,
    /// The oldest route first; empty when no route names the service.
    pub rules: Vec<Arc<Rule>>,
    pub conflicts: Vec<Conflict>,
}

/// What `attachments` (as [`select()`] finds them) come to for callers in `namespace`. Their order
/// does not matter. `session_affinity` is what the service itself says.
pub fn attach(
    service: &ServiceName,
    session_affinity: bool,
    attachments: &[Arc<Resource>],
    namespace: &str,
) -> Attached {
    let levels = Levels::of(attachments, service, session_affinity);
    let policy = Arc::new(levels.service());
    let rules = routes(service, attachments, namespace)
        .into_iter()
        .flat_map(|route| rules(route, &policy, &levels))
        .collect();
    Attached { policy, rules, conflicts: levels.conflicts() }
}

/// The routes that hold for callers in `namespace`, the oldest first.
fn routes<'a>(
    service: &ServiceName,
    attachments: &'a [Arc<Resource>],
    namespace: &str,
) -> Vec<&'a Resource> {
    let of = |namespace: &str| {
        let all = attachments.iter().map(Arc::as_ref);
        let mut routes: Vec<&Resource> =
            all.filter(|r| r.metadata().namespace == namespace && names(r, service)).collect();
        routes.sort_by(|a, b| by_age(a.metadata(), b.metadata()).then(a.kind().cmp(b.kind())));
        routes
    };
    let consumers = if namespace == &*service.namespace { Vec::new() } else { of(namespace) };
    if consumers.is_empty() { of(&service.namespace) } else { consumers }
}

/// The older one first; what has no known age comes last, by name.
fn by_age(a: &Metadata, b: &Metadata) -> std::cmp::Ordering {
    let key = |of: &Metadata| (of.created.is_none(), of.created);
    key(a)
        .cmp(&key(b))
        .then_with(|| a.namespace.cmp(&b.namespace))
        .then_with(|| a.name.cmp(&b.name))
}

fn rules(route: &Resource, of_service: &Arc<Policy>, levels: &Levels<'_>) -> Vec<Arc<Rule>> {
    let Some((kind, drafts)) = drafts(route) else { return Vec::new() };
    let metadata = route.metadata();
    let (namespace, name) = (&*metadata.namespace, &*metadata.name);
    let whole = Level { kind, namespace, name, section: None };
    let of_route = levels.on(of_service, whole);
    let rule = |draft: DraftRule| {
        let DraftRule { kind, name, hostnames, matches, filters, backends, .. } = draft;
        let mut policy = match &draft.section {
            Some(section) => levels.on(&of_route, Level { section: Some(section), ..whole }),
            None => Arc::clone(&of_route),
        };
        if draft.retry.is_some() || draft.timeouts != Default::default() {
            let origin = format!("{} {namespace}/{}", route.kind(), metadata.name);
            let policy = Arc::make_mut(&mut policy);
            levels::own(policy, draft.timeouts, draft.retry.as_ref(), &origin.into());
        }
        Arc::new(Rule { kind, name, hostnames, matches, filters, backends, policy })
    };
    drafts.into_iter().map(rule).collect()
}

/// The rules of what is a route.
fn drafts(resource: &Resource) -> Option<(TargetKind, Vec<DraftRule>)> {
    match resource {
        Resource::HttpRoute(route) => Some((TargetKind::HttpRoute, http_rules(route))),
        Resource::GrpcRoute(route) => Some((TargetKind::GrpcRoute, grpc_rules(route))),
        Resource::Service(_)
        | Resource::Workload(_)
        | Resource::TrafficPolicy(_)
        | Resource::AccessPolicy(_)
        | Resource::RateLimitPolicy(_) => None,
    }
}

/// The services that `attachments` send requests to, whoever calls: backends, mirrors, fallbacks;
/// each once, in order, the service itself left out.
pub fn references(service: &ServiceName, attachments: &[Arc<Resource>]) -> Vec<ServiceName> {
    let mut all: Vec<ServiceName> =
        attachments.iter().flat_map(|resource| sent_to(resource, service.port)).collect();
    all.sort();
    all.dedup();
    all.retain(|name| name != service);
    all
}

/// The services that a resource sends requests to; `port` stands in for one that isn't said.
fn sent_to(resource: &Resource, port: u16) -> Vec<ServiceName> {
    if let Resource::TrafficPolicy(policy) = resource {
        return match &policy.fallback {
            Some(FallbackSpec::Service(name)) => vec![with_port(name, port)],
            _ => Vec::new(),
        };
    }
    let (_, drafts) = drafts(resource).unwrap_or((TargetKind::Service, Vec::new()));
    let of_rule = |draft: DraftRule| {
        let of_backends = draft.backends.iter().flat_map(|backend| &backend.filters);
        let mirrors = draft.filters.iter().chain(of_backends).filter_map(|filter| match filter {
            Filter::Mirror(mirror) => Some(mirror.service.clone()),
            _ => None,
        });
        let mirrors: Vec<ServiceName> = mirrors.collect();
        draft.backends.into_iter().map(|backend| backend.service).chain(mirrors)
    };
    drafts.into_iter().flat_map(of_rule).collect()
}

fn with_port(name: &ServiceName, port: u16) -> ServiceName {
    let port = if name.port == 0 { port } else { name.port };
    ServiceName { port, ..name.clone() }
}
