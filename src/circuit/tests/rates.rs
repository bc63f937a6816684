//! Cases of the failure rate and of slow calls: the tables of Resilience4j, and the window.

use std::sync::atomic::AtomicU64;

use super::super::window::{self, Window};
use super::*;
use crate::model::{FailureRate, SlowCalls};

const WINDOW: Duration = Duration::from_secs(10);

fn failing(threshold_percent: u8, minimum_requests: u32) -> Circuit {
    let failure_rate = Some(FailureRate { threshold_percent, window: WINDOW, minimum_requests });
    Circuit { failure_rate, consecutive_failures: u32::MAX, ..Circuit::default() }
}

fn slow(threshold_percent: u8, minimum_requests: u32) -> Circuit {
    let slower_than = Duration::from_millis(100);
    let slow_calls = Some(SlowCalls { threshold_percent, slower_than });
    // The failures themselves shall never open it.
    Circuit { slow_calls, ..failing(101, minimum_requests) }
}

#[test]
fn opens_at_a_rate_of_at_least_so_many() {
    use Verdict::{Failure, Neither, Overload, Success};
    for (threshold, minimum, story, opens) in [
        (50, 10, &[(Success, 5), (Failure, 5)][..], true),
        (50, 10, &[(Success, 6), (Failure, 5)], false),
        (50, 10, &[(Failure, 9)], false),
        (50, 10, &[(Failure, 9), (Neither, 9)], false),
        (50, 10, &[(Failure, 5), (Success, 5)], true),
        (50, 10, &[(Success, 5), (Overload, 5)], true),
        (100, 3, &[(Failure, 3)], true),
        (100, 3, &[(Success, 1), (Failure, 20)], false),
        (1, 100, &[(Success, 99), (Failure, 1)], true),
        (51, 2, &[(Success, 1), (Failure, 1)], false),
    ] {
        let mut service = Service::new(2, failing(threshold, minimum));
        let last = story.iter().map(|&(verdict, times)| service.meet(0, verdict, times)).last();
        let expected = opens.then_some(Transition::Opened);
        assert_eq!(last.flatten(), expected, "{threshold} % of {minimum}: {story:?}");
    }
}

#[test]
fn without_a_rate_nothing_is_counted_in_the_window() {
    let consecutive_failures = u32::MAX;
    let mut service = Service::new(2, Circuit { consecutive_failures, ..Circuit::default() });
    service.meet(0, Verdict::Failure, 100);
    assert_eq!((service.facts(0).failures, service.facts(0).slow), (None, None));
    service.policy = failing(50, 10);
    let nothing = Rate::default();
    assert_eq!(service.facts(0).failures, Some(nothing));
}

#[test]
fn opens_when_at_least_so_many_answers_are_slow() {
    for (threshold, minimum, slow_ones, fast_ones, opens) in [
        (80, 10, 8, 2, true),
        (80, 10, 7, 3, false),
        (80, 10, 9, 0, false),
        (100, 5, 5, 0, true),
        (100, 5, 5, 1, true),
        (1, 100, 1, 99, true),
    ] {
        let mut service = Service::new(2, slow(threshold, minimum));
        let took = |slow| Some(if slow { 100_001 } else { 100_000 });
        let mut opened = false;
        for is_slow in (0..slow_ones).map(|_| true).chain((0..fast_ones).map(|_| false)) {
            if let Some(pass) = service.admit(0) {
                let settled = service.settle_after(0, pass, Verdict::Success, took(is_slow));
                opened |= settled == Some(Transition::Opened);
            }
        }
        assert_eq!(opened, opens, "{threshold} % of {minimum}: {slow_ones}, {fast_ones}");
    }
}

#[test]
fn only_answers_count_toward_slow_calls_and_without_a_failure_rate_its_defaults_hold() {
    let mut service = Service::new(2, slow(50, 10));
    service.policy.failure_rate = None;
    service.meet(0, Verdict::Success, 100);
    for expected in (1..20).map(|_| None).chain([Some(Transition::Opened)]) {
        let pass = service.admit(0).expect("closed");
        let settled = service.settle_after(0, pass, Verdict::Success, Some(SECOND));
        assert_eq!(settled, expected, "the hundred without an answer say nothing");
    }
}

#[test]
fn a_passed_window_says_nothing() {
    for (after, opens) in [(8, true), (10, false), (11, false), (100, false)] {
        let mut service = Service::new(2, failing(100, 10));
        service.meet(0, Verdict::Failure, 9);
        service.now_us += after * SECOND;
        let opened = service.meet(0, Verdict::Failure, 1);
        assert_eq!(opened, opens.then_some(Transition::Opened), "after {after} s");
    }
}

#[test]
fn the_window_is_as_long_as_the_policy_says() {
    for seconds in [1, 10, 60, 3600] {
        let mut policy = failing(100, 2);
        let length = Duration::from_secs(seconds);
        policy.failure_rate = policy.failure_rate.map(|of| FailureRate { window: length, ..of });
        let mut service = Service::new(2, policy);
        service.now_us = 100 * 3600 * SECOND;
        service.meet(0, Verdict::Failure, 1);
        service.now_us += seconds * SECOND * 89 / 100;
        assert_eq!(service.facts(0).failures, Some(Rate { requests: 1, bad: 1 }), "{seconds} s");
        service.now_us += seconds * SECOND * 11 / 100;
        assert_eq!(service.facts(0).failures, Some(Rate::default()), "{seconds} s");
    }
}

#[test]
fn it_starts_empty_after_the_circuit_closed_again() {
    let mut service = Service::new(2, failing(50, 4));
    service.policy.open_for = Duration::from_millis(10);
    assert_eq!(service.meet(0, Verdict::Failure, 4), Some(Transition::Opened));
    service.wait(0);
    assert_eq!(service.meet(0, Verdict::Success, 1), Some(Transition::Closed));
    assert_eq!(service.facts(0).failures, Some(Rate::default()));
    assert_eq!(service.meet(0, Verdict::Failure, 3), None);
}

#[test]
fn facts_say_the_rates() {
    let mut service = Service::new(2, slow(100, 1000));
    service.meet(0, Verdict::Success, 3);
    for took_us in [50_000, 200_000] {
        service.settle_after(0, Pass::Normal, Verdict::Failure, Some(took_us));
    }
    let facts = service.facts(0);
    assert_eq!(facts.state, CircuitState::Closed);
    assert_eq!(facts.failures, Some(Rate { requests: 5, bad: 2 }));
    assert_eq!(facts.failures.and_then(Rate::percent), Some(40.0));
    assert_eq!(facts.slow, Some(Rate { requests: 2, bad: 1 }));
    assert_eq!(Rate::default().percent(), None);
}

#[test]
fn a_full_bucket_still_shows_its_share() {
    let full: Window = Default::default();
    let now = 5 * SECOND;
    window::count(&full, WINDOW, now, true);
    let bucket = full.iter().find(|bucket| bucket.load(Relaxed) != 0).expect("one");
    let tag = bucket.load(Relaxed) >> 44;
    let most = (1 << 22) - 1;
    bucket.store(tag << 44 | most << 22 | (most / 2), Relaxed);
    window::count(&full, WINDOW, now, true);
    let rate = window::rate(&full, WINDOW, now);
    assert_eq!(rate, Rate { requests: most as u32, bad: most as u32 / 2 });
}

#[test]
fn what_another_length_counted_long_ago_says_nothing() {
    let window: Window = std::array::from_fn(|_| AtomicU64::new(0));
    for second in 90..100 {
        window::count(&window, WINDOW, second * SECOND, true);
    }
    // As tenths of a hundred seconds, the numbers of those seconds are those of now.
    let rate = window::rate(&window, 10 * WINDOW, 999 * SECOND);
    assert_eq!(rate, Rate::default());
}
