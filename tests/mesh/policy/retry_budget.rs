//! The retry budget: what retries may add to a failing service's load, whatever is asked for.

use crate::harness::{Script, Services};

/// Retries at once, two a request.
fn retry(more: &str) -> String {
    format!("retry: {{on: [5xx, reset], {}, {more}}}", super::table::AT_ONCE_AGAIN)
}

/// How many calls so many requests to a service become that always fails.
fn calls_of(requests: usize, policy: &str) -> usize {
    let script = Script::new("503");
    let backend = script.serve();
    let callers =
        Services::bare().service("down", &[backend.address]).policy("down", policy).start();
    for _ in 0..requests {
        assert_eq!(callers.get("down").status(), 503);
    }
    script.count()
}

#[test]
fn a_quiet_service_has_its_floor() {
    assert_eq!(calls_of(40, &retry("budget: {ratio: 1, minPerSecond: 1}")), 40 + 10);
    assert_eq!(calls_of(40, &retry("budget: {ratio: 1, minPerSecond: 3}")), 40 + 30);
}

#[test]
fn a_busy_service_has_its_share() {
    let calls = calls_of(200, &retry("budget: {ratio: 50, minPerSecond: 1}"));
    assert!((200 + 95..=200 + 100).contains(&calls), "{calls} calls of 200 requests");
}

#[test]
fn the_usual_budget_is_ten_a_second_or_a_fifth() {
    assert_eq!(calls_of(60, &retry("maxRetries: 10")), 60 + 100);
}

#[test]
fn one_service_spends_nothing_of_another() {
    let (spent, fresh) = (Script::new("503"), Script::new("503 ok"));
    let backends = [spent.serve(), fresh.serve()];
    let policy = retry("budget: {ratio: 1, minPerSecond: 1}");
    let callers = Services::bare()
        .service("spent", &[backends[0].address])
        .service("fresh", &[backends[1].address])
        .policy("spent", &policy)
        .policy("fresh", &policy)
        .start();
    for _ in 0..20 {
        callers.get("spent");
    }
    assert_eq!(spent.count(), 20 + 10);
    assert_eq!(callers.get("fresh").status(), 200);
}

#[test]
fn workers_share_a_budget() {
    let script = Script::new("503");
    let backend = script.serve();
    let callers = Services::bare()
        .service("down", &[backend.address])
        .policy("down", &retry("budget: {ratio: 1, minPerSecond: 1}"))
        .workers(3)
        .start();
    std::thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| (0..10).for_each(|_| drop(callers.get("down"))));
        }
    });
    assert_eq!(script.count(), 60 + 10);
}

#[test]
fn without_budget_an_attempt_out_of_time_is_the_answer() {
    let script = Script::new("503 503 503 503 503 503 503 503 503 503 503 503 503 503 503 hang");
    let backend = script.serve();
    let policy = retry("perTryTimeout: 150ms, budget: {ratio: 1, minPerSecond: 1}");
    let callers =
        Services::bare().service("down", &[backend.address]).policy("down", &policy).start();
    // Five requests spend it: each is three calls.
    for _ in 0..5 {
        assert_eq!(callers.get("down").status(), 503);
    }
    let answer = callers.get("down");
    assert_eq!((answer.status(), answer.reason()), (504, Some("per-try-timeout")));
    assert_eq!(script.count(), 16);
    let denied = callers.outbound.metric("outrigger_retries_total", &["service=\"down.default"]);
    assert!(denied >= 10.0, "{denied}");
}
