//! What answers when the service can't: another service, or a fixed answer.

use std::sync::Arc;

use super::table::{AT_ONCE_AGAIN, play_each_way, row};
use crate::harness::{Backend, Callers, Script, Services, pattern, refused_address};

const FIXED: &str = "fallback: {response: {status: 203, headers: {x-from: the-mesh, x-more: \"1\"}, body: \"sorry\"}}";

#[test]
fn a_fixed_answer_stands_in() {
    play_each_way(vec![
        row("for no endpoint")
            .policy(FIXED)
            .endpoints(0)
            .is(203)
            .because("no-endpoints")
            .calls(0)
            .check(|outcome| {
                assert_eq!(outcome.answer().text(), "sorry");
                assert_eq!(outcome.answer().header("x-from"), Some("the-mesh"));
                assert_eq!(outcome.answer().header("x-more"), Some("1"));
            }),
        row("for endpoints that refuse")
            .policy(FIXED)
            .endpoints(0)
            .refusing(2)
            .is(203)
            .because("connect-failure")
            .calls(0)
            .check(|outcome| assert_eq!(outcome.answer().text(), "sorry")),
        row("for an app that answers 503")
            .policy(FIXED)
            .script("503")
            .is(203)
            .check(|outcome| assert_eq!(outcome.answer().text(), "sorry")),
        row("after the retries, not before")
            .policy(format!("{FIXED}\nretry: {{on: [5xx], maxRetries: 2, {AT_ONCE_AGAIN}}}"))
            .script("503 503 503 ok")
            .is(203)
            .calls(3),
        row("not when a retry helps")
            .policy(format!("{FIXED}\nretry: {{on: [5xx], {AT_ONCE_AGAIN}}}"))
            .script("503 ok")
            .calls(2),
        row("for a POST, too").policy(FIXED).script("503").method("POST").body(1000).is(203),
        row("not for a POST's error of another kind")
            .policy(FIXED)
            .script("500")
            .method("POST")
            .body(10)
            .is(500),
        row("not for what is not there").policy(FIXED).script("404").is(404),
        row("not for an answer").policy(FIXED).script("202").is(202),
        row("200 unless said").policy("fallback: {response: {body: hello}}").script("503").check(
            |outcome| {
                assert_eq!(outcome.answer().text(), "hello");
            },
        ),
        row("to a HEAD without its body").policy(FIXED).script("503").method("HEAD").is(203),
        row("none without a word").script("503").is(503),
    ]);
}

/// A service that can't answer, and the one that does in its place.
struct Stead {
    callers: Callers,
    stead: Arc<Script>,
    _backends: Vec<Backend>,
}

fn stead(services: Services, endpoints: &[std::net::SocketAddr], policy: &str) -> Stead {
    let stead = Script::new("200{x-stead:yes}");
    let backend = stead.serve();
    let callers = services
        .service("api", endpoints)
        .policy("api", &format!("fallback: {{service: api-static}}\n{policy}"))
        .service("api-static", &[backend.address])
        .start();
    Stead { callers, stead, _backends: vec![backend] }
}

impl Stead {
    #[track_caller]
    fn answers(&self, calls: usize) {
        let answer = self.callers.get("api");
        assert_eq!((answer.status(), answer.reason()), (200, None), "{}", answer.text());
        assert_eq!(answer.header("x-stead"), Some("yes"));
        assert_eq!(self.stead.count(), calls);
    }
}

#[test]
fn another_service_stands_in() {
    for services in [Services::bare as fn() -> Services, Services::paired] {
        stead(services(), &[], "").answers(1);
        stead(services(), &[refused_address()], "").answers(1);
        let down = Script::new("503").serve();
        stead(services(), &[down.address], "").answers(1);
    }
}

#[test]
fn a_payment_that_an_app_may_have_seen_is_asked_of_nobody_else() {
    for services in [Services::bare as fn() -> Services, Services::paired] {
        for (step, status) in [("reset", 502), ("503", 503), ("502", 502)] {
            let app = Script::new(step);
            let backend = app.serve();
            let stead = stead(services(), &[backend.address], "");
            assert_eq!(stead.callers.post("api").status(), status, "{step}");
            assert_eq!((app.count(), stead.stead.count()), (1, 0), "{step}");
        }
        let stead = stead(services(), &[refused_address()], "");
        assert_eq!(stead.callers.post("api").status(), 200, "nobody saw it");
    }
}

#[test]
fn a_rule_without_a_backend_has_its_fallback() {
    let stead = Script::new("200{x-stead:yes}");
    let backend = stead.serve();
    let callers = Services::bare()
        .service("api", &[])
        .policy("api", "fallback: {service: api-static}")
        .route("api", "- {matches: [{path: {value: /}}]}")
        .service("api-static", &[backend.address])
        .start();
    assert_eq!(callers.get("api").header("x-stead"), Some("yes"));
}

#[test]
fn another_service_stands_in_for_an_open_circuit() {
    let down = Script::new("503");
    let backend = down.serve();
    let circuit = "circuitBreaker: {consecutiveFailures: 2, minReadyEndpoints: 0, openFor: 30s}";
    let stead = stead(Services::bare(), &[backend.address], circuit);
    for calls in 1..=6 {
        stead.answers(calls);
    }
    assert_eq!(down.count(), 2, "calls to the service that is down");
}

#[test]
fn it_is_not_asked_while_the_service_answers() {
    let up = Script::new("ok 404 500 ok").serve();
    let stead = stead(Services::bare(), &[up.address], "");
    for status in [200, 404, 500, 200] {
        assert_eq!(stead.callers.get("api").status(), status);
    }
    assert_eq!(stead.stead.count(), 0);
}

#[test]
fn it_gets_the_whole_request() {
    let down = Script::new("503").serve();
    let stead = stead(Services::bare(), &[refused_address(), down.address], "");
    let body = pattern(20_000);
    let head = "PUT /a/b?c=d HTTP/1.1\r\nX-Kept: 1\r\nContent-Length: 20000\r\n\r\n";
    let answer = stead.callers.ask("api", [head.as_bytes(), &body].concat());
    assert_eq!(answer.status(), 200);
    let request = stead.stead.calls()[0].request.clone();
    assert_eq!((request.method(), request.target()), ("PUT", "/a/b?c=d"));
    assert_eq!(request.header("x-kept"), Some("1"));
    assert!(request.body == body, "{} bytes", request.body.len());
}

#[test]
fn one_that_is_down_as_well_is_the_answer() {
    let callers = Services::bare()
        .service("api", &[])
        .policy("api", "fallback: {service: api-static}")
        .service("api-static", &[])
        .policy("api-static", "fallback: {service: api}")
        .start();
    let answer = callers.get("api");
    assert_eq!((answer.status(), answer.reason()), (503, Some("no-endpoints")));
}

#[test]
fn metrics_and_log_say_what_happened() {
    let stead = stead(Services::bare(), &[], "");
    stead.answers(1);
    let entry = stead.callers.outbound.await_entry("/");
    assert_eq!(entry["status"], 200, "{entry}");
    assert!(entry["service"].as_str().is_some_and(|name| name.contains("api")), "{entry}");
}
