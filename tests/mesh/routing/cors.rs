//! Cross-origin requests: what the sidecar answers itself, and what it adds to the app's answers.

use crate::harness::yaml::http_route;
use crate::harness::{Echoes, Lone, Row, row, table};

const RULES: &str = "
- matches: [{path: {value: /listed}}]
  filters:
  - type: CORS
    cors:
      allowOrigins: ['https://www.foo.com', 'https://*.bar.com']
      allowMethods: [GET, OPTIONS]
      allowHeaders: [x-header-1, x-header-2]
      exposeHeaders: [x-header-3, x-header-4]
      allowCredentials: true
      maxAge: 3600
  backendRefs: [{name: v1, port: 80}]
- matches: [{path: {value: /methods}}]
  filters: [{type: CORS, cors: {allowOrigins: ['https://www.foo.com'], allowMethods: ['*']}}]
  backendRefs: [{name: v1, port: 80}]
- matches: [{path: {value: /any}}]
  filters: [{type: CORS, cors: {allowOrigins: ['*'], allowMethods: [PUT]}}]
  backendRefs: [{name: v1, port: 80}]
- matches: [{path: {value: /auth}}]
  filters:
  - type: CORS
    cors: {allowOrigins: ['*'], allowMethods: ['*'], allowHeaders: ['*'], allowCredentials: true}
  backendRefs: [{name: v1, port: 80}]
- backendRefs: [{name: v2, port: 80}]
";

const FOO: &str = "Origin: https://www.foo.com";
const BAR: &str = "Origin: https://www.bar.com";
const DEEP_BAR: &str = "Origin: https://xpto.www.bar.com";
const STRANGER: &str = "Origin: https://foobar.com";
const GET: &str = "access-control-request-method: GET";
const PUT: &str = "access-control-request-method: PUT";
const HEADERS: &str = "access-control-request-headers: x-header-1, x-header-2";
const ORIGIN: &str = "access-control-allow-origin";

#[track_caller]
fn judged(rows: &[Row]) {
    let echoes = Echoes::four();
    let caller = Lone::with(&echoes.with(&http_route("echo", RULES))).start();
    table(caller.echo(), &echoes, rows);
}

/// A preflight request, which reaches no app.
fn preflight(line: &'static str, origin: &'static str, method: &'static str) -> Row {
    row(line).with(origin).with(method).answered(&[200, 204])
}

#[test]
fn a_preflight_request_of_a_listed_origin_is_told_everything() {
    let told = |origin, allowed| {
        preflight("OPTIONS /listed", origin, GET)
            .with(HEADERS)
            .told(allowed)
            .told("access-control-allow-methods: GET, OPTIONS")
            .told("access-control-allow-headers: x-header-1, x-header-2")
            .told("access-control-max-age: 3600")
            .told("access-control-allow-credentials: true")
    };
    judged(&[
        told(FOO, "access-control-allow-origin: https://www.foo.com"),
        told(BAR, "access-control-allow-origin: https://www.bar.com"),
        told(DEEP_BAR, "access-control-allow-origin: https://xpto.www.bar.com"),
    ]);
}

#[test]
fn a_preflight_request_of_a_stranger_is_told_nothing() {
    let strangers = [
        STRANGER,
        "Origin: https://bar.com",
        "Origin: http://www.foo.com",
        "Origin: https://www.foo.com:8443",
        "Origin: https://www.foo.com.evil.example",
        "Origin: https://evilbar.com",
        "Origin: null",
    ];
    let untold = |origin| {
        preflight("OPTIONS /listed", origin, GET)
            .answered(&[200, 204, 403])
            .untold(ORIGIN)
            .untold("access-control-allow-credentials")
    };
    judged(&strangers.map(untold));
}

#[test]
fn stars_stand_for_any_method_origin_and_header() {
    judged(&[
        preflight("OPTIONS /methods", FOO, PUT)
            .told("access-control-allow-origin: https://www.foo.com")
            .untold("access-control-allow-credentials"),
        preflight("OPTIONS /any", STRANGER, PUT)
            .told("access-control-allow-methods: PUT")
            .untold("access-control-allow-credentials"),
        // With credentials a star means nothing to browsers: what they asked for is repeated.
        preflight("OPTIONS /auth", STRANGER, PUT)
            .with(HEADERS)
            .told("access-control-allow-origin: https://foobar.com")
            .told("access-control-allow-methods: PUT")
            .told("access-control-allow-headers: x-header-1, x-header-2")
            .told("access-control-allow-credentials: true"),
        // Absent, it is five seconds.
        preflight("OPTIONS /any", STRANGER, PUT).told("access-control-max-age: 5"),
    ]);
}

#[test]
fn answers_of_the_app_carry_what_its_caller_may_see() {
    judged(&[
        row("GET /listed")
            .with(FOO)
            .reaches("v1")
            .told("access-control-allow-origin: https://www.foo.com")
            .told("access-control-expose-headers: x-header-3, x-header-4")
            .told("access-control-allow-credentials: true"),
        row("GET /listed")
            .with(BAR)
            .reaches("v1")
            .told("access-control-allow-origin: https://www.bar.com"),
        row("GET /listed").with(STRANGER).reaches("v1").untold(ORIGIN),
        row("GET /listed").reaches("v1").untold(ORIGIN),
        row("GET /auth")
            .with(STRANGER)
            .with("Authorization: Bearer test")
            .reaches("v1")
            .told("access-control-allow-origin: https://foobar.com"),
        // What the app says of itself is replaced: browsers refuse two answers.
        row("GET /listed")
            .with(FOO)
            .with("x-back-access-control-allow-origin: https://app.example")
            .reaches("v1")
            .told("access-control-allow-origin: https://www.foo.com"),
    ]);
}

#[test]
fn what_is_no_preflight_request_reaches_the_app() {
    judged(&[
        row("OPTIONS /listed").reaches("v1"),
        row("OPTIONS /listed").with(FOO).reaches("v1"),
        row("OPTIONS /listed").with(GET).reaches("v1"),
        row("GET /listed").with(FOO).with(GET).reaches("v1"),
        row("OPTIONS /else").with(FOO).with(GET).reaches("v2").untold(ORIGIN),
    ]);
}

#[test]
fn caches_are_told_that_the_answer_depends_on_the_origin() {
    let echoes = Echoes::four();
    let caller = Lone::with(&echoes.with(&http_route("echo", RULES))).start();
    let answer = caller.ask(crate::harness::get_with("/listed", &format!("{FOO}\r\n")));
    let varies = answer.all("vary").join(",").to_ascii_lowercase();
    assert!(varies.contains("origin"), "{varies:?}");
}
