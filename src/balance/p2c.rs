//! Power of two choices: take two endpoints at random, use the one with the lower cost.
//!
//! As good as looking at all of them, at a constant price, and without the herd that forms when
//! every sidecar runs to the one best endpoint (Mitzenmacher 2001).
//!
//! Weights are in the draw, and in how much a request under way burdens an endpoint. Dividing the
//! whole cost by the weight as well would count it twice: while nobody is busy the heaviest would
//! take everything, which users of weights take for a bug. So the cost is 1 + the requests under
//! way by weight, where the weight of 1 is the service's mean.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::candidates::Candidates;
use super::ewma;
use super::pool::Pool;
use crate::model::Endpoint;
use crate::runtime::clock::Rng;

/// Below a millisecond answers differ by what else the machine does, and one slow answer would count
/// for seconds: equal endpoints share evenly, by load. Measured on five of them: 9 to 101 of 300
/// requests without this.
const NOISE_US: f32 = 1000.0;

/// What makes one endpoint costlier than another.
#[derive(Debug)]
pub(super) struct Cost {
    /// By how long it takes to answer too, not by load alone.
    by_latency: bool,
    mean_weight: f32,
}

impl Cost {
    pub fn new(by_latency: bool, endpoints: &[Arc<Endpoint>]) -> Self {
        let sum: f32 = endpoints.iter().map(|endpoint| endpoint.weight as f32).sum();
        Self { by_latency, mean_weight: sum / endpoints.len().max(1) as f32 }
    }

    /// Requests under way, by weight.
    pub fn load<R>(&self, endpoint: &Endpoint, candidates: &Candidates<'_, '_, R>) -> f32
    where
        R: Fn(&Endpoint) -> bool,
    {
        let in_flight = endpoint.health.in_flight.load(Relaxed) as f32;
        in_flight * self.mean_weight / candidates.weight(endpoint)
    }

    /// Whether `a` costs more than `times` as much as `b`.
    pub fn exceeds<R>(
        &self,
        a: &Endpoint,
        b: &Endpoint,
        times: f32,
        candidates: &Candidates<'_, '_, R>,
    ) -> bool
    where
        R: Fn(&Endpoint) -> bool,
    {
        let (mut of_a, mut of_b) = (1.0 + self.load(a, candidates), 1.0 + self.load(b, candidates));
        let estimate_us = |e: &Endpoint| ewma::estimate_us(&e.health, candidates.ask.now_us);
        // An endpoint that nothing is known of yet competes by load alone.
        if self.by_latency
            && let (Some(a_us), Some(b_us)) = (estimate_us(a), estimate_us(b))
        {
            of_a *= a_us.max(NOISE_US);
            of_b *= b_us.max(NOISE_US);
        }
        of_a > times * of_b
    }
}

/// The cheaper one of two usable members.
pub(super) fn two_choices<'a, R: Fn(&Endpoint) -> bool>(
    pool: &Pool,
    cost: &Cost,
    candidates: &Candidates<'a, '_, R>,
    rng: &mut Rng,
) -> Option<&'a Arc<Endpoint>> {
    if pool.is_empty() {
        return None;
    }
    // Rarely are both of a pair out; three pairs in a row mean that most are.
    for _ in 0..3 {
        let (first, second) = pool.two(rng);
        let (a, b) = (candidates.at(first), candidates.at(second));
        match (candidates.is_usable(a, rng), first != second && candidates.is_usable(b, rng)) {
            (true, true) if cost.exceeds(a, b, 1.0, candidates) => return Some(b),
            (true, _) => return Some(a),
            (false, true) => return Some(b),
            (false, false) => {}
        }
    }
    pool.any(candidates, rng)
}
