//! A policy's time for a request is a deadline: passed on, and never longer than the caller's.

use super::table::{Outcome, play_each_way, row};

/// What the last call was told that it has, in milliseconds.
#[track_caller]
fn left(outcome: &Outcome) -> u64 {
    let value = outcome.last().header("x-outrigger-deadline-ms");
    value.and_then(|ms| ms.parse().ok()).unwrap_or_else(|| panic!("no deadline: {value:?}"))
}

/// The same for gRPC.
#[track_caller]
fn grpc_left(outcome: &Outcome) -> f64 {
    let value = outcome.last().header("grpc-timeout").unwrap_or_default();
    let (number, unit) = value.split_at(value.len().saturating_sub(1));
    let scale = match unit {
        "H" => 3_600_000.0,
        "M" => 60_000.0,
        "S" => 1000.0,
        "m" => 1.0,
        "u" => 1e-3,
        "n" => 1e-6,
        _ => panic!("no grpc-timeout: {value:?}"),
    };
    number.parse::<f64>().unwrap_or_else(|_| panic!("no grpc-timeout: {value:?}")) * scale
}

#[test]
fn it_is_told_to_the_app() {
    play_each_way(vec![
        row("the policy's").policy("timeouts: {request: 3s}").check(|outcome| {
            assert!((1..=3000).contains(&left(outcome)), "{}", left(outcome));
        }),
        row("the caller's, where that is shorter")
            .policy("timeouts: {request: 30s}")
            .line("X-Outrigger-Deadline-Ms: 2000")
            .check(|outcome| assert!((1..=2000).contains(&left(outcome)), "{}", left(outcome))),
        row("the policy's, where that is shorter")
            .policy("timeouts: {request: 2s}")
            .line("X-Outrigger-Deadline-Ms: 30000")
            .check(|outcome| assert!((1..=2000).contains(&left(outcome)), "{}", left(outcome))),
        row("what is left of it, at a retry")
            .policy("timeouts: {request: 5s}\nretry: {on: [5xx], backoff: {strategy: fixed, base: 200ms, jitter: none}}")
            .script("503 ok")
            .calls(2)
            .check(|outcome| assert!((1..=4800).contains(&left(outcome)), "{}", left(outcome))),
        row("what is left of the caller's, at a retry")
            .policy("retry: {on: [5xx], backoff: {strategy: fixed, base: 200ms, jitter: none}}")
            .script("503 ok")
            .line("X-Outrigger-Deadline-Ms: 5000")
            .calls(2)
            .check(|outcome| assert!((1..=4800).contains(&left(outcome)), "{}", left(outcome))),
        row("less what a fault delayed it")
            .policy("timeouts: {request: 5s}\nfault: {delay: {percent: 100, duration: 300ms}}")
            .check(|outcome| assert!((1..=4700).contains(&left(outcome)), "{}", left(outcome))),
    ]);
}

#[test]
fn it_is_told_to_a_grpc_server() {
    const PATH: &str = "/t.T/Read";
    play_each_way(vec![
        row("the policy's, where that is shorter")
            .policy("timeouts: {request: 2s}")
            .line("grpc-timeout: 30S")
            .grpc(PATH)
            .check(|outcome| {
                let left = grpc_left(outcome);
                assert!(left > 1.0 && left <= 2000.0, "{left}");
            }),
        row("the caller's, where that is shorter")
            .policy("timeouts: {request: 30s}")
            .line("grpc-timeout: 2000m")
            .grpc(PATH)
            .check(|outcome| {
                let left = grpc_left(outcome);
                assert!(left > 1.0 && left <= 2000.0, "{left}");
            }),
        row("the policy's, where the caller has none, as to any app")
            .policy("timeouts: {request: 2s}")
            .grpc(PATH)
            .check(|outcome| assert!((1..=2000).contains(&left(outcome)), "{}", left(outcome))),
        row("none, where nobody has one").grpc(PATH).check(|outcome| {
            assert_eq!(outcome.last().header("grpc-timeout"), None);
        }),
        row("and it ends the call")
            .policy("timeouts: {request: 300ms}")
            .script("hang")
            .grpc(PATH)
            .because("request-timeout")
            .has_code(4)
            .check(|outcome| outcome.took_between(280, 9000)),
    ]);
}

#[test]
fn a_deadline_that_passed_is_not_forwarded_by_any_policy() {
    play_each_way(vec![
        row("before the first attempt")
            .policy("timeouts: {request: 5s}\nretry: {on: [5xx]}")
            .line("X-Outrigger-Deadline-Ms: 0")
            .is(504)
            .because("deadline-passed")
            .calls(0),
        row("while a fault delays it")
            .policy("fault: {delay: {percent: 100, duration: 700ms}}")
            .line("X-Outrigger-Deadline-Ms: 200")
            .is(504)
            .because("deadline-passed")
            .calls(0)
            .check(|outcome| outcome.took_between(180, 6000)),
        row("neither is a fallback asked")
            .policy("timeouts: {request: 5s}\nfallback: {response: {status: 200, body: late}}")
            .line("X-Outrigger-Deadline-Ms: 0")
            .is(504)
            .because("deadline-passed")
            .calls(0),
    ]);
}
