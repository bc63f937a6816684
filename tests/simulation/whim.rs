//! What a day is drawn from: policies, endpoints and their moods.

use std::sync::Arc;
use std::time::Duration;

use outrigger::circuit::Verdict;
use outrigger::model::{
    Backoff, BackoffStrategy, Balancing, BalancingPolicy, Circuit, Endpoint, FailureRate, HashOn,
    Hedge, HedgeAfter, Limits, Policy, Retry, RetryBudget, RetryOn, SlowCalls,
};
use outrigger::retry::Failed;
use outrigger::runtime::clock::Rng;

pub fn one_in(rng: &mut Rng, times: usize) -> bool {
    rng.below(times) == 0
}

fn of<T: Copy>(rng: &mut Rng, all: &[T]) -> T {
    all[rng.below(all.len())]
}

fn ms(rng: &mut Rng, from: u64, to: u64) -> Duration {
    Duration::from_millis(from + rng.below((to - from) as usize + 1) as u64)
}

/// A policy as a person may write it; small numbers, so that limits are met.
pub fn policy(rng: &mut Rng) -> Policy {
    let share = match rng.below(20) {
        0..6 => BalancingPolicy::PeakEwma,
        6..10 => BalancingPolicy::LeastRequest,
        10..14 => BalancingPolicy::RoundRobin,
        14..17 => BalancingPolicy::Random,
        _ => BalancingPolicy::RingHash(HashOn::Path),
    };
    let mut policy = Policy::default();
    policy.balancing = Balancing {
        policy: share,
        prefers_zone: one_in(rng, 2),
        warmup: one_in(rng, 4).then(|| ms(rng, 1_000, 10_000)),
        panic_threshold: one_in(rng, 4).then(|| of(rng, &[20, 50, 80])),
    };
    policy.limits = Limits {
        max_requests: 1 + rng.below(30) as u32,
        max_connections: 1 + rng.below(30) as u32,
        ..Limits::default()
    };
    policy.circuit = circuit(rng);
    policy.retry = Retry {
        max_retries: rng.below(4) as u32,
        on: RetryOn { server_error: one_in(rng, 2), reset: one_in(rng, 2), ..Retry::default().on },
        backoff: Backoff {
            strategy: of(rng, &[BackoffStrategy::Exponential, BackoffStrategy::Fixed]),
            base: ms(rng, 1, 100),
            max: ms(rng, 100, 400),
            full_jitter: one_in(rng, 2),
        },
        budget: RetryBudget {
            ratio_percent: of(rng, &[0, 5, 20, 100]),
            min_per_second: of(rng, &[0, 1, 1, 3]),
        },
        ..Retry::default()
    };
    policy.hedge = one_in(rng, 2).then(|| Hedge {
        after: if one_in(rng, 2) { HedgeAfter::P95 } else { HedgeAfter::Delay(ms(rng, 5, 200)) },
        max_extra: 1 + rng.below(3) as u32,
    });
    policy
}

fn circuit(rng: &mut Rng) -> Circuit {
    let open_for = ms(rng, 200, 4_000);
    Circuit {
        consecutive_failures: 1 + rng.below(6) as u32,
        failure_rate: one_in(rng, 3).then(|| FailureRate {
            threshold_percent: of(rng, &[20, 50, 90]),
            window: of(rng, &[1, 5, 10].map(Duration::from_secs)),
            minimum_requests: 3 + rng.below(15) as u32,
        }),
        slow_calls: one_in(rng, 4)
            .then(|| SlowCalls { threshold_percent: 50, slower_than: ms(rng, 50, 500) }),
        open_for,
        max_open_for: open_for * of(rng, &[1, 3, 8]),
        half_open_requests: of(rng, &[1, 1, 2, 3]),
        min_ready_endpoints: of(rng, &[0, 1, 1, 2]),
        ..Circuit::default()
    }
}

/// A new endpoint, the `number`th of its day.
pub fn endpoint(rng: &mut Rng, number: usize, now_us: u64) -> Arc<Endpoint> {
    let address = format!("10.0.{}.{}:80", number / 200, number % 200 + 1);
    let (address, zone) = (address.parse().expect("an address"), of(rng, &["a", "a", "b"]));
    let workload = format!("w{number}").into();
    let made = Endpoint::new(address, None, workload, Some(zone.into()), 1 + rng.below(3) as u32);
    Arc::new(Endpoint { since_us: now_us, ..made })
}

/// How an endpoint is just now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mood {
    Well,
    Slow,
    /// Half of its answers are bad.
    Torn,
    Failing,
    /// Nobody answers, at once.
    Away,
    /// Nobody answers.
    Hanging,
    Overloaded,
}

pub fn mood(rng: &mut Rng) -> Mood {
    use Mood::{Away, Failing, Hanging, Overloaded, Slow, Torn, Well};
    of(rng, &[Well, Well, Well, Well, Slow, Torn, Failing, Failing, Away, Hanging, Overloaded])
}

/// How an attempt will end.
#[derive(Clone, Copy, Debug)]
pub struct Fate {
    pub after_us: u64,
    pub verdict: Verdict,
    /// `None`: an app answered.
    pub failed: Option<Failed>,
    pub status: u16,
}

impl Mood {
    pub fn fate(self, rng: &mut Rng) -> Fate {
        let took_us = 1_000 + rng.below(30_000) as u64;
        let answer = |after_us, verdict, status| Fate { after_us, verdict, failed: None, status };
        let none = |after_us, failed| Fate {
            after_us,
            verdict: Verdict::Failure,
            failed: Some(failed),
            status: 0,
        };
        match self {
            Mood::Well => answer(took_us, Verdict::Success, 200),
            Mood::Slow => answer(took_us * 30, Verdict::Success, 200),
            Mood::Torn if one_in(rng, 2) => answer(took_us, Verdict::Success, 200),
            Mood::Torn | Mood::Failing if one_in(rng, 2) => none(took_us, Failed::Reset),
            Mood::Torn | Mood::Failing => answer(took_us, Verdict::Failure, 503),
            Mood::Away => none(300, Failed::Connect),
            Mood::Hanging => none(1_000_000 + took_us, Failed::Timeout),
            Mood::Overloaded => answer(took_us, Verdict::Overload, 503),
        }
    }
}
