//! Failures on purpose: delays and aborts, for all requests or for some.

use std::thread;
use std::time::{Duration, Instant};

use super::table::{Outcome, play, play_each_way, row};
use crate::harness::{Broken, Script, Services};

#[test]
fn a_delay_comes_before_anything_else() {
    let late = |outcome: &Outcome| outcome.took_between(295, 4500);
    play_each_way(vec![
        row("for so long")
            .policy("fault: {delay: {percent: 100, duration: 300ms}}")
            .check(late),
        row("a part of the request's time")
            .policy("fault: {delay: {percent: 100, duration: 5s}}\ntimeouts: {request: 300ms}")
            .is(504)
            .because("request-timeout")
            .calls(0)
            .check(late),
        row("not of the answer's")
            .policy("fault: {delay: {percent: 100, duration: 1200ms}}\ntimeouts: {responseHeaders: 1s}")
            .check(late),
        row("once, not for each attempt")
            .policy(
                "fault: {delay: {percent: 100, duration: 700ms}}\n\
                 retry: {on: [5xx], maxRetries: 3, backoff: {strategy: fixed, base: 1ms, jitter: none}}",
            )
            .script("503 503 503 ok")
            .calls(4)
            .check(|outcome| outcome.took_between(695, 2700)),
    ]);
}

#[test]
fn an_abort_is_answered_by_the_sidecar() {
    let mut rows: Vec<_> = [400, 418, 429, 500, 503, 599]
        .map(|status| {
            row(format!("with {status}"))
                .policy(format!("fault: {{abort: {{percent: 100, httpStatus: {status}}}}}"))
                .is(status)
                .because("fault-injected")
                .calls(0)
                .check(|outcome| assert!(!outcome.answer().text().is_empty(), "no sentence"))
        })
        .into();
    rows.extend([
        row("after its delay")
            .policy(
                "fault: {delay: {percent: 100, duration: 300ms}, abort: {percent: 100, httpStatus: 503}}",
            )
            .is(503)
            .because("fault-injected")
            .calls(0)
            .check(|outcome| outcome.took_between(295, 5000)),
        row("and is not retried")
            .policy(
                "fault: {abort: {percent: 100, httpStatus: 503}}\n\
                 retry: {on: [5xx], backoff: {strategy: fixed, base: 4s, jitter: none}}",
            )
            .is(503)
            .because("fault-injected")
            .calls(0)
            .check(|outcome| outcome.took_between(0, 3500)),
        row("gRPC callers get its code")
            .policy("fault: {abort: {percent: 100, grpcStatus: unavailable}}")
            .grpc("/t.T/Read")
            .because("fault-injected")
            .has_code(14)
            .calls(0),
        row("whichever it is")
            .policy("fault: {abort: {percent: 100, grpcStatus: data-loss}}")
            .grpc("/t.T/Read")
            .because("fault-injected")
            .has_code(15)
            .calls(0),
        row("a reset")
            .policy("fault: {abort: {percent: 100, reset: true}}")
            .breaks()
            .calls(0)
            .check(|outcome| assert_eq!(outcome.answer, Err(Broken::Reset))),
    ]);
    play(rows);
}

#[test]
fn a_match_says_for_whom() {
    let abort = "abort: {percent: 100, httpStatus: 418}";
    let one = format!("fault: {{{abort}, match: {{headers: [{{name: x-test, value: \"yes\"}}]}}}}");
    let two = format!(
        "fault: {{{abort}, match: {{headers: [{{name: x-test, value: \"yes\"}}, \
         {{name: x-who, type: RegularExpression, value: \"qa-[0-9]+\"}}]}}}}"
    );
    play(vec![
        row("who has it")
            .policy(&one)
            .line("X-Test: yes")
            .is(418)
            .because("fault-injected")
            .calls(0),
        row("who has another value").policy(&one).line("X-Test: no"),
        row("who has it not").policy(&one),
        row("who has all")
            .policy(&two)
            .line("X-Test: yes")
            .line("X-Who: qa-17")
            .is(418)
            .because("fault-injected")
            .calls(0),
        row("who has one of them").policy(&two).line("X-Test: yes"),
        row("who has nearly all").policy(&two).line("X-Test: yes").line("X-Who: qa-17b"),
    ]);
}

/// So many callers ask at once.
const CALLERS: usize = 20;

/// How many of the answers to so many requests are true for `is_hit`.
fn hits(policy: &str, requests: usize, is_hit: fn(Duration, u16) -> bool) -> usize {
    let backend = Script::new("ok").serve();
    let callers =
        Services::bare().service("some", &[backend.address]).policy("some", policy).start();
    let ask = || {
        let one = |_| {
            let begun = Instant::now();
            let status = callers.get("some").status();
            usize::from(is_hit(begun.elapsed(), status))
        };
        (0..requests / CALLERS).map(one).sum::<usize>()
    };
    thread::scope(|scope| {
        let asking: Vec<_> = (0..CALLERS).map(|_| scope.spawn(ask)).collect();
        asking.into_iter().map(|thread| thread.join().expect("answers")).sum()
    })
}

#[test]
fn a_share_of_requests_is_aborted() {
    // Five standard deviations to each side: one run in two million is beyond.
    let aborted = |_, status| status == 599;
    let hit = hits("fault: {abort: {percent: 30, httpStatus: 599}}", 800, aborted);
    assert!((175..=305).contains(&hit), "{hit} of 800, 30 % asked for");
    let hit = hits("fault: {abort: {percent: 2.5, httpStatus: 599}}", 800, aborted);
    assert!((1..=43).contains(&hit), "{hit} of 800, 2.5 % asked for");
}

#[test]
fn a_share_of_requests_is_delayed() {
    let delayed = |took, _| took >= Duration::from_secs(1);
    let hit = hits("fault: {delay: {percent: 50, duration: 1s}}", 120, delayed);
    assert!((32..=88).contains(&hit), "{hit} of 120, 50 % asked for");
}

#[test]
fn both_shares_are_drawn_by_themselves() {
    let policy =
        "fault: {delay: {percent: 50, duration: 1s}, abort: {percent: 50, httpStatus: 599}}";
    let both = |took, status| took >= Duration::from_secs(1) && status == 599;
    let hit = hits(policy, 120, both);
    assert!((6..=54).contains(&hit), "{hit} of 120, a quarter expected");
}

#[test]
fn a_reset_is_logged_with_its_reason() {
    let backend = Script::new("ok").serve();
    let callers = Services::bare()
        .service("some", &[backend.address])
        .policy("some", "fault: {abort: {percent: 100, reset: true}}")
        .start();
    assert!(callers.try_ask("some", "GET /reset HTTP/1.1\r\n\r\n").is_err());
    assert_eq!(callers.outbound.await_entry("/reset")["reason"], "fault-injected");
}
