//! A second account of what circuits and budgets may do, kept beside the core in plain lists.
//!
//! It is told everything that the core is asked and everything that it answers, and complains where
//! the answer is not the one that the rules give. It knows each attempt apart, where the core has
//! only counts in a word.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use outrigger::circuit::{self, Pass, Transition, Verdict};
use outrigger::model::{Circuit, CircuitState, Endpoint, Policy, RetryBudget};

/// Microseconds by which the core may round a moment down.
const ROUNDED_US: u64 = 1_000;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Phase {
    Closed,
    Open { until_us: u64 },
    HalfOpen { probes: u8, succeeded: u8 },
}

/// One endpoint.
#[derive(Debug)]
struct Entry {
    phase: Phase,
    /// How often it opened: a probe of an earlier time says nothing.
    opened: u32,
    in_a_row: u32,
    /// Since it closed: when an attempt was counted, and whether it was bad or slow.
    counted: Vec<(u64, bool)>,
    in_flight: u32,
}

impl Default for Entry {
    fn default() -> Self {
        Self { phase: Phase::Closed, opened: 0, in_a_row: 0, counted: Vec::new(), in_flight: 0 }
    }
}

#[derive(Debug, Default)]
pub struct Account {
    entries: HashMap<u32, Entry>,
    asked: Vec<u64>,
    retried: Vec<u64>,
}

/// What an attempt was when it began.
#[derive(Clone, Copy, Debug)]
pub struct Begun {
    pub pass: Pass,
    opened: u32,
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug)]
pub struct Ended {
    pub verdict: Verdict,
    pub took_us: u64,
    pub transition: Option<Transition>,
}

fn us(duration: Duration) -> u64 {
    duration.as_micros() as u64
}

impl Account {
    fn entry(&mut self, endpoint: &Endpoint) -> &mut Entry {
        self.entries.entry(endpoint.slot).or_default()
    }

    fn phase(&self, endpoint: &Endpoint) -> Phase {
        self.entries.get(&endpoint.slot).map_or(Phase::Closed, |entry| entry.phase)
    }

    fn is_closed(&self, endpoint: &Endpoint) -> bool {
        self.phase(endpoint) == Phase::Closed
    }

    fn is_ready(&self, endpoint: &Endpoint, policy: &Circuit, now_us: u64) -> bool {
        match self.phase(endpoint) {
            Phase::Closed => true,
            // What no policy in force could ask for is over.
            Phase::Open { until_us } => {
                until_us <= now_us || until_us - now_us > 2 * us(policy.max_open_for)
            }
            Phase::HalfOpen { probes, succeeded } => {
                probes < policy.half_open_requests.saturating_sub(succeeded).max(1)
            }
        }
    }

    /// An endpoint was chosen, or none: was that right?
    pub fn chose(
        &mut self,
        all: &[Arc<Endpoint>],
        policy: &Policy,
        tried: &[u32],
        (is_safe, only_lost): (bool, bool),
        chosen: Option<(&Arc<Endpoint>, Pass)>,
        now_us: u64,
    ) -> Option<Begun> {
        let rules = &policy.circuit;
        let ready: Vec<bool> = all.iter().map(|of| self.is_ready(of, rules, now_us)).collect();
        let well = all.iter().filter(|of| self.is_closed(of)).count();
        let is_low = well < rules.min_ready_endpoints as usize;
        let panics = policy.balancing.panic_threshold.is_some_and(|percent| {
            let count = ready.iter().filter(|&&ready| ready).count();
            count < (all.len() * usize::from(percent)).div_ceil(100)
        });
        let Some((endpoint, pass)) = chosen else {
            let could = ready.contains(&true) || is_low || panics;
            assert!(
                all.is_empty() || !could,
                "nobody was chosen, though {ready:?} could be, tried {tried:?}"
            );
            return None;
        };
        let at = all.iter().position(|of| of.slot == endpoint.slot).expect("one of the service's");
        let was_tried = |of: &Endpoint| tried.contains(&of.slot);
        let mut others = all.iter().zip(&ready);
        match pass {
            Pass::Normal => assert!(self.is_closed(endpoint), "sent past an open circuit"),
            Pass::Probe(_) => assert!(ready[at] && !self.is_closed(endpoint), "one probe too many"),
            Pass::Needed => {
                let beyond = only_lost
                    && rules.min_ready_endpoints > 0
                    && !tried.is_empty()
                    && others.all(|(of, ready)| !ready || was_tried(of));
                assert!(is_low || panics || beyond, "a circuit was passed over without need");
            }
        }
        if pass != Pass::Needed && was_tried(endpoint) {
            // What may not be sent twice is no probe while another has its circuit closed.
            let mut others = all.iter().zip(&ready);
            let may_take = |of: &Endpoint, ready| ready && (is_safe || self.is_closed(of));
            assert!(
                others.all(|(of, &ready)| !may_take(of, ready) || was_tried(of)),
                "tried again, with others left"
            );
        }
        let entry = self.entry(endpoint);
        entry.in_flight += 1;
        if matches!(pass, Pass::Probe(_)) {
            entry.phase = match entry.phase {
                Phase::HalfOpen { probes, succeeded } => {
                    Phase::HalfOpen { probes: probes + 1, succeeded }
                }
                _ => Phase::HalfOpen { probes: 1, succeeded: 0 },
            };
        }
        Some(Begun { pass, opened: entry.opened })
    }

    /// An attempt ended without a word about its endpoint, or was given up.
    pub fn dropped(&mut self, endpoint: &Endpoint, begun: Begun) {
        let entry = self.entry(endpoint);
        entry.in_flight -= 1;
        entry.lose_probe(begun);
    }

    /// The circuit was told of an attempt's end: did it what it should?
    pub fn settled(
        &mut self,
        endpoint: &Endpoint,
        all: &[Arc<Endpoint>],
        begun: Begun,
        ended: Ended,
        policy: &Circuit,
        now_us: u64,
    ) {
        let Ended { verdict, took_us, transition } = ended;
        let others = all.iter().filter(|of| of.slot != endpoint.slot && self.is_closed(of));
        let is_dispensable = others.count() >= policy.min_ready_endpoints as usize;
        let is_slow = policy.slow_calls.is_some_and(|of| took_us > us(of.slower_than));
        let is_well = match verdict {
            Verdict::Success => Some(!is_slow),
            Verdict::Failure => Some(false),
            Verdict::Overload => policy.failure_rate.map(|_| false),
            Verdict::Neither => None,
        };
        let entry = self.entry(endpoint);
        entry.in_flight -= 1;
        let is_closed = entry.phase == Phase::Closed;
        let expected = match (begun.pass, entry.phase) {
            (Pass::Normal, _) | (Pass::Needed, Phase::Closed) => {
                let is_bad = matches!(verdict, Verdict::Failure | Verdict::Overload);
                entry.count_in_a_row(verdict);
                entry.counted.push((now_us, is_bad || is_slow));
                let must =
                    verdict == Verdict::Failure && entry.in_a_row >= policy.consecutive_failures;
                let may = must || entry.may_by_rate(policy, now_us);
                match transition {
                    Some(Transition::Opened) => {
                        assert!(is_closed && may && is_dispensable, "opened without a reason");
                    }
                    Some(Transition::HeldBack) => {
                        assert!(is_closed && may && !is_dispensable, "held back without a reason");
                    }
                    Some(Transition::Closed) => panic!("an ordinary attempt closed a circuit"),
                    None => assert!(!(is_closed && must && is_dispensable), "it did not open"),
                }
                transition
            }
            (Pass::Needed, _) => {
                entry.count_in_a_row(verdict);
                (is_well == Some(true)).then_some(Transition::Closed)
            }
            (Pass::Probe(_), Phase::HalfOpen { succeeded, .. }) if begun.opened == entry.opened => {
                entry.lose_probe(begun);
                match is_well {
                    None => None,
                    Some(false) => {
                        entry.in_a_row += 1;
                        Some(Transition::Opened)
                    }
                    Some(true) if succeeded + 1 >= policy.half_open_requests => {
                        Some(Transition::Closed)
                    }
                    Some(true) => {
                        if let Phase::HalfOpen { succeeded, .. } = &mut entry.phase {
                            *succeeded += 1;
                        }
                        None
                    }
                }
            }
            // It left half-open meanwhile: a late probe says nothing.
            (Pass::Probe(_), _) => None,
        };
        assert_eq!(transition, expected, "after {begun:?} {verdict:?}");
        match transition {
            Some(Transition::Opened) => entry.open(&endpoint.health, policy, now_us),
            Some(Transition::Closed) => {
                entry.phase = Phase::Closed;
                (entry.in_a_row, entry.counted) = (0, Vec::new());
            }
            Some(Transition::HeldBack) | None => {}
        }
    }

    /// Both accounts of an endpoint are the same.
    pub fn agrees(&self, endpoint: &Endpoint, policy: &Circuit, now_us: u64) {
        let health = &endpoint.health;
        let in_flight = self.entries.get(&endpoint.slot).map_or(0, |entry| entry.in_flight);
        assert_eq!(health.in_flight.load(Relaxed), in_flight, "requests under way");
        let (phase, state) = (self.phase(endpoint), circuit::state(health, now_us));
        let is_same = match (phase, state) {
            (Phase::Closed, CircuitState::Closed) => true,
            (Phase::Open { until_us }, CircuitState::Open { until_us: until }) => until_us == until,
            (Phase::Open { until_us }, CircuitState::HalfOpen) => until_us <= now_us,
            (Phase::HalfOpen { .. }, CircuitState::HalfOpen) => true,
            _ => false,
        };
        assert!(is_same, "{phase:?} is {state:?}");
        let ready = circuit::is_ready(health, policy, now_us);
        assert_eq!(ready, self.is_ready(endpoint, policy, now_us), "ready: {phase:?}");
    }

    /// A request came that the budget counts.
    pub fn asked(&mut self, now_us: u64) {
        self.asked.push(now_us);
    }

    /// The budget was asked for a retry, or another attempt beside one.
    pub fn withdrew(&mut self, granted: bool, policy: RetryBudget, now_us: u64) {
        let second = now_us / 1_000_000;
        let since = |of: &[u64], second: u64| {
            of.iter().rev().take_while(|&&at| at / 1_000_000 >= second).count() as u64
        };
        let allowed = |asked: u64| {
            (10 * u64::from(policy.min_per_second))
                .max(asked * u64::from(policy.ratio_percent) / 100)
        };
        // As strict as the seconds that are counted, and not stricter.
        let retried = since(&self.retried, second.saturating_sub(10));
        let asked = since(&self.asked, second.saturating_sub(9));
        assert_eq!(granted, retried < allowed(asked), "{retried} of {asked}, {policy:?}");
        if granted {
            self.retried.push(now_us);
            let window = |of: &[u64]| {
                of.iter().rev().take_while(|&&at| at + 10_000_000 > now_us).count() as u64
            };
            let (retried, asked) = (window(&self.retried), window(&self.asked));
            assert!(retried <= allowed(asked), "{retried} of {asked} in ten seconds, {policy:?}");
        }
    }
}

impl Entry {
    fn count_in_a_row(&mut self, verdict: Verdict) {
        match verdict {
            Verdict::Failure => self.in_a_row += 1,
            Verdict::Success => self.in_a_row = 0,
            Verdict::Overload | Verdict::Neither => {}
        }
    }

    /// A share can have been reached: enough were counted, and not all were good.
    fn may_by_rate(&self, policy: &Circuit, now_us: u64) -> bool {
        let is_asked = policy.failure_rate.is_some() || policy.slow_calls.is_some();
        let of = policy.failure_rate.unwrap_or_default();
        // Its tenth that is not over counts whole.
        let window_us = us(of.window) + us(of.window) / 10;
        let recent = self.counted.iter().rev().take_while(|(at, _)| at + window_us > now_us);
        let bad: Vec<bool> = recent.map(|(_, bad)| *bad).collect();
        is_asked && bad.len() >= of.minimum_requests as usize && bad.contains(&true)
    }

    fn lose_probe(&mut self, begun: Begun) {
        if let Phase::HalfOpen { probes, .. } = &mut self.phase
            && matches!(begun.pass, Pass::Probe(_))
            && begun.opened == self.opened
        {
            *probes -= 1;
        }
    }

    fn open(&mut self, health: &outrigger::model::EndpointHealth, policy: &Circuit, now_us: u64) {
        let CircuitState::Open { until_us } = circuit::state(health, now_us) else {
            panic!("it opened, and is not open");
        };
        let shortest = us(policy.open_for.min(policy.max_open_for)) * 3 / 4;
        let longest = us(policy.max_open_for);
        assert!(until_us + ROUNDED_US >= now_us + shortest, "open for too short a time");
        assert!(until_us <= now_us + longest, "open for too long a time");
        self.opened += 1;
        self.phase = Phase::Open { until_us };
    }
}
