//! Power of two choices: take two endpoints at random, use the one with the lower cost.
//!
//! As good as looking at all of them, at a constant price, and without the herd that forms when
//! every sidecar runs to the one best endpoint (Mitzenmacher 2001).

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::ewma;
use crate::model::Endpoint;
use crate::runtime::clock::Rng;

/// What there is to choose from.
#[derive(Clone, Copy, Debug)]
pub struct Candidates<'a> {
    pub endpoints: &'a [Arc<Endpoint>],
    /// Indices of those in the caller's zone; preferred while one of them may be used.
    pub local: &'a [u32],
    /// Slots of the endpoints that this request has tried already.
    pub tried: &'a [u32],
}

/// The endpoint for the next attempt; `None` when `ready` says no to all (their circuits are open),
/// or there are none. An endpoint that was tried already is chosen when nothing else is left.
pub fn pick<'a>(
    candidates: Candidates<'a>,
    ready: impl Fn(&Endpoint) -> bool,
    now_us: u64,
    rng: &mut Rng,
) -> Option<&'a Arc<Endpoint>> {
    let all = candidates.endpoints;
    if let [only] = all {
        return ready(only).then_some(only);
    }
    let local = candidates.local;
    let usable = |e: &Endpoint| !candidates.tried.contains(&e.slot) && ready(e);
    two_choices(local.len(), |i| &all[local[i] as usize], usable, now_us, rng)
        .or_else(|| two_choices(all.len(), |i| &all[i], usable, now_us, rng))
        .or_else(|| all.iter().find(|endpoint| ready(endpoint)))
}

fn two_choices<'a>(
    count: usize,
    at: impl Fn(usize) -> &'a Arc<Endpoint>,
    usable: impl Fn(&Endpoint) -> bool,
    now_us: u64,
    rng: &mut Rng,
) -> Option<&'a Arc<Endpoint>> {
    if count == 0 {
        return None;
    }
    let first = rng.below(count);
    if count > 1 {
        let second = (first + 1 + rng.below(count - 1)) % count;
        let (a, b) = (at(first), at(second));
        match (usable(a), usable(b)) {
            (true, true) => return Some(cheaper(a, b, now_us)),
            (true, false) => return Some(a),
            (false, true) => return Some(b),
            (false, false) => {}
        }
    }
    // Both were bad: look at the rest, from a random place so that no endpoint is favoured.
    (0..count).map(|step| at((first + step) % count)).find(|endpoint| usable(endpoint))
}

fn cheaper<'a>(a: &'a Arc<Endpoint>, b: &'a Arc<Endpoint>, now_us: u64) -> &'a Arc<Endpoint> {
    let load = |e: &Endpoint| (e.health.in_flight.load(Relaxed) + 1) as f32 / e.weight as f32;
    let (mut cost_a, mut cost_b) = (load(a), load(b));
    // An endpoint that nothing is known of yet competes by load alone.
    if let (Some(ewma_a), Some(ewma_b)) =
        (ewma::estimate_us(&a.health, now_us), ewma::estimate_us(&b.health, now_us))
    {
        cost_a *= ewma_a;
        cost_b *= ewma_b;
    }
    if cost_b < cost_a { b } else { a }
}
