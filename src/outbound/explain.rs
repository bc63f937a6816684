//! What would be done with a request, and why: the cores that serve requests, asked without sending
//! one.
//!
//! Nothing here decides by itself: the rule is found by the same table, changed by the same filters,
//! and endpoints are drawn by the same balancer over the same health. Only draws that move something
//! (whose turn it is) are made on a copy.

use std::net::SocketAddr;
use std::sync::Arc;

use http::request::Parts;
use http::{HeaderMap, StatusCode};

use super::backend::Backend;
use super::snapshot::Snapshot;
use super::target::{Rule, Target};
use crate::balance::{self, Ask, Balancer};
use crate::circuit;
use crate::http::classify;
use crate::http::headers;
use crate::model::{Endpoint, HashOn, Reason, ServiceName};
use crate::retry::{self, Asked};
use crate::route::Head;
use crate::runtime::clock::{self, Rng};

/// Draws by which an endpoint's chance is found.
const DRAWS: u32 = 1000;

/// What would become of a request.
pub struct Explained {
    pub target: Arc<Target>,
    /// Index of the rule; `None`: none matches.
    pub rule: Option<usize>,
    pub outcome: Outcome,
}

/// How it would go on.
pub enum Outcome {
    /// The sidecar answers it itself, for this reason.
    Refused(Reason),
    /// A filter of the rule answers.
    Answered {
        status: StatusCode,
        headers: HeaderMap,
    },
    Sent(Box<Sent>),
}

/// What would be sent, and where to.
pub struct Sent {
    /// The head after the rule's filters.
    pub parts: Parts,
    /// Whether it may be sent twice.
    pub twice: bool,
    /// One for each backend of the rule, in its order.
    pub takers: Vec<Took>,
}

/// A backend that may take the request.
pub struct Took {
    pub name: ServiceName,
    /// Of requests like this one, in percent.
    pub share: f64,
    pub backend: Option<Arc<Backend>>,
    /// Chances in percent, in the order of the backend's endpoints.
    pub chances: Vec<f64>,
    /// Why no endpoint would be asked, where none would.
    pub refused: Option<Reason>,
}

/// What would be done with a request for a service that came from `client`; `None`: the mesh is not
/// known to have such a service.
pub fn explain(
    snapshot: &Snapshot,
    service: &ServiceName,
    parts: &Parts,
    client: SocketAddr,
) -> Option<Explained> {
    let target = Arc::clone(snapshot.targets.get(service)?);
    let is_grpc = classify::is_grpc(&parts.headers);
    let found = target.table.find(&Head::of(parts, is_grpc));
    let Some(found) = found else {
        let outcome = Outcome::Refused(Reason::NoRoute);
        return Some(Explained { target, rule: None, outcome });
    };
    let rule = &target.rules[found.rule];
    let outcome = match rule.filters.answer(parts, found.prefix, "http") {
        Some(answer) => {
            let (head, ()) = answer.into_parts();
            Outcome::Answered { status: head.status, headers: head.headers }
        }
        None => outcome(snapshot, rule, parts, found.prefix, is_grpc, client),
    };
    Some(Explained { rule: Some(found.rule), outcome, target })
}

fn outcome(
    snapshot: &Snapshot,
    rule: &Rule,
    parts: &Parts,
    prefix: usize,
    is_grpc: bool,
    client: SocketAddr,
) -> Outcome {
    let asked = Asked { method: &parts.method, path: parts.uri.path(), is_grpc };
    let twice = retry::may_send_twice(&rule.policy.retry.methods, asked);
    let takers = takers(snapshot, rule, parts, client);
    if !takers.iter().any(|taker| taker.share > 0.0) {
        return Outcome::Refused(Reason::NoBackends);
    }
    let mut parts = headers::copy(parts);
    rule.filters.request(&mut parts, prefix);
    Outcome::Sent(Box::new(Sent { parts, twice, takers }))
}

fn takers(snapshot: &Snapshot, rule: &Rule, parts: &Parts, client: SocketAddr) -> Vec<Took> {
    let hash = |on: Option<&HashOn>| balance::key(on?, parts, client, &mut Rng::seeded(1)).hash;
    let shared = rule.policy.balancing.policy.hash_on().filter(|_| rule.takers.len() > 1);
    let fixed = hash(shared).map(|hash| rule.share_of(hash));
    let total = rule.weights.total().max(1) as f64;
    let took = |(index, taker): (usize, &super::target::Taker)| {
        let share = match fixed {
            Some(taken) => {
                if taken == Some(index) {
                    100.0
                } else {
                    0.0
                }
            }
            None => f64::from(taker.weight) * 100.0 / total,
        };
        let (chances, refused) = match &taker.backend {
            Some(backend) => {
                let hash = hash(backend.balancer.hash_on());
                chances(snapshot, backend, hash, classify::is_idempotent(&parts.method))
            }
            None => (Vec::new(), Some(Reason::NoBackends)),
        };
        let (name, backend) = (taker.name.clone(), taker.backend.clone());
        Took { name, share, backend, chances, refused }
    };
    rule.takers.iter().enumerate().map(took).collect()
}

/// How often each endpoint is drawn.
fn chances(
    snapshot: &Snapshot,
    backend: &Backend,
    hash: Option<u64>,
    safe: bool,
) -> (Vec<f64>, Option<Reason>) {
    let endpoints = &backend.service.endpoints;
    let policy = &backend.policy().circuit;
    let now_us = clock::now_us();
    let is_ready = |e: &Endpoint| circuit::is_ready(&e.health, policy, now_us);
    let is_closed = |e: &Endpoint| circuit::is_closed(&e.health);
    let balancing = &backend.policy().balancing;
    let balancer = Balancer::compile(balancing, endpoints, snapshot.zone.as_deref(), None);
    let (ask, mut rng) = (Ask { tried: &[], hash, now_us }, Rng::seeded(now_us));
    let mut drawn = vec![0u32; endpoints.len()];
    for _ in 0..DRAWS {
        let closed = if safe { None } else { balancer.pick(endpoints, ask, is_closed, &mut rng) };
        let picked =
            closed.or_else(|| balancer.pick(endpoints, ask, is_ready, &mut rng)).or_else(|| {
                circuit::floor(endpoints, policy)?;
                balancer.pick(endpoints, ask, |_| true, &mut rng)
            });
        let Some(picked) = picked else {
            let none = if endpoints.is_empty() { Reason::NoEndpoints } else { Reason::CircuitOpen };
            return (vec![0.0; endpoints.len()], Some(none));
        };
        let at = endpoints.iter().position(|endpoint| endpoint.slot == picked.slot);
        drawn[at.unwrap_or_default()] += 1;
    }
    let percent = |count: u32| f64::from(count) * 100.0 / f64::from(DRAWS);
    (drawn.into_iter().map(percent).collect(), None)
}
