//! One circuit per endpoint: stop sending to what fails, ask again later, carefully.
//!
//! Closed lets everything through and counts failures in a row. Open lets nothing through until its
//! time is over; then the circuit is half-open and lets a few probes through, whose result closes
//! it or opens it again for longer. The state is one atomic word in the endpoint, so that all
//! workers see the same circuit and a snapshot can't reset it. The floor (`min_ready_endpoints`)
//! wins over every ejection: a service whose endpoints all look bad is better tried than refused.
//! Called by the outbound path: `is_ready` while choosing, `admit` on the choice, `settle` after it.

mod word;

#[cfg(test)]
mod tests;

use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use std::sync::{Arc, Mutex, PoisonError};

use crate::model::{Circuit, CircuitState, Endpoint, EndpointHealth};
use crate::runtime::clock::{Rng, as_us};
use word::{Phase, Word};

/// What an admitted attempt is to its circuit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pass {
    Normal,
    /// One of the few that find out whether the endpoint is well again.
    Probe,
    /// Without the circuit's leave, because the floor has nobody else: see [`floor`].
    Needed,
}

/// How an attempt counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Success,
    Failure,
    /// Says nothing about the endpoint: the caller went away, or we refused ourselves.
    Neither,
}

/// What became of the circuit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transition {
    Opened,
    Closed,
    /// It would have opened, but too few endpoints would have been left.
    HeldBack,
}

/// The state as pages and metrics show it.
pub fn state(health: &EndpointHealth, now_us: u64) -> CircuitState {
    let word = Word::from(health.circuit.load(Acquire));
    match word.phase {
        Phase::Closed => CircuitState::Closed,
        Phase::Open if word.until_us() > now_us => CircuitState::Open { until_us: word.until_us() },
        Phase::Open | Phase::HalfOpen => CircuitState::HalfOpen,
    }
}

/// True when the circuit would let an attempt through now.
pub fn is_ready(health: &EndpointHealth, policy: &Circuit, now_us: u64) -> bool {
    let bits = health.circuit.load(Relaxed);
    bits == Word::CLOSED || Word::from(bits).has_room(policy.half_open_requests, now_us)
}

/// Lets one attempt through, or not. Every pass must be settled.
pub fn admit(health: &EndpointHealth, policy: &Circuit, now_us: u64) -> Option<Pass> {
    let mut bits = health.circuit.load(Acquire);
    loop {
        let word = Word::from(bits);
        if word.phase == Phase::Closed {
            return Some(Pass::Normal);
        }
        if !word.has_room(policy.half_open_requests, now_us) {
            return None;
        }
        let probing = word.with_probe();
        match health.circuit.compare_exchange_weak(bits, probing.into(), AcqRel, Acquire) {
            Ok(_) => return Some(Pass::Probe),
            Err(seen) => bits = seen,
        }
    }
}

/// A pass for any endpoint of a service that has fewer well ones than its floor. No ejection leads
/// there, but the last well one may leave by itself, while others are out.
pub fn floor(all: &[Arc<Endpoint>], policy: &Circuit) -> Option<Pass> {
    let well = all.iter().filter(|endpoint| is_closed(endpoint)).count();
    (well < policy.min_ready_endpoints as usize).then_some(Pass::Needed)
}

fn is_closed(endpoint: &Endpoint) -> bool {
    endpoint.health.circuit.load(Acquire) == Word::CLOSED
}

/// Takes in how an admitted attempt ended. `others` are all endpoints of the service.
pub fn settle(
    endpoint: &Endpoint,
    others: &[Arc<Endpoint>],
    pass: Pass,
    verdict: Verdict,
    policy: &Circuit,
    now_us: u64,
    rng: &mut Rng,
) -> Option<Transition> {
    let health = &endpoint.health;
    match (pass, verdict) {
        (Pass::Normal, Verdict::Success) => {
            if health.consecutive_failures.load(Relaxed) != 0 {
                health.consecutive_failures.store(0, Relaxed);
            }
            None
        }
        (Pass::Normal | Pass::Needed, Verdict::Neither) => None,
        (Pass::Needed, Verdict::Success) => {
            health.consecutive_failures.store(0, Relaxed);
            let before = health.circuit.swap(Word::CLOSED, AcqRel);
            (before != Word::CLOSED).then_some(Transition::Closed)
        }
        (Pass::Needed, Verdict::Failure) => {
            health.consecutive_failures.fetch_add(1, Relaxed);
            None
        }
        (Pass::Normal, Verdict::Failure) => {
            let failures = health.consecutive_failures.fetch_add(1, Relaxed) + 1;
            if failures < policy.consecutive_failures {
                return None;
            }
            open(endpoint, others, policy, now_us, rng)
        }
        (Pass::Probe, Verdict::Success) => {
            health.consecutive_failures.store(0, Relaxed);
            health.circuit.store(Word::CLOSED, Release);
            Some(Transition::Closed)
        }
        (Pass::Probe, Verdict::Failure) => {
            health.consecutive_failures.fetch_add(1, Relaxed);
            reopen(health, policy, now_us, rng);
            Some(Transition::Opened)
        }
        (Pass::Probe, Verdict::Neither) => {
            give_back(health);
            None
        }
    }
}

/// Ejections are rare; one at a time, so that two workers can't both take the last two endpoints.
static EJECTING: Mutex<()> = Mutex::new(());

fn open(
    endpoint: &Endpoint,
    others: &[Arc<Endpoint>],
    policy: &Circuit,
    now_us: u64,
    rng: &mut Rng,
) -> Option<Transition> {
    let _one_at_a_time = EJECTING.lock().unwrap_or_else(PoisonError::into_inner);
    let bits = endpoint.health.circuit.load(Acquire);
    if bits != Word::CLOSED {
        return None; // another worker was faster
    }
    let left = others
        .iter()
        .filter(|other| other.slot != endpoint.slot)
        .filter(|other| is_closed(other))
        .count();
    if left < policy.min_ready_endpoints as usize {
        return Some(Transition::HeldBack);
    }
    reopen(&endpoint.health, policy, now_us, rng);
    Some(Transition::Opened)
}

/// Opens for twice as long as the last time, up to the limit, minus up to a quarter of jitter so
/// that sidecars don't all probe at once.
fn reopen(health: &EndpointHealth, policy: &Circuit, now_us: u64, rng: &mut Rng) {
    let word = Word::from(health.circuit.load(Acquire));
    let open_us = as_us(policy.open_for).saturating_mul(1 << word.reopened.min(20));
    let open_us = open_us.min(as_us(policy.max_open_for));
    let jitter_us = (open_us as f64 / 4.0 * rng.unit()) as u64;
    let open = Word::open(now_us + open_us - jitter_us, word.reopened.saturating_add(1));
    health.circuit.store(open.into(), Release);
}

/// Gives back the place of a probe that ended without telling anything.
pub fn give_back(health: &EndpointHealth) {
    let mut bits = health.circuit.load(Acquire);
    while let word = Word::from(bits)
        && word.phase == Phase::HalfOpen
    {
        match health.circuit.compare_exchange_weak(
            bits,
            word.without_probe().into(),
            AcqRel,
            Acquire,
        ) {
            Ok(_) => return,
            Err(seen) => bits = seen,
        }
    }
}
