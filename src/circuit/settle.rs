//! What the end of an attempt does to its circuit.
//!
//! Only a closed circuit counts toward opening, and only here does one open; ejections exclude one
//! another, so the floor holds whatever the workers do at once. A probe that ends after its circuit
//! left half-open is late and says nothing.

use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::{Arc, Mutex, PoisonError};

use super::window::{self, Rate};
use super::word::{Phase, Word};
use super::{Pass, Transition, Turn, Verdict, give_back, is_closed, replace};
use crate::model::{Circuit, Endpoint, EndpointHealth, FailureRate};
use crate::runtime::clock::{Rng, as_us};

/// Takes in how an admitted attempt ended. `others` are all endpoints of the service; `took_us` is
/// the time to the answer's head, or to giving up on it, where an answer was waited for.
pub fn settle(
    endpoint: &Endpoint,
    others: &[Arc<Endpoint>],
    pass: Pass,
    verdict: Verdict,
    took_us: Option<u64>,
    policy: &Circuit,
    now_us: u64,
    rng: &mut Rng,
) -> Option<Transition> {
    let health = &endpoint.health;
    let is_slow = |took_us| policy.slow_calls.is_some_and(|of| took_us > as_us(of.slower_than));
    let slow = took_us.map(is_slow);
    match pass {
        Pass::Normal => {
            // One that was admitted before it opened is late.
            let opens = counted(health, verdict, slow, policy, now_us) && is_closed(health);
            if opens { open(endpoint, others, policy, now_us, rng) } else { None }
        }
        Pass::Probe(turn) => {
            let outcome = outcome(verdict, slow, policy);
            probed(health, turn, outcome, policy, now_us, rng)
        }
        // In the end it was closed, and an attempt like any other.
        Pass::Needed if is_closed(health) => {
            settle(endpoint, others, Pass::Normal, verdict, took_us, policy, now_us, rng)
        }
        Pass::Needed => {
            count_in_a_row(health, verdict);
            let is_well = outcome(verdict, slow, policy) == Some(true);
            (is_well && close(health, now_us)).then_some(Transition::Closed)
        }
    }
}

/// What an attempt says about an endpoint that is not trusted: well, not well, or nothing.
fn outcome(verdict: Verdict, slow: Option<bool>, policy: &Circuit) -> Option<bool> {
    match verdict {
        Verdict::Success => Some(slow != Some(true)),
        Verdict::Failure => Some(false),
        Verdict::Overload => policy.failure_rate.map(|_| false),
        Verdict::Neither => None,
    }
}

/// Counts an attempt on a closed circuit; true when it should open.
fn counted(
    health: &EndpointHealth,
    verdict: Verdict,
    slow: Option<bool>,
    policy: &Circuit,
    now_us: u64,
) -> bool {
    if verdict == Verdict::Neither {
        return false;
    }
    let in_a_row = count_in_a_row(health, verdict) >= policy.consecutive_failures;
    let is_bad = verdict != Verdict::Success;
    let by_rate = count_rates(health, is_bad, slow, policy, now_us);
    if !in_a_row && !by_rate && health.held_back_us.load(Relaxed) != 0 {
        health.held_back_us.store(0, Relaxed);
    }
    by_rate || (in_a_row && verdict == Verdict::Failure)
}

/// How many failures in a row there are now.
fn count_in_a_row(health: &EndpointHealth, verdict: Verdict) -> u32 {
    let failures = &health.consecutive_failures;
    match verdict {
        Verdict::Failure => failures.fetch_add(1, Relaxed).saturating_add(1),
        Verdict::Success => {
            // Read first: a write would take the line from the other workers.
            if failures.load(Relaxed) != 0 {
                failures.store(0, Relaxed);
            }
            0
        }
        Verdict::Overload | Verdict::Neither => failures.load(Relaxed),
    }
}

/// Counts toward the rates that the policy asks for; true when one of them is reached.
fn count_rates(
    health: &EndpointHealth,
    is_bad: bool,
    slow: Option<bool>,
    policy: &Circuit,
    now_us: u64,
) -> bool {
    let mut reached = false;
    if let Some(of) = policy.failure_rate {
        window::count(&health.failures, of.window, now_us, is_bad);
        let rate = failure_rate(health, of, now_us);
        reached |= rate.reaches(of.threshold_percent, of.minimum_requests);
    }
    if let (Some(of), Some(is_slow)) = (policy.slow_calls, slow) {
        let FailureRate { window, minimum_requests, .. } = policy.failure_rate.unwrap_or_default();
        window::count(&health.slow_calls, window, now_us, is_slow);
        let rate = slow_rate(health, policy, now_us);
        reached |= rate.reaches(of.threshold_percent, minimum_requests);
    }
    reached
}

pub(super) fn failure_rate(health: &EndpointHealth, of: FailureRate, now_us: u64) -> Rate {
    window::rate(&health.failures, of.window, now_us)
}

pub(super) fn slow_rate(health: &EndpointHealth, policy: &Circuit, now_us: u64) -> Rate {
    let length = policy.failure_rate.unwrap_or_default().window;
    window::rate(&health.slow_calls, length, now_us)
}

/// Takes in what a probe found out.
fn probed(
    health: &EndpointHealth,
    turn: Turn,
    outcome: Option<bool>,
    policy: &Circuit,
    now_us: u64,
    rng: &mut Rng,
) -> Option<Transition> {
    let Some(is_well) = outcome else {
        give_back(health, Pass::Probe(turn));
        return None;
    };
    let mut bits = health.circuit.load(Acquire);
    while let word = Word::from(bits)
        && word.is_in(turn)
    {
        let well = word.with_success();
        let (next, transition) = if !is_well {
            (opened(word, policy, now_us, rng), Some(Transition::Opened))
        } else if well.succeeded >= policy.half_open_requests {
            forget(health);
            (word.closed(now_us), Some(Transition::Closed))
        } else {
            (well, None)
        };
        match replace(health, bits, next) {
            Ok(()) => {
                if !is_well {
                    health.consecutive_failures.fetch_add(1, Relaxed);
                }
                return transition;
            }
            Err(seen) => bits = seen,
        }
    }
    None
}

/// Closes the circuit, whatever it is; false when it was closed already.
fn close(health: &EndpointHealth, now_us: u64) -> bool {
    let mut bits = health.circuit.load(Acquire);
    while let word = Word::from(bits)
        && word.phase != Phase::Closed
    {
        forget(health);
        match replace(health, bits, word.closed(now_us)) {
            Ok(()) => return true,
            Err(seen) => bits = seen,
        }
    }
    false
}

/// What led to the ejection says nothing about the time after it. Done before closing, so that
/// nothing of that time is lost.
fn forget(health: &EndpointHealth) {
    health.consecutive_failures.store(0, Relaxed);
    health.held_back_us.store(0, Relaxed);
    window::clear(&health.failures);
    window::clear(&health.slow_calls);
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
    let health = &endpoint.health;
    // An endpoint that is held back asks at each failure: without the lock, then.
    if !is_dispensable(endpoint, others, policy) {
        return hold_back(health, now_us);
    }
    let _one_at_a_time = EJECTING.lock().unwrap_or_else(PoisonError::into_inner);
    let word = Word::from(health.circuit.load(Acquire));
    if word.phase != Phase::Closed {
        return None; // another worker was faster
    }
    if !is_dispensable(endpoint, others, policy) {
        return hold_back(health, now_us);
    }
    health.held_back_us.store(0, Relaxed);
    // From closed only holders of the lock change the word.
    health.circuit.store(opened(word, policy, now_us, rng).into(), Release);
    Some(Transition::Opened)
}

/// True when enough others are well.
fn is_dispensable(endpoint: &Endpoint, others: &[Arc<Endpoint>], policy: &Circuit) -> bool {
    let floor = policy.min_ready_endpoints as usize;
    let is_well = |other: &&Arc<Endpoint>| other.slot != endpoint.slot && is_closed(&other.health);
    others.iter().filter(is_well).take(floor).count() == floor
}

fn hold_back(health: &EndpointHealth, now_us: u64) -> Option<Transition> {
    let held = &health.held_back_us;
    // Read first: a write would take the line from the other workers.
    let is_first = held.load(Relaxed) == 0
        && held.compare_exchange(0, now_us.max(1), Relaxed, Relaxed).is_ok();
    is_first.then_some(Transition::HeldBack)
}

/// Open for twice as long as the last time, up to the limit, minus up to a quarter of jitter so
/// that sidecars don't all probe at once.
fn opened(word: Word, policy: &Circuit, now_us: u64, rng: &mut Rng) -> Word {
    let reopened = word.reopened(policy, now_us);
    let open_us = as_us(policy.open_for).saturating_mul(1 << reopened.min(20));
    let open_us = open_us.min(as_us(policy.max_open_for));
    let jitter_us = (open_us as f64 / 4.0 * rng.unit()) as u64;
    Word::open(now_us.saturating_add(open_us - jitter_us), reopened.saturating_add(1))
}
