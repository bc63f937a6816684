//! When a retry follows: back-off, and what the app asks for.

use super::table::{Outcome, play, play_each_way, row};

#[test]
fn pauses_follow_the_strategy() {
    play(vec![
        row("fixed")
            .policy("retry: {on: [5xx], maxRetries: 5, backoff: {strategy: fixed, base: 100ms, jitter: none}}")
            .script("503 503 503 503 503 ok")
            .calls(6)
            .check(|outcome| {
                let pauses = outcome.pauses();
                // Twice as long each time, the last would be 1.6 s.
                let grows = pauses[4] >= 1500;
                assert!(pauses.iter().all(|ms| *ms >= 99) && !grows, "{pauses:?}");
            }),
        row("exponential")
            .policy("retry: {on: [5xx], maxRetries: 3, backoff: {strategy: exponential, base: 60ms, max: 10s, jitter: none}}")
            .script("503 503 503 ok")
            .calls(4)
            .check(|outcome| {
                let pauses = outcome.pauses();
                let least = [59, 119, 239];
                assert!(pauses.iter().zip(least).all(|(ms, least)| *ms >= least), "{pauses:?}");
            }),
        row("up to the longest")
            .policy("retry: {on: [5xx], maxRetries: 5, backoff: {strategy: exponential, base: 200ms, max: 300ms, jitter: none}}")
            .script("503 503 503 503 503 ok")
            .calls(6)
            .check(|outcome| {
                let pauses = outcome.pauses();
                let long_enough = pauses[1..].iter().all(|ms| *ms >= 299);
                // Without a longest, the last would be 3.2 s.
                assert!(long_enough && pauses[4] < 3000, "{pauses:?}");
            }),
        row("jitter is anywhere up to the pause")
            .policy("retry: {on: [5xx], maxRetries: 5, backoff: {strategy: fixed, base: 800ms, jitter: full}}")
            .script("503 503 503 503 503 ok")
            .calls(6)
            .check(|outcome| {
                let pauses = outcome.pauses();
                assert!(pauses.iter().any(|ms| *ms < 799), "no jitter in {pauses:?}");
            }),
    ]);
}

/// It was sent again after at least so long.
fn after(outcome: &Outcome, least: u128) {
    let pauses = outcome.pauses();
    assert!(pauses[0] >= least, "{pauses:?}, not {least}");
}

#[test]
fn retry_after_is_obeyed() {
    play_each_way(vec![
        row("seconds").retry("on: [5xx]").script("503{retry-after:1} ok").calls(2).check(
            |outcome| {
                after(outcome, 990);
            },
        ),
        row("a date")
            .retry("on: [5xx]")
            .script("503{retry-after:date+2} ok")
            .calls(2)
            .check(|outcome| after(outcome, 950)),
        row("of an overload answer")
            .retry("statusCodes: [429]")
            .script("429{retry-after:1} ok")
            .calls(2)
            .check(|outcome| after(outcome, 990)),
        row("each time").retry("on: [5xx]").script("503{retry-after:3} 503 ok").calls(3).check(
            |outcome| {
                let pauses = outcome.pauses();
                assert!(pauses[0] >= 2990 && pauses[1] < 2500, "{pauses:?}");
            },
        ),
        row("none at all")
            .retry("on: [5xx]")
            .script("503{retry-after:0} ok")
            .calls(2)
            .check(|outcome| outcome.took_between(0, 5000)),
        row("a date that has passed")
            .retry("on: [5xx]")
            .script("503{retry-after:date+0} ok")
            .calls(2)
            .check(|outcome| outcome.took_between(0, 5000)),
        row("nonsense is none")
            .retry("on: [5xx]")
            .script("503{retry-after:soon} ok")
            .calls(2)
            .check(|outcome| outcome.took_between(0, 5000)),
    ]);
}

#[test]
fn a_wait_that_is_too_long_means_no_retry() {
    let at_once = |outcome: &Outcome| outcome.took_between(0, 2500);
    play_each_way(vec![
        row("more than five seconds")
            .retry("on: [5xx]")
            .script("503{retry-after:6} ok")
            .is(503)
            .check(|outcome| {
                outcome.took_between(0, 2500);
                assert_eq!(outcome.answer().header("retry-after"), Some("6"));
            }),
        row("a date more than five seconds away")
            .retry("on: [5xx]")
            .script("503{retry-after:date+8} ok")
            .is(503)
            .check(at_once),
        row("a number beyond all")
            .retry("on: [5xx]")
            .script("503{retry-after:99999999999999999999} ok")
            .is(503)
            .check(at_once),
        row("more than the caller has")
            .retry("on: [5xx]")
            .script("503{retry-after:4} ok")
            .line("X-Outrigger-Deadline-Ms: 3000")
            .is(503)
            .check(at_once),
        row("more than the policy gives")
            .policy("retry: {on: [5xx]}\ntimeouts: {request: 3s}")
            .script("503{retry-after:4} ok")
            .is(503)
            .check(at_once),
    ]);
}
