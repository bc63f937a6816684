//! Our own zone first, as long as it is well and not overloaded.
//!
//! By health: the zone keeps everything while 1/1.4 of its weight is up, and 1.4 times what is up
//! below that; the rest goes elsewhere. So the endpoints left take at most 40 % more than their
//! usual share, and a zone whose endpoints are new hands out its share as they warm up. The factor
//! is Envoy's for localities; no more is known of it than that it has served.
//!
//! By load: what share of all capacity our zone has says little, because nobody knows how many
//! callers share it. What our own requests meet says more. So the endpoint chosen here is compared
//! with one chosen elsewhere in the same way, and gives way when it costs more than twice as much
//! and has really something to do: an idle endpoint is never left for one that is merely faster.
//! Twice is arbitrary, but well above the noise of two estimates. Policies that don't look at load
//! spill by health alone.

use std::sync::Arc;

use super::candidates::Candidates;
use super::p2c::Cost;
use super::pool::Pool;
use crate::model::Endpoint;
use crate::runtime::clock::Rng;

/// What a part of a zone may carry, beside its usual load.
const OVERPROVISIONED: f32 = 1.4;
/// An endpoint elsewhere must be so much better.
const MUCH_WORSE: f32 = 2.0;
/// Requests under way, by weight, up to which an endpoint is not busy.
const BUSY: f32 = 2.0;

/// Whether this request stays in our zone, as far as its health goes.
///
/// One endpoint is drawn; while it is up, as it nearly always is, nothing needs to be counted.
/// When it isn't, the coin is weighed so that both cases together keep the share above.
pub(super) fn stays<R: Fn(&Endpoint) -> bool>(
    near: &Pool,
    candidates: &Candidates<'_, '_, R>,
    rng: &mut Rng,
) -> bool {
    if candidates.is_up(candidates.at(near.one(rng)), rng) {
        return true;
    }
    let up = near.capacity(candidates);
    let share = OVERPROVISIONED * up;
    share >= 1.0 || rng.unit() < f64::from((share - up) / (1.0 - up))
}

/// The cheaper one of the endpoint chosen in our zone and one chosen elsewhere, by the rule above.
pub(super) fn relieve<'a, R: Fn(&Endpoint) -> bool>(
    here: &'a Arc<Endpoint>,
    elsewhere: impl FnOnce() -> Option<&'a Arc<Endpoint>>,
    cost: &Cost,
    candidates: &Candidates<'a, '_, R>,
) -> &'a Arc<Endpoint> {
    if cost.load(here, candidates) <= BUSY {
        return here;
    }
    let much_better = |there: &&'a Arc<Endpoint>| cost.exceeds(here, there, MUCH_WORSE, candidates);
    elsewhere().filter(much_better).unwrap_or(here)
}
