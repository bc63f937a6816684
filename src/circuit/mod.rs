//! One circuit per endpoint: stop sending to what fails, ask again later, carefully.
//!
//! Closed lets everything through and counts: failures in a row, and where the policy asks for it
//! the share of failed and of slow requests in a sliding window. Open lets nothing through until
//! its time is over; then the circuit is half-open and lets a few probes through: when all of them
//! succeed it closes, and the first that fails opens it again for longer. The state is one atomic
//! word in the endpoint, so that all workers see the same circuit and a snapshot can't reset it.
//! The floor (`min_ready_endpoints`) wins over every ejection: a service whose endpoints all look
//! bad is better tried than refused.
//! Called by the outbound path: `is_ready` while choosing, `admit` on the choice, `settle` after it.

mod facts;
mod settle;
mod window;
mod word;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};

use crate::model::{Circuit, Endpoint, EndpointHealth};
use word::{Phase, Word};

pub use facts::{Facts, state, state_facts};
pub use settle::settle;
pub use window::Rate;

/// What an admitted attempt is to its circuit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pass {
    Normal,
    /// One of the few that find out whether the endpoint is well again, in this turn.
    Probe(Turn),
    /// Without the circuit's leave, because the floor has nobody else: see [`floor`].
    Needed,
}

/// Which half-open time of its circuit a probe is of: what it finds out after that says nothing, and
/// takes no place of the probes of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turn(u32);

/// How an attempt counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Success,
    Failure,
    /// The endpoint has too much to do: a failure for the failure rate, where the policy asks for
    /// one. Failures in a row are neither counted on nor ended by it.
    Overload,
    /// Says nothing about the endpoint: the caller went away, or we refused ourselves.
    Neither,
}

/// What became of the circuit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transition {
    Opened,
    Closed,
    /// It would have opened, but too few endpoints would have been left. Said once, until the
    /// endpoint does better.
    HeldBack,
}

/// True when the circuit lets everything through.
fn is_closed(health: &EndpointHealth) -> bool {
    word::is_closed(health.circuit.load(Relaxed))
}

/// An endpoint that may be probed and that nobody probes for so long, in microseconds, is probed by
/// whoever comes: there may be services that only ever get POST, as those of gRPC. Arbitrary.
const UNPROBED_US: u64 = 500_000;

/// True when a request that may not be sent twice may take the endpoint although there are others:
/// its circuit is closed, or it waits for a probe and nobody came. Others take any that is
/// [ready](is_ready), so that they are the probes where there is a choice.
pub fn is_trusted(health: &EndpointHealth, policy: &Circuit, now_us: u64) -> bool {
    let bits = health.circuit.load(Relaxed);
    if word::is_closed(bits) {
        return true;
    }
    Word::from(bits).had_room(policy, now_us, UNPROBED_US)
}

/// True when the circuit would let an attempt through now.
pub fn is_ready(health: &EndpointHealth, policy: &Circuit, now_us: u64) -> bool {
    let bits = health.circuit.load(Relaxed);
    word::is_closed(bits) || Word::from(bits).has_room(policy, now_us)
}

/// Lets one attempt through, or not. Every pass must be settled.
pub fn admit(health: &EndpointHealth, policy: &Circuit, now_us: u64) -> Option<Pass> {
    let mut bits = health.circuit.load(Acquire);
    loop {
        let word = Word::from(bits);
        if word.phase == Phase::Closed {
            return Some(Pass::Normal);
        }
        if !word.has_room(policy, now_us) {
            return None;
        }
        match replace(health, bits, word.with_probe()) {
            Ok(()) => return Some(Pass::Probe(word.turn())),
            Err(seen) => bits = seen,
        }
    }
}

/// A pass for any endpoint of a service that has fewer well ones than its floor. No ejection leads
/// there, but the last well one may leave by itself, while others are out.
pub fn floor(all: &[Arc<Endpoint>], policy: &Circuit) -> Option<Pass> {
    let well = all.iter().filter(|endpoint| is_closed(&endpoint.health)).count();
    (well < policy.min_ready_endpoints as usize).then_some(Pass::Needed)
}

/// Whether a request may go to an endpoint that is kept out, because every ready one has failed it:
/// for that request there are fewer well ones than the floor. Once, so that the slip of a good
/// endpoint is not paid for with a tour of the bad ones. It goes with [`Pass::Needed`], and its
/// success takes the endpoint back: without it a service whose endpoints fail in turn would be
/// stuck with the one that failed last.
pub fn may_go_beyond(all: &[Arc<Endpoint>], tried: &[u32], policy: &Circuit, now_us: u64) -> bool {
    let was_tried = |endpoint: &Endpoint| tried.contains(&endpoint.slot);
    let is_ready = |endpoint: &Endpoint| is_ready(&endpoint.health, policy, now_us);
    policy.min_ready_endpoints > 0
        && !tried.is_empty()
        && !all.iter().all(|endpoint| was_tried(endpoint))
        && all.iter().all(|endpoint| was_tried(endpoint) == is_ready(endpoint))
}

/// Gives back the place that a probe has, which ended without telling anything.
pub fn give_back(health: &EndpointHealth, pass: Pass) {
    let Pass::Probe(turn) = pass else { return };
    let mut bits = health.circuit.load(Acquire);
    while let word = Word::from(bits)
        && word.is_in(turn)
    {
        match replace(health, bits, word.without_probe()) {
            Ok(()) => return,
            Err(seen) => bits = seen,
        }
    }
}

/// Changes the word unless another worker did; then says what it is now.
fn replace(health: &EndpointHealth, seen: u64, word: Word) -> Result<(), u64> {
    health.circuit.compare_exchange(seen, word.into(), AcqRel, Acquire).map(|_| ())
}
