//! An `HTTPRoute`'s own `retry` and `timeouts`: they win over the policy of the service.

use super::table::{Outcome, Row, play, play_each_way, row};

/// A rule for everything, with these fields more.
fn rule(name: &str, fields: &str) -> Row {
    row(name).route(format!("- backendRefs: [SELF]\n  {fields}"))
}

#[test]
fn a_rule_says_what_is_retried() {
    play_each_way(vec![
        rule("a code on its list", "retry: {codes: [500], backoff: 1ms}").script("500 ok").calls(2),
        rule("a code off its list", "retry: {codes: [500], backoff: 1ms}").script("503 ok").is(503),
        rule("more attempts than the policy's", "retry: {codes: [500], attempts: 4, backoff: 1ms}")
            .retry("on: [5xx], maxRetries: 1")
            .script("500 500 500 500 ok")
            .calls(5),
        rule(
            "fewer attempts than the policy's",
            "retry: {codes: [500], attempts: 1, backoff: 1ms}",
        )
        .retry("on: [5xx], maxRetries: 5")
        .script("500 500 ok")
        .is(500)
        .calls(2),
        rule("not what only the policy would retry", "retry: {codes: [500], backoff: 1ms}")
            .retry("on: [gateway-error]")
            .script("503 ok")
            .is(503),
        rule("the method still guards", "retry: {codes: [500], backoff: 1ms}")
            .script("500 ok")
            .method("POST")
            .is(500),
        rule("a rule without a word leaves it to the policy", "timeouts: {request: 5s}")
            .retry("on: [5xx]")
            .script("503 ok")
            .calls(2),
    ]);
}

#[test]
fn a_rule_says_how_long_to_pause() {
    let paused = |outcome: &Outcome| {
        let pauses = outcome.pauses();
        assert!(pauses.iter().all(|ms| *ms >= 199), "{pauses:?}");
    };
    play(vec![
        rule("at least so long", "retry: {codes: [500], attempts: 2, backoff: 200ms}")
            .script("500 500 ok")
            .calls(3)
            .check(paused),
        rule("longer than the policy's", "retry: {codes: [500], backoff: 200ms}")
            .retry("on: [5xx]")
            .script("500 ok")
            .calls(2)
            .check(paused),
    ]);
}

#[test]
fn a_rule_says_how_long_it_may_take() {
    play_each_way(vec![
        rule("a request", "timeouts: {request: 250ms}")
            .script("hang")
            .is(504)
            .because("request-timeout")
            .check(|outcome| outcome.took_between(230, 7000)),
        rule("shorter than the policy's", "timeouts: {request: 250ms}")
            .policy("timeouts: {request: 8s}")
            .script("hang")
            .is(504)
            .because("request-timeout")
            .check(|outcome| outcome.took_between(230, 7000)),
        rule("longer than the policy's", "timeouts: {request: 8s}")
            .policy("timeouts: {request: 200ms}")
            .script("ok~500"),
        rule("zero is off", "timeouts: {request: 0s}")
            .policy("timeouts: {request: 200ms}")
            .script("ok~500"),
        rule("an attempt", "timeouts: {request: 5s, backendRequest: 250ms}")
            .script("hang")
            .is(504)
            .because("per-try-timeout")
            .check(|outcome| outcome.took_between(230, 7000)),
        rule("an attempt to its last byte", "timeouts: {backendRequest: 1s}")
            .script("drip:400")
            .breaks()
            .check(|outcome| outcome.took_between(980, 3900)),
        rule(
            "each attempt anew",
            "timeouts: {request: 9s, backendRequest: 2s}\n  retry: {codes: [503], backoff: 1ms}",
        )
        .script("503~1200 ok~1200")
        .calls(2),
    ]);
}

#[test]
fn the_other_rules_of_a_route_are_not_meant() {
    let two = "- name: slow\n  matches: [{path: {type: Exact, value: /slow}}]\n  backendRefs: [SELF]\n  \
               timeouts: {request: 100ms}\n  retry: {codes: [500]}\n- backendRefs: [SELF]";
    play(vec![
        row("its time").route(two).script("ok~400"),
        row("its retries").route(two).script("500 ok").is(500),
    ]);
}
