//! Which failures are tried again, for which methods, how often, and what the caller sees of it.

use super::table::{Outcome, play, play_each_way, row};

#[test]
fn each_word_of_on_names_its_failures() {
    play_each_way(vec![
        row("unasked, an error of the app is passed on").script("503 ok").is(503),
        row("unasked, a reset before the answer is retried").script("reset ok").calls(2),
        row("unasked, a clean end before the answer is retried").script("close ok").calls(2),
        row("half a head is no answer yet").script("half-head ok").calls(2),
        row("5xx has 500").retry("on: [5xx]").script("500 ok").calls(2),
        row("5xx has 501").retry("on: [5xx]").script("501 ok").calls(2),
        row("5xx has 503").retry("on: [5xx]").script("503 ok").calls(2),
        row("5xx has 599").retry("on: [5xx]").script("599 ok").calls(2),
        row("5xx has no 404").retry("on: [5xx]").script("404 ok").is(404),
        row("5xx has no 429").retry("on: [5xx]").script("429 ok").is(429),
        row("5xx has a reset").retry("on: [5xx]").script("reset ok").calls(2),
        row("5xx has a clean end").retry("on: [5xx]").script("close ok").calls(2),
        row("gateway-error has 502").retry("on: [gateway-error]").script("502 ok").calls(2),
        row("gateway-error has 503").retry("on: [gateway-error]").script("503 ok").calls(2),
        row("gateway-error has 504").retry("on: [gateway-error]").script("504 ok").calls(2),
        row("gateway-error has no 500").retry("on: [gateway-error]").script("500 ok").is(500),
        row("gateway-error has no 505").retry("on: [gateway-error]").script("505 ok").is(505),
        row("retriable-4xx has 409").retry("on: [retriable-4xx]").script("409 ok").calls(2),
        row("retriable-4xx has no 400").retry("on: [retriable-4xx]").script("400 ok").is(400),
        row("retriable-4xx has no 429").retry("on: [retriable-4xx]").script("429 ok").is(429),
        row("retriable-4xx has no 503").retry("on: [retriable-4xx]").script("503 ok").is(503),
        row("retriable-4xx has no reset")
            .retry("on: [retriable-4xx]")
            .script("reset ok")
            .is(502)
            .because("upstream-reset"),
        row("reset has a reset").retry("on: [reset]").script("reset ok").calls(2),
        row("reset has a clean end").retry("on: [reset]").script("close ok").calls(2),
        row("reset has no 503").retry("on: [reset]").script("503 ok").is(503),
        row("connect-failure has no reset")
            .retry("on: [connect-failure]")
            .script("reset ok")
            .is(502)
            .because("upstream-reset"),
        row("several words add up").retry("on: [5xx, retriable-4xx]").script("409 500 ok").calls(3),
    ]);
}

#[test]
fn status_codes_are_single_ones_and_ranges() {
    let codes = r#"statusCodes: [418, "520-529"]"#;
    play(vec![
        row("a single code").retry(codes).script("418 ok").calls(2),
        row("its neighbour").retry(codes).script("417 ok").is(417),
        row("the first of a range").retry(codes).script("520 ok").calls(2),
        row("inside a range").retry(codes).script("525 ok").calls(2),
        row("the last of a range").retry(codes).script("529 ok").calls(2),
        row("before a range").retry(codes).script("519 ok").is(519),
        row("after a range").retry(codes).script("530 ok").is(530),
        row("what is retried anyway still is").retry(codes).script("reset ok").calls(2),
        row("without on, only the codes")
            .retry("on: [connect-failure], statusCodes: [418]")
            .script("reset ok")
            .is(502)
            .because("upstream-reset"),
        row("even a code of success").retry("statusCodes: [202]").script("202 ok").calls(2),
    ]);
}

#[test]
fn a_retry_goes_to_an_endpoint_that_was_not_tried() {
    let apart = |outcome: &Outcome| {
        let mut at: Vec<_> = outcome.calls.iter().map(|call| call.endpoint).collect();
        at.sort();
        at.dedup();
        assert_eq!(at.len(), outcome.calls.len(), "{at:?}");
    };
    let mut rows: Vec<_> = (2..=4)
        .map(|count| {
            row(format!("{count} endpoints, each once"))
                .retry("on: [5xx], maxRetries: 3")
                .script(format!("{}ok", "503 ".repeat(count - 1)))
                .endpoints(count)
                .calls(count)
                .check(apart)
        })
        .collect();
    rows.push(row("a single one is tried again").retry("on: [5xx]").script("503 503 ok").calls(3));
    rows.push(
        row("after all were tried, any")
            .retry("on: [5xx], maxRetries: 3")
            .script("503 503 503 ok")
            .endpoints(2)
            .calls(4),
    );
    play_each_way(rows);
}

#[test]
fn an_endpoint_that_refuses_costs_no_request_whatever_its_method() {
    let rows = ["GET", "POST", "PATCH", "DELETE", "POST", "PATCH"].map(|method| {
        row(format!("{method} past an endpoint that refuses"))
            .script("ok")
            .refusing(1)
            .method(method)
            .body(10)
            .check(|outcome| assert_eq!(outcome.last().request.body.len(), 10))
    });
    play_each_way(rows.into());
}

#[test]
fn retries_end_and_the_caller_sees_the_last_answer() {
    play_each_way(vec![
        row("two unless said")
            .retry("on: [5xx]")
            .script("500 501 503 ok")
            .is(503)
            .calls(3)
            .check(|outcome| assert_eq!(outcome.answer().text(), "503 of call 3")),
        row("one").retry("on: [5xx], maxRetries: 1").script("500 503 ok").is(503).calls(2),
        row("five").retry("on: [5xx], maxRetries: 5").script("500 500 500 500 500 ok").calls(6),
        row("its headers too")
            .retry("on: [5xx], maxRetries: 1")
            .script("503{x-call:first} 500{x-call:second}")
            .is(500)
            .calls(2)
            .check(|outcome| assert_eq!(outcome.answer().header("x-call"), Some("second"))),
        row("what isn't retriable ends it")
            .retry("on: [5xx]")
            .script("503 404 ok")
            .is(404)
            .calls(2),
        row("an answer, though the attempt after it has none")
            .retry("on: [5xx], maxRetries: 1")
            .script("503{connection:close} reset")
            .is(503)
            .calls(2)
            .check(|outcome| assert_eq!(outcome.answer().text(), "503 of call 1")),
        row("no answer at last").script("reset").is(502).because("upstream-reset").calls(3),
    ]);
}

#[test]
fn an_answer_that_began_is_never_retried() {
    play_each_way(vec![
        row("a body that is reset")
            .retry("on: [5xx, reset, gateway-error]")
            .script("cut ok")
            .breaks()
            .check(|outcome| assert!(outcome.took.as_secs() < 8, "{:?}", outcome.took)),
        row("a head that came in time keeps its body")
            .retry("on: [reset], perTryTimeout: 1s")
            .script("drip:200 ok")
            .check(|outcome| assert_eq!(outcome.answer().text(), "0123456789")),
    ]);
}

#[test]
fn methods_decide_what_may_be_done_twice() {
    let idempotent = ["GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"];
    let mut rows: Vec<_> = idempotent
        .map(|method| {
            row(format!("{method} is idempotent"))
                .retry("on: [5xx]")
                .script("503 ok")
                .method(method)
                .calls(2)
        })
        .into();
    for method in ["POST", "PATCH", "LINK"] {
        rows.push(
            row(format!("{method} is not"))
                .retry("on: [5xx]")
                .script("503 ok")
                .method(method)
                .is(503),
        );
        rows.push(
            row(format!("{method} where any is"))
                .retry("on: [5xx], methods: any")
                .script("503 ok")
                .method(method)
                .calls(2),
        );
        rows.push(
            row(format!("{method} reset before the answer"))
                .script("reset ok")
                .method(method)
                .is(502)
                .because("upstream-reset"),
        );
    }
    let list = "on: [5xx], methods: [POST, PUT]";
    rows.push(row("POST on a list").retry(list).script("503 ok").method("POST").calls(2));
    rows.push(row("GET off the list").retry(list).script("503 ok").is(503));
    rows.push(row("DELETE off the list").retry(list).script("503 ok").method("DELETE").is(503));
    rows.push(
        row("idempotent by its name")
            .retry("on: [5xx], methods: idempotent")
            .script("503 ok")
            .method("POST")
            .is(503),
    );
    play(rows);
}

#[test]
fn a_retry_says_that_it_is_one() {
    const TRACE: &str = "Traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    play_each_way(vec![
        row("the first attempt says nothing").line(TRACE).check(|outcome| {
            assert_eq!(outcome.last().header("x-outrigger-attempt"), None);
            let state = outcome.last().header("tracestate").unwrap_or_default();
            assert!(!state.contains("or=a"), "{state:?}");
        }),
        row("the second").retry("on: [5xx]").script("503 ok").line(TRACE).calls(2).check(
            |outcome| {
                assert_eq!(outcome.calls[0].header("x-outrigger-attempt"), None);
                assert_eq!(outcome.last().header("x-outrigger-attempt"), Some("2"));
                let state = outcome.last().header("tracestate").unwrap_or_default();
                assert!(state.contains("or=a:2"), "{state:?}");
            },
        ),
        row("the third").retry("on: [5xx]").script("503 503 ok").line(TRACE).calls(3).check(
            |outcome| {
                assert_eq!(outcome.last().header("x-outrigger-attempt"), Some("3"));
                let state = outcome.last().header("tracestate").unwrap_or_default();
                assert!(state.contains("or=a:3") && !state.contains("or=a:2"), "{state:?}");
            },
        ),
        row("others' trace state stays")
            .retry("on: [5xx]")
            .script("503 ok")
            .line(TRACE)
            .line("Tracestate: rojo=00f067aa0ba902b7,congo=t61rcWkgMzE")
            .calls(2)
            .check(|outcome| {
                let state = outcome.last().header("tracestate").unwrap_or_default();
                for part in ["or=a:2", "rojo=00f067aa0ba902b7", "congo=t61rcWkgMzE"] {
                    assert!(state.contains(part), "no {part} in {state:?}");
                }
            }),
        row("and makes no retry of a request")
            .retry("on: [5xx]")
            .script("503 ok")
            .line(TRACE)
            .line("Tracestate: xor=a:2")
            .calls(2),
        row("a request that is a retry is not retried")
            .retry("on: [5xx]")
            .script("503 ok")
            .line("X-Outrigger-Attempt: 2")
            .is(503),
        row("nor one whose trace state says so")
            .retry("on: [5xx]")
            .script("503 ok")
            .line(TRACE)
            .line("Tracestate: rojo=1,or=a:2")
            .is(503),
        row("nor for a reset")
            .script("reset ok")
            .line("X-Outrigger-Attempt: 3")
            .is(502)
            .because("upstream-reset"),
    ]);
}

#[test]
fn an_attempt_has_its_own_time_while_another_may_follow() {
    let on_reset = "on: [reset], perTryTimeout: 1s";
    play_each_way(vec![
        row("no answer in time is retried")
            .retry(on_reset)
            .script("hang ok")
            .calls(2)
            .check(|outcome| outcome.took_between(990, 9000)),
        row("on another endpoint")
            .retry(on_reset)
            .script("hang ok")
            .endpoints(2)
            .calls(2)
            .check(|outcome| assert_ne!(outcome.calls[0].endpoint, outcome.calls[1].endpoint)),
        row("5xx has no answer in time")
            .retry("on: [5xx], perTryTimeout: 1s")
            .script("hang ok")
            .calls(2),
        row("the last attempt is waited for")
            .retry(&format!("{on_reset}, maxRetries: 1"))
            .script("hang ok~1500")
            .calls(2)
            .check(|outcome| outcome.took_between(2490, 12_000)),
        row("and so is one that may not be repeated")
            .retry(on_reset)
            .script("ok~1500")
            .method("POST")
            .body(10),
        row("without one, an attempt takes its time").retry("on: [reset]").script("ok~700"),
    ]);
}
