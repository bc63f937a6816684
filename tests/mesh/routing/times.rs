//! Time limits and retries that a route sets itself, and how they stand to a policy's.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::harness::yaml::{http_route, policy, service, workload};
use crate::harness::{Afloat, App, Lone, get, post};

/// `echo` before one app, with these documents.
fn before(app: &App, documents: &str) -> Afloat {
    let yaml = service("echo") + &workload("echo", "echo", app.address) + documents;
    Lone::with(&yaml).start()
}

/// Answers after as many milliseconds as the path says.
fn slow() -> App {
    App::http(|request| {
        let ms = request.target().trim_start_matches(|c: char| !c.is_ascii_digit());
        thread::sleep(Duration::from_millis(ms.parse().unwrap_or(0)));
        App::answer("ok")
    })
}

const TIMES: &str = "
- matches: [{path: {value: /request}}]
  timeouts: {request: 1s}
  backendRefs: [{name: echo, port: 80}]
- matches: [{path: {value: /backend}}]
  timeouts: {request: 9s, backendRequest: 1s}
  backendRefs: [{name: echo, port: 80}]
- matches: [{path: {value: /zero}}]
  timeouts: {request: 0s}
  backendRefs: [{name: echo, port: 80}]
- backendRefs: [{name: echo, port: 80}]
";

#[test]
fn a_request_that_takes_longer_than_its_rule_allows_ends_with_504() {
    let app = slow();
    let caller = before(&app, &http_route("echo", TIMES));
    assert_eq!(caller.ask(get("/request/0")).status(), 200);
    let begun = Instant::now();
    let answer = caller.ask(get("/request/5000"));
    assert_eq!((answer.status(), answer.reason()), (504, Some("request-timeout")));
    let took = begun.elapsed();
    assert!((980..4000).contains(&took.as_millis()), "{took:?}");
}

#[test]
fn an_attempt_that_takes_longer_than_its_rule_allows_ends_with_504() {
    let app = slow();
    let caller = before(&app, &http_route("echo", TIMES));
    assert_eq!(caller.ask(get("/backend/0")).status(), 200);
    let begun = Instant::now();
    let answer = caller.ask(post("/backend/5000", b"1"));
    let reason = answer.reason();
    assert_eq!(answer.status(), 504);
    assert!(matches!(reason, Some("per-try-timeout" | "response-timeout")), "{reason:?}");
    let took = begun.elapsed();
    assert!((980..4000).contains(&took.as_millis()), "{took:?}");
    assert_eq!(app.begun(), 2, "it is not tried again unless something says so");
}

#[test]
fn an_attempts_limit_counts_to_the_last_byte() {
    let app = App::raw(|mut wire| {
        while wire.message(false).is_ok() {
            wire.send("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nab");
            thread::sleep(Duration::from_secs(5));
            let _ = wire.try_send("cd");
        }
    });
    let caller = before(&app, &http_route("echo", TIMES));
    for path in ["/request", "/backend"] {
        let begun = Instant::now();
        let mut wire = caller.connect();
        wire.send(get(path));
        let end = wire.message(false);
        let took = begun.elapsed();
        assert!(end.is_err(), "{path}: a whole answer: {end:?}");
        assert!(took < Duration::from_secs(4), "{path}: {took:?}");
    }
}

#[test]
fn a_rules_limit_goes_over_the_policys_and_zero_switches_it_off() {
    let app = slow();
    let limit = policy("echo", "timeouts: {request: 3s}");
    let caller = before(&app, &(http_route("echo", TIMES) + &limit));
    for (path, status) in [("/zero/3500", 200), ("/else/5000", 504), ("/backend/100", 200)] {
        assert_eq!(caller.ask(get(path)).status(), status, "{path}");
    }
    let begun = Instant::now();
    assert_eq!(caller.ask(get("/request/5000")).reason(), Some("request-timeout"));
    assert!(begun.elapsed() < Duration::from_millis(2500), "{:?}", begun.elapsed());
}

/// Answers each path so many times with a status, as its name says: `/fail-503-2`; then 200.
fn failing() -> (App, Arc<AtomicUsize>) {
    let tries = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&tries);
    let app = App::http(move |request| {
        let tried = count.fetch_add(1, Ordering::SeqCst);
        let mut words = request.target().split('-').skip(1);
        let status = words.next().unwrap_or("503");
        let times: usize = words.next().and_then(|times| times.parse().ok()).unwrap_or(0);
        if tried < times {
            return format!("HTTP/1.1 {status} No\r\ncontent-length: 0\r\n\r\n").into_bytes();
        }
        App::answer("ok")
    });
    (app, tries)
}

/// (request, what the caller sees, how often the app was asked)
#[track_caller]
fn tried(caller: &Afloat, tries: &AtomicUsize, cases: &[(Vec<u8>, u16, usize)]) {
    for (request, status, expected) in cases {
        tries.store(0, Ordering::SeqCst);
        let seen = caller.ask(request).status();
        let text = String::from_utf8_lossy(request);
        assert_eq!((seen, tries.load(Ordering::SeqCst)), (*status, *expected), "{text}");
    }
}

#[test]
fn a_rule_says_which_statuses_are_tried_again_and_how_often() {
    let rules = "
- retry: {codes: [500, 503], attempts: 3, backoff: 10ms}
  backendRefs: [{name: echo, port: 80}]
";
    let (app, tries) = failing();
    let caller = before(&app, &http_route("echo", rules));
    tried(
        &caller,
        &tries,
        &[
            (get("/fail-503-2").into(), 200, 3),
            (get("/fail-500-3").into(), 200, 4),
            (get("/fail-503-9").into(), 503, 4),
            (get("/fail-502-1").into(), 502, 1),
            // The guard of methods stands.
            (post("/fail-503-2", b"1"), 503, 1),
        ],
    );
}

#[test]
fn a_rules_retries_go_over_the_policys() {
    let rules = "
- matches: [{path: {value: /}, headers: [{name: own, value: 'yes'}]}]
  retry: {codes: [503], attempts: 1, backoff: 10ms}
  backendRefs: [{name: echo, port: 80}]
- backendRefs: [{name: echo, port: 80}]
";
    let three = policy(
        "echo",
        "retry: {maxRetries: 3, statusCodes: [503], backoff: {base: 10ms, max: 20ms}}",
    );
    let (app, tries) = failing();
    let caller = before(&app, &(http_route("echo", rules) + &three));
    let own = |path| crate::harness::get_with(path, "Own: yes\r\n").into_bytes();
    tried(
        &caller,
        &tries,
        &[
            (get("/fail-503-3").into(), 200, 4),
            (own("/fail-503-1"), 200, 2),
            (own("/fail-503-3"), 503, 2),
        ],
    );
}

#[test]
fn the_pause_between_tries_is_as_long_as_the_rule_says() {
    let rules = "
- retry: {codes: [503], attempts: 2, backoff: 400ms}
  backendRefs: [{name: echo, port: 80}]
";
    let (app, tries) = failing();
    let caller = before(&app, &http_route("echo", rules));
    // Jittered, so that only the sum of several says anything: 25 to 250 ms would be the default.
    let begun = Instant::now();
    for _ in 0..3 {
        tried(&caller, &tries, &[(get("/fail-503-2").into(), 200, 3)]);
    }
    let took = begun.elapsed();
    assert!(took > Duration::from_millis(350), "six pauses took {took:?}");
}
