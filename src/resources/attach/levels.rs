//! Policies by how near they are, and what one of them changes.
//!
//! A part is taken whole from the nearest policy that has it, with its name, so that a page can say
//! who said what. Only a route's own time limits and retries are finer: they change single fields.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::{by_age, with_port};
use crate::model::{
    Backoff, BalancingPolicy, CONTROL_PLANE_NAMESPACE, Conflict, Fallback, GrpcCodes, HashOn, Part,
    Policy, ServiceName,
};
use crate::resources::{
    FallbackSpec, Metadata, Resource, RouteRetry, RouteTimeouts, TargetKind, TargetRef,
    TrafficPolicy,
};

/// Something that a policy can be about, or one rule or port of it.
#[derive(Clone, Copy)]
pub struct Level<'a> {
    pub kind: TargetKind,
    pub namespace: &'a str,
    pub name: &'a str,
    pub section: Option<&'a str>,
}

/// The policies that are about one service port or its routes, the oldest first.
pub struct Levels<'a> {
    policies: Vec<&'a TrafficPolicy>,
    service: &'a ServiceName,
    session_affinity: bool,
}

impl<'a> Levels<'a> {
    pub fn of(
        attachments: &'a [Arc<Resource>],
        service: &'a ServiceName,
        session_affinity: bool,
    ) -> Self {
        let policies = attachments.iter().filter_map(|resource| match &**resource {
            Resource::TrafficPolicy(policy) => Some(&**policy),
            _ => None,
        });
        let mut policies: Vec<&TrafficPolicy> = policies.collect();
        policies.sort_by(|a, b| by_age(&a.metadata, &b.metadata));
        Self { policies, service, session_affinity }
    }

    /// Those that an older one about the same thing stands before, in the order of their age.
    pub fn conflicts(&self) -> Vec<Conflict> {
        let mut first: HashMap<(&str, Option<&TargetRef>), &TrafficPolicy> = HashMap::new();
        let mut conflicts = Vec::new();
        for &policy in &self.policies {
            let targets = policy.targets.iter().map(Some);
            let all = targets.chain(policy.targets.is_empty().then_some(None));
            for target in all {
                let counts =
                    *first.entry((policy.metadata.namespace.as_str(), target)).or_insert(policy);
                if !std::ptr::eq(counts, policy) {
                    let (resource, with) = (origin(&policy.metadata), origin(&counts.metadata));
                    conflicts.push(Conflict { resource, with });
                }
            }
        }
        conflicts.dedup();
        conflicts
    }

    /// What holds for the service itself.
    pub fn service(&self) -> Policy {
        let ServiceName { name, namespace, .. } = self.service;
        let whole = |of: &str| {
            let is_whole = |p: &&&TrafficPolicy| p.targets.is_empty() && p.metadata.namespace == of;
            self.policies.iter().find(is_whole)
        };
        // A port has a name here only if it is this one.
        let own = |of_port: bool| {
            self.policies.iter().filter(|p| *p.metadata.namespace == **namespace).find(|p| {
                let mut of_services = p.targets.iter().filter(|t| t.kind == TargetKind::Service);
                of_services.any(|t| *t.name == **name && t.section.is_some() == of_port)
            })
        };
        let mut policy = Policy::default();
        for said in [whole(CONTROL_PLANE_NAMESPACE), whole(namespace)].into_iter().flatten() {
            apply(&mut policy, said, self.service.port);
        }
        if self.session_affinity {
            policy.balancing.policy = BalancingPolicy::RingHash(HashOn::SourceIp);
            policy.origins.set(Part::LoadBalancing, format!("Service {namespace}/{name}").into());
        }
        for said in [own(false), own(true)].into_iter().flatten() {
            apply(&mut policy, said, self.service.port);
        }
        // A default for the namespace may name one of its services, which can't stand in for itself.
        policy.fallback =
            policy.fallback.filter(|to| *to != Fallback::Service(self.service.clone()));
        policy
    }

    /// What holds for a route, or a rule of it, where `above` holds around it.
    pub fn on(&self, above: &Arc<Policy>, level: Level<'_>) -> Arc<Policy> {
        let Level { kind, namespace, name, section } = level;
        let is_about = |policy: &&&TrafficPolicy| {
            let mut targets = policy.targets.iter();
            policy.metadata.namespace == namespace
                && targets.any(|target| {
                    (target.kind, &*target.name, target.section.as_deref()) == (kind, name, section)
                })
        };
        let Some(said) = self.policies.iter().find(is_about) else { return Arc::clone(above) };
        let mut policy = Policy::clone(above);
        apply(&mut policy, said, self.service.port);
        Arc::new(policy)
    }
}

/// Takes every part that is said. `port` is the one that was asked for.
fn apply(policy: &mut Policy, said: &TrafficPolicy, port: u16) {
    let TrafficPolicy {
        metadata,
        targets: _,
        load_balancing,
        limits,
        circuit,
        retry,
        hedge,
        timeouts,
        fault,
        fallback,
        keeps_header_case,
        tls,
    } = said;
    let fails = fault.as_ref().map(|f| (f.delay.is_some() || f.abort.is_some()).then(|| f.clone()));
    let fallback = fallback.as_ref().map(|fallback| Some(resolved(fallback, port)));
    let parts = [
        (Part::LoadBalancing, replace(&mut policy.balancing, load_balancing.clone())),
        (Part::Limits, replace(&mut policy.limits, limits.clone())),
        (Part::CircuitBreaker, replace(&mut policy.circuit, circuit.clone())),
        (Part::Retry, replace(&mut policy.retry, retry.clone())),
        (Part::Hedge, replace(&mut policy.hedge, hedge.map(Some))),
        (Part::Timeouts, replace(&mut policy.timeouts, timeouts.clone())),
        (Part::Fault, replace(&mut policy.fault, fails)),
        (Part::Fallback, replace(&mut policy.fallback, fallback)),
        (Part::HeaderCase, replace(&mut policy.keeps_header_case, *keeps_header_case)),
        (Part::Tls, replace(&mut policy.tls, tls.clone())),
    ];
    let origin = origin(metadata);
    for (part, is_said) in parts {
        if is_said {
            policy.origins.set(part, Arc::clone(&origin));
        }
    }
}

/// As pages name it.
fn origin(metadata: &Metadata) -> Arc<str> {
    format!("TrafficPolicy {}/{}", metadata.namespace, metadata.name).into()
}

fn replace<T>(place: &mut T, said: Option<T>) -> bool {
    said.map(|said| *place = said).is_some()
}

fn resolved(fallback: &FallbackSpec, port: u16) -> Fallback {
    match fallback {
        FallbackSpec::Service(name) => Fallback::Service(with_port(name, port)),
        FallbackSpec::Response { status, headers, body } => {
            Fallback::Response { status: *status, headers: Arc::clone(headers), body: body.clone() }
        }
    }
}

/// What a rule says itself, over everything else.
pub fn own(
    policy: &mut Policy,
    timeouts: RouteTimeouts,
    retry: Option<&RouteRetry>,
    origin: &Arc<str>,
) {
    let RouteTimeouts { request, backend_request } = timeouts;
    // Zero is the Gateway API's word for none.
    let limit = |said: Duration| (!said.is_zero()).then_some(said);
    let limits = [
        replace(&mut policy.timeouts.request, request.map(limit)),
        replace(&mut policy.timeouts.backend_request, backend_request.map(limit)),
    ];
    if limits.contains(&true) {
        policy.origins.set(Part::Timeouts, Arc::clone(origin));
    }
    let Some(RouteRetry { codes, attempts, backoff }) = retry else { return };
    let on = &mut policy.retry.on;
    // Whoever asks for retries there means the failures below HTTP too.
    for switch in [
        &mut on.connect_failure,
        &mut on.refused_stream,
        &mut on.reset_before_response,
        &mut on.reset,
    ] {
        *switch = true;
    }
    if !codes.is_empty() {
        policy.retry.status_codes = codes.iter().map(|&code| code..=code).collect();
        policy.retry.grpc_codes = GrpcCodes::default();
        (on.server_error, on.gateway_error, on.retriable_4xx) = (false, false, false);
    }
    replace(&mut policy.retry.max_retries, *attempts);
    if let Some(base) = *backoff {
        // The Gateway API calls it the least pause, so no jitter may make it shorter.
        let max = policy.retry.backoff.max.max(base);
        policy.retry.backoff = Backoff { base, max, full_jitter: false, ..policy.retry.backoff };
    }
    policy.origins.set(Part::Retry, Arc::clone(origin));
}
