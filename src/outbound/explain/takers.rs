//! The backends that a request may go to, and how likely each of their endpoints gets it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::request::Parts;

use super::Refused;
use crate::balance::{self, Ask, Balancer};
use crate::circuit;
use crate::http::{classify, headers};
use crate::model::{HashOn, Reason, ServiceName};
use crate::outbound::backend::Backend;
use crate::outbound::snapshot::Snapshot;
use crate::outbound::target::{Rule, Taker};
use crate::retry;
use crate::runtime::clock::Rng;

/// Draws by which an endpoint's chance is found: half a percent of error, for a few milliseconds.
const DRAWS: u32 = 10_000;

/// A backend that may take the request.
pub struct Took {
    pub name: ServiceName,
    /// Of requests like this one, in percent.
    pub share: f64,
    /// The request's key chose it, not its turn.
    pub by_key: bool,
    /// Its key chooses the endpoint.
    pub keyed: bool,
    pub backend: Option<Arc<Backend>>,
    /// The head after the backend's own filters too.
    pub parts: Parts,
    /// Chances in percent, in the order of the backend's endpoints.
    pub chances: Vec<f64>,
    /// Circuits are ignored, because too few endpoints are ready.
    pub panicking: bool,
    /// When an attempt gets another beside it, where one may.
    pub hedge_after: Option<Duration>,
    /// Why no endpoint would be asked, where none would.
    pub refused: Option<Refused>,
}

/// One for each backend of a rule, in its order; `parts` are before the rule's filters.
pub(super) fn takers(
    snapshot: &Snapshot,
    rule: &Rule,
    parts: &Parts,
    prefix: usize,
    client: SocketAddr,
    twice: bool,
    now_us: u64,
) -> Vec<Took> {
    let fixed = hash(rule.hash_on(), parts, client).map(|hash| rule.share_of(hash));
    let total = rule.weights.total().max(1) as f64;
    let probes = twice || classify::is_idempotent(&parts.method);
    let took = |(index, taker): (usize, &Taker)| {
        let share = match fixed {
            Some(taken) => f64::from(u8::from(taken == Some(index))) * 100.0,
            None => f64::from(taker.weight) * 100.0 / total,
        };
        let key = taker.backend.as_ref().and_then(|b| hash(b.balancer.hash_on(), parts, client));
        let own = taker.backend.as_ref().map(|backend| {
            let ask = Ask { tried: &[], hash: key, now_us };
            chances(snapshot, backend, ask, probes)
        });
        let (chances, refused) =
            own.unwrap_or_else(|| (Vec::new(), Some(rule.no_service(taker).into())));
        let mut changed = headers::copy(parts);
        rule.filters.request(&mut changed, prefix);
        taker.filters.request(&mut changed, prefix);
        let hedge = rule.policy.hedge.as_ref().zip(taker.backend.as_ref());
        Took {
            name: taker.name.clone(),
            share,
            by_key: fixed.is_some(),
            keyed: key.is_some(),
            panicking: taker.backend.as_ref().is_some_and(|b| b.is_panicking(now_us)),
            hedge_after: hedge.and_then(|(h, b)| retry::hedge_after(h, &b.latency, now_us)),
            backend: taker.backend.clone(),
            parts: changed,
            chances,
            refused,
        }
    };
    rule.takers.iter().enumerate().map(took).collect()
}

/// A request's key; `None` also where it would get a new one, which may be any.
fn hash(on: Option<&HashOn>, parts: &Parts, client: SocketAddr) -> Option<u64> {
    let key = balance::key(on?, parts, client, &mut Rng::seeded(1));
    key.hash.filter(|_| key.cookie.is_none())
}

/// How often each endpoint is drawn, or why none is.
fn chances(
    snapshot: &Snapshot,
    backend: &Backend,
    ask: Ask<'_>,
    probes: bool,
) -> (Vec<f64>, Option<Refused>) {
    let endpoints = &backend.service.endpoints;
    let policy = &backend.policy().circuit;
    let balancing = &backend.policy().balancing;
    let balancer = Balancer::compile(balancing, endpoints, snapshot.zone.as_deref(), None);
    let mut rng = Rng::seeded(ask.now_us);
    let mut drawn = vec![0u32; endpoints.len()];
    for _ in 0..DRAWS {
        let picked = backend.draw(&balancer, ask, probes, &mut rng).or_else(|| {
            circuit::floor(endpoints, policy)?;
            balancer.pick(endpoints, ask, |_| true, &mut rng)
        });
        let Some(picked) = picked else {
            return (vec![0.0; endpoints.len()], Some(backend.nobody().into()));
        };
        let at = endpoints.iter().position(|endpoint| endpoint.slot == picked.slot);
        drawn[at.unwrap_or_default()] += 1;
    }
    let percent = |count: u32| f64::from(count) * 100.0 / f64::from(DRAWS);
    (drawn.into_iter().map(percent).collect(), overflow(backend))
}

/// Its bulkhead has no place for another request now.
fn overflow(backend: &Backend) -> Option<Refused> {
    let facts = backend.bulkhead.facts();
    let is_full = facts.requests >= facts.limits.max_requests;
    is_full.then(|| backend.full(Reason::OverflowRequests).into())
}
