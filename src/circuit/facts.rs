//! A circuit as pages and metrics show it.

use std::sync::atomic::Ordering::{Acquire, Relaxed};

use super::settle::{failure_rate, slow_rate};
use super::window::Rate;
use super::word::{Phase, Word};
use crate::model::{Circuit, CircuitState, EndpointHealth};

/// All that a circuit knows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Facts {
    pub state: CircuitState,
    /// How often it opened without a long good time between.
    pub reopened: u8,
    pub consecutive_failures: u32,
    /// Failed ones of the window's requests; absent where the policy asks for no such rate.
    pub failures: Option<Rate>,
    /// Slow ones of the window's answers; absent where the policy asks for no such rate.
    pub slow: Option<Rate>,
    /// Since when the floor holds its ejection back.
    pub held_back_us: Option<u64>,
}

/// What the circuit lets through.
pub fn state(health: &EndpointHealth, now_us: u64) -> CircuitState {
    let word = Word::from(health.circuit.load(Acquire));
    match word.phase {
        Phase::Closed => CircuitState::Closed,
        Phase::Open if word.until_us() > now_us => CircuitState::Open { until_us: word.until_us() },
        Phase::Open | Phase::HalfOpen => CircuitState::HalfOpen,
    }
}

/// The state and what led to it.
pub fn state_facts(health: &EndpointHealth, policy: &Circuit, now_us: u64) -> Facts {
    let word = Word::from(health.circuit.load(Acquire));
    let held_back_us = health.held_back_us.load(Relaxed);
    Facts {
        state: state(health, now_us),
        reopened: word.reopened(policy, now_us),
        consecutive_failures: health.consecutive_failures.load(Relaxed),
        failures: policy.failure_rate.map(|of| failure_rate(health, of, now_us)),
        slow: policy.slow_calls.map(|_| slow_rate(health, policy, now_us)),
        held_back_us: (held_back_us != 0).then_some(held_back_us),
    }
}
