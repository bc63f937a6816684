//! A second attempt beside one that takes long: the first answer counts, the other is given up.

use std::time::{Duration, Instant};

use super::table::{Outcome, play, play_each_way, row};
use crate::harness::{Script, Services, eventually};

#[test]
fn a_slow_attempt_gets_company() {
    let fast = |outcome: &Outcome| outcome.took_between(90, 8000);
    play_each_way(vec![
        row("after a fixed time")
            .policy("hedge: {after: 100ms, maxExtra: 1}")
            .script("hang ok")
            .endpoints(2)
            .calls(2)
            .check(|outcome| {
                outcome.took_between(90, 8000);
                let pauses = outcome.pauses();
                assert!(pauses[0] >= 60, "{pauses:?}");
                assert_ne!(outcome.calls[0].endpoint, outcome.calls[1].endpoint);
            }),
        row("once unless said more")
            .policy("hedge: {after: 100ms}\ntimeouts: {request: 2s}")
            .script("hang")
            .endpoints(3)
            .is(504)
            .because("request-timeout")
            .calls(2),
        row("twice")
            .policy("hedge: {after: 100ms, maxExtra: 2}")
            .script("hang hang ok")
            .endpoints(3)
            .calls(3)
            .check(fast),
        row("on the only endpoint, too")
            .policy("hedge: {after: 100ms, maxExtra: 1}")
            .script("hang ok")
            .calls(2)
            .check(fast),
        row("the first one may win")
            .policy("hedge: {after: 100ms, maxExtra: 1}")
            .script("ok~1500 hang")
            .endpoints(2)
            .calls(2)
            .check(|outcome| outcome.took_between(1490, 8000)),
        row("with its body")
            .policy("hedge: {after: 100ms, maxExtra: 1}")
            .script("hang ok")
            .method("PUT")
            .body(5000)
            .calls(2)
            .check(|outcome| {
                assert!(outcome.calls[0].request.body == outcome.calls[1].request.body);
                assert_eq!(outcome.calls[1].request.body.len(), 5000);
            }),
        row("none without a word").script("ok~500").endpoints(2),
    ]);
}

#[test]
fn only_what_may_be_done_twice() {
    let hedge = "hedge: {after: 100ms, maxExtra: 1}";
    let late = "hedge: {after: 800ms, maxExtra: 1}";
    play(vec![
        row("no POST").policy(hedge).script("ok~500").endpoints(2).method("POST").body(10),
        row("no POST that may be retried")
            .policy(format!("{hedge}\nretry: {{methods: any}}"))
            .script("ok~500")
            .endpoints(2)
            .method("POST")
            .body(10),
        row("nothing that a hop before repeated")
            .policy(hedge)
            .script("ok~500")
            .endpoints(2)
            .line("x-outrigger-attempt: 2"),
        row("a PUT where nothing is retried")
            .policy(format!("{hedge}\nretry: {{maxRetries: 0}}"))
            .script("hang ok")
            .endpoints(2)
            .method("PUT")
            .body(10)
            .calls(2),
        row("no PATCH").policy(hedge).script("ok~500").endpoints(2).method("PATCH").body(10),
        row("a DELETE").policy(hedge).script("ok~1500").endpoints(2).method("DELETE").calls(2),
        row("nothing that is an answer already").policy(late).script("drip:200").endpoints(2),
        row("nothing that is quick").policy(late).script("ok~20").endpoints(2),
    ]);
}

#[test]
fn the_loser_is_given_up_at_once() {
    for services in [Services::bare(), Services::paired()] {
        let script = Script::new("hang ok");
        let backends = [script.serve(), script.serve()];
        let callers = services
            .service("two", &backends.each_ref().map(|backend| backend.address))
            .policy("two", "hedge: {after: 100ms, maxExtra: 1}")
            .start();
        assert_eq!(callers.get("two").status(), 200);
        let answered = Instant::now();
        eventually("the slow one sees its caller leave", || script.left() == 1);
        let after = answered.elapsed();
        assert!(after < Duration::from_secs(8), "{after:?}");
        assert_eq!(callers.state(backends[0].address), "ready");
        assert_eq!(callers.state(backends[1].address), "ready");
    }
}

const QUICK: usize = 200;

#[test]
fn the_95th_percentile_says_what_takes_long() {
    let slow = (0..5).find_map(|_| slow_after_many_quick_ones());
    let slow = slow.expect("the slow call is once a first attempt");
    assert!(slow < Duration::from_millis(1500), "the slow one took {slow:?}");
}

/// How long the request took that came upon the one slow call after many quick ones; `None` when
/// that call was itself the company of a quick one.
fn slow_after_many_quick_ones() -> Option<Duration> {
    let script = Script::new(&format!("{} ok~3000 ok", "ok ".repeat(QUICK)));
    let backends = [script.serve(), script.serve()];
    let budget = "retry: {budget: {ratio: 100, minPerSecond: 100}}";
    let callers = Services::bare()
        .service("two", &backends.each_ref().map(|backend| backend.address))
        .policy("two", &format!("hedge: {{after: p95, maxExtra: 1}}\n{budget}"))
        .start();
    let ask = || {
        let begun = Instant::now();
        assert_eq!(callers.get("two").status(), 200);
        begun.elapsed()
    };
    // Some of the quick ones are hedged as well: one in twenty, more or less.
    while script.count() < QUICK - 20 {
        ask();
    }
    // What is known of the latency may be a moment old.
    std::thread::sleep(Duration::from_millis(500));
    let slow = loop {
        let before = script.count();
        let took = ask();
        if script.count() > QUICK {
            break (before == QUICK).then_some(took)?;
        }
    };
    eventually("it was hedged", || script.count() >= QUICK + 2);
    Some(slow)
}

#[test]
fn company_is_counted_in_the_retry_budget() {
    let script = Script::new("ok~2000");
    let backend = script.serve();
    let callers = Services::bare()
        .service("slow", &[backend.address])
        .policy(
            "slow",
            "hedge: {after: 50ms, maxExtra: 1}\nretry: {budget: {ratio: 1, minPerSecond: 1}}",
        )
        .start();
    std::thread::scope(|scope| {
        for _ in 0..20 {
            scope.spawn(|| assert_eq!(callers.get("slow").status(), 200));
        }
    });
    assert_eq!(script.count(), 20 + 10);
}
