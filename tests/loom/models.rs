//! What holds of the protocols that workers keep by atomics, in every order of their steps that the
//! memory model allows (loom tries them all, up to two preemptions).

use std::sync::Arc;
use std::time::Duration;

use loom::model::Builder;
use loom::sync::Arc as Shared;
use loom::sync::atomic::{AtomicU64, Ordering};
use loom::thread;

use outrigger_loom::circuit::{self, Pass, Transition, Verdict};
use outrigger_loom::limit::{Bulkhead, Pace, give_back_to, take_from};
use outrigger_loom::model::{Circuit, Endpoint, Limits, RetryBudget};
use outrigger_loom::retry::Budget;
use outrigger_loom::runtime::clock::Rng;
use outrigger_loom::telemetry::{Exemplar, Sampled};

/// Every order of at most two preemptions: more take hours, and hardly a fault needs them.
fn try_all(model: impl Fn() + Sync + Send + 'static) {
    let mut builder = Builder::new();
    builder.preemption_bound = Some(2);
    builder.check(model);
}

/// What two workers come to that do the same at once.
fn both<T: 'static>(work: impl Fn() -> T + Clone + Send + 'static) -> [T; 2] {
    let other = thread::spawn({
        let work = work.clone();
        move || work()
    });
    let mine = work();
    [mine, other.join().expect("the other worker")]
}

/// Whose parts all tell the same number.
fn exemplar(n: u64) -> Exemplar {
    Exemplar { trace_id: u128::from(n) << 64 | u128::from(n), nanos: n, at_ms: n }
}

#[test]
fn nobody_reads_two_halves_of_exemplars() {
    try_all(|| {
        let sampled = Shared::new(Sampled::with(exemplar(1)));
        let writer = thread::spawn({
            let sampled = Shared::clone(&sampled);
            move || sampled.note(exemplar(2))
        });
        if let Some(read) = sampled.read() {
            assert_eq!(read, exemplar(read.nanos));
        }
        writer.join().expect("the writer");
        assert_eq!(sampled.read(), Some(exemplar(2)));
    });
}

#[test]
fn one_of_two_exemplars_stands_whole() {
    try_all(|| {
        let sampled = Shared::new(Sampled::with(exemplar(1)));
        let number = Shared::new(AtomicU64::new(2));
        both({
            let sampled = Shared::clone(&sampled);
            move || sampled.note(exemplar(number.fetch_add(1, Ordering::Relaxed)))
        });
        let last = sampled.read().expect("nobody writes");
        assert!(last == exemplar(2) || last == exemplar(3), "{last:?}");
    });
}

#[test]
fn the_last_retry_is_taken_once() {
    try_all(|| {
        let budget = Budget::new(RetryBudget {
            ratio_percent: 50,
            min_per_second: 0,
            ..RetryBudget::default()
        });
        let budget = Shared::new(budget);
        (0..2).for_each(|_| budget.deposit(7_000_000));
        let taken = both({
            let budget = Shared::clone(&budget);
            move || budget.try_withdraw(7_000_000)
        });
        assert_eq!(taken.into_iter().filter(|is| *is).count(), 1);
        assert_eq!(budget.facts(7_000_000).retries, 1);
    });
}

#[test]
fn requests_are_counted_while_their_second_begins() {
    try_all(|| {
        let budget = Shared::new(Budget::new(RetryBudget::default()));
        // Eleven seconds before: the same word.
        budget.deposit(7_000_000);
        both({
            let budget = Shared::clone(&budget);
            move || budget.deposit(18_000_000)
        });
        assert_eq!(budget.facts(18_000_000).requests, 2);
    });
}

#[test]
fn the_last_of_a_bucket_is_taken_once_and_comes_back_whole() {
    try_all(|| {
        let pace = Pace::new(1, Duration::from_secs(1), 2);
        let bucket = Shared::new(AtomicU64::new(0));
        assert!(take_from(&bucket, pace, 7).is_ok());
        let taken = both({
            let bucket = Shared::clone(&bucket);
            move || take_from(&bucket, pace, 7).is_ok()
        });
        assert_eq!(taken.into_iter().filter(|is| *is).count(), 1);
        both({
            let bucket = Shared::clone(&bucket);
            move || give_back_to(&bucket, pace)
        });
        assert!((0..2).all(|_| take_from(&bucket, pace, 7).is_ok()));
        assert!(take_from(&bucket, pace, 7).is_err());
    });
}

#[test]
fn a_bulkhead_has_as_many_places_as_it_says() {
    try_all(|| {
        let bulkhead = Bulkhead::new(Limits { max_requests: 1, ..Limits::default() });
        let held = both({
            let bulkhead = Arc::clone(&bulkhead);
            move || bulkhead.try_admit().ok()
        });
        assert_eq!(held.iter().flatten().count(), 1);
        drop(held);
        both({
            let bulkhead = Arc::clone(&bulkhead);
            move || drop(bulkhead.try_admit())
        });
        assert_eq!(bulkhead.requests(), 0);
    });
}

/// An endpoint that was ejected, and a moment when its time is over.
fn half_open(policy: &Circuit) -> (Arc<Endpoint>, u64) {
    let endpoint = |last: u8| {
        Arc::new(Endpoint::new(([127, 0, 0, last], 80).into(), None, "a".into(), None, 1))
    };
    let all = [endpoint(1), endpoint(2)];
    let now_us = 1_000_000;
    let pass = circuit::admit(&all[0].health, policy, now_us).expect("it is closed");
    let rng = &mut Rng::seeded(1);
    let became = circuit::settle(&all[0], &all, pass, Verdict::Failure, None, policy, now_us, rng);
    assert_eq!(became, Some(Transition::Opened));
    let [endpoint, _] = all;
    (endpoint, 3_600_000_000)
}

fn policy(half_open_requests: u8) -> Circuit {
    Circuit {
        consecutive_failures: 1,
        min_ready_endpoints: 1,
        half_open_requests,
        ..Circuit::default()
    }
}

#[test]
fn one_of_two_is_the_probe() {
    try_all(|| {
        let (endpoint, now_us) = half_open(&policy(1));
        let passes = both({
            let endpoint = Arc::clone(&endpoint);
            move || circuit::admit(&endpoint.health, &policy(1), now_us)
        });
        let probes = passes.iter().flatten().filter(|pass| matches!(pass, Pass::Probe(_)));
        assert_eq!((probes.count(), passes.iter().flatten().count()), (1, 1));
    });
}

#[test]
fn probes_that_succeed_at_once_close_a_circuit_once() {
    try_all(|| {
        let (endpoint, now_us) = half_open(&policy(2));
        let became = both({
            let endpoint = Arc::clone(&endpoint);
            move || {
                let pass =
                    circuit::admit(&endpoint.health, &policy(2), now_us).expect("room for two");
                let rng = &mut Rng::seeded(2);
                circuit::settle(
                    &endpoint,
                    &[],
                    pass,
                    Verdict::Success,
                    None,
                    &policy(2),
                    now_us,
                    rng,
                )
            }
        });
        assert_eq!(became.iter().flatten().collect::<Vec<_>>(), [&Transition::Closed]);
        let pass = circuit::admit(&endpoint.health, &policy(2), now_us);
        assert_eq!(pass, Some(Pass::Normal));
    });
}

#[test]
fn a_place_that_a_probe_gives_back_is_there_again() {
    try_all(|| {
        let (endpoint, now_us) = half_open(&policy(1));
        both({
            let endpoint = Arc::clone(&endpoint);
            move || {
                if let Some(pass) = circuit::admit(&endpoint.health, &policy(1), now_us) {
                    circuit::give_back(&endpoint.health, pass);
                }
            }
        });
        assert!(circuit::admit(&endpoint.health, &policy(1), now_us).is_some());
        assert!(circuit::admit(&endpoint.health, &policy(1), now_us).is_none());
    });
}
