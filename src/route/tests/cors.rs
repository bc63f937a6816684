//! Who may read answers across origins: the Gateway API's words and the Fetch standard's.

use std::time::Duration;

use http::StatusCode;

use super::*;
use crate::model::{Cors, Filter};
use crate::route::Filters;

fn names(list: &[&str]) -> Vec<Arc<str>> {
    list.iter().map(|name| (*name).into()).collect()
}

fn cors(origins: &[&str]) -> Cors {
    Cors {
        allow_origins: names(origins),
        allow_methods: names(&["GET", "OPTIONS"]),
        allow_headers: names(&["x-a", "x-b"]),
        expose_headers: names(&["x-c", "x-d"]),
        max_age: Duration::from_secs(3600),
        ..Cors::default()
    }
}

fn anything(allow_credentials: bool) -> Cors {
    let any = || names(&["*"]);
    Cors {
        allow_origins: any(),
        allow_credentials,
        allow_methods: any(),
        allow_headers: any(),
        expose_headers: any(),
        max_age: Duration::from_secs(5),
    }
}

fn compiled(cors: Cors) -> Filters {
    let filters = Filters::compile(&[Filter::Cors(cors)]);
    assert!(!filters.is_empty());
    filters
}

fn preflight(cors: Cors, origin: &str) -> Vec<String> {
    let headers = [
        &*format!("origin: {origin}"),
        "access-control-request-method: PUT",
        "access-control-request-headers: authorization, x-a",
    ];
    let answer = compiled(cors).answer(&request("OPTIONS", "/", &headers), 0, "http");
    let answer = answer.expect("an answer");
    assert_eq!(answer.status(), StatusCode::NO_CONTENT);
    lines(answer.headers())
}

/// The head of an answer that had these headers from the app.
fn answer(cors: Cors, request: &[&str], from_app: &[&str]) -> Vec<String> {
    let (filters, parts) = (compiled(cors), get("/", request));
    assert!(filters.answer(&parts, 0, "http").is_none());
    let grant = filters.cors(&parts);
    let mut headers = get("/", from_app).headers;
    filters.response(&mut headers, grant.as_ref());
    lines(&headers)
}

#[test]
fn a_preflight_of_an_allowed_origin_is_told_everything() {
    let expected = [
        "access-control-allow-headers: x-a, x-b",
        "access-control-allow-methods: GET, OPTIONS",
        "access-control-allow-origin: https://www.foo.com",
        "access-control-expose-headers: x-c, x-d",
        "access-control-max-age: 3600",
        "vary: origin",
    ];
    let policy = cors(&["https://www.foo.com", "https://*.bar.com"]);
    assert_eq!(preflight(policy.clone(), "https://www.foo.com"), expected);
    let with_credentials = Cors { allow_credentials: true, ..policy };
    let told = preflight(with_credentials, "https://www.foo.com");
    assert_eq!(told[0], "access-control-allow-credentials: true");
    assert_eq!(told[1..], expected);
}

#[test]
fn a_preflight_of_another_origin_is_told_nothing() {
    for origin in ["https://foobar.com", "null", "https://www.foo.com:444", "nonsense"] {
        assert_eq!(preflight(cors(&["https://www.foo.com"]), origin), ["vary: origin"]);
    }
}

#[test]
fn only_a_preflight_is_answered() {
    let filters = compiled(anything(false));
    let asked = "access-control-request-method: GET";
    for (method, headers) in [
        ("OPTIONS", vec!["origin: https://a.com"]),
        ("OPTIONS", vec![asked]),
        ("GET", vec!["origin: https://a.com", asked]),
    ] {
        assert!(filters.answer(&request(method, "/", &headers), 0, "http").is_none());
    }
}

#[test]
fn origins_are_compared_by_scheme_host_and_port() {
    let allowed = [
        "https://a.com",
        "http://p.com:8080",
        "https://*.w.com",
        "http://*.q.com:81",
        "https://own.com:443",
    ];
    let filters = compiled(cors(&allowed));
    for (origin, is_allowed) in [
        ("https://a.com", true),
        ("https://A.com", true),
        ("https://a.com:443", true),
        ("https://own.com", true),
        ("http://a.com", false),
        ("https://a.com:80", false),
        ("https://x.a.com", false),
        ("http://p.com:8080", true),
        ("http://p.com", false),
        ("https://x.w.com", true),
        ("https://x.y.w.com", true),
        ("https://w.com", false),
        ("https://.w.com", false),
        ("https://xw.com", false),
        ("https://x.w.com:8443", false),
        ("https://evil.com/x.w.com", false),
        ("https://evil.com@x.w.com", false),
        ("https://x.w.com.evil.com", false),
        ("http://x.q.com:81", true),
        ("http://x.q.com", false),
        ("null", false),
        ("", false),
    ] {
        let parts = get("/", &[&format!("origin: {origin}")]);
        assert_eq!(filters.cors(&parts).is_some(), is_allowed, "{origin}");
    }
    assert_eq!(filters.cors(&get("/", &[])), None);
    let every_host = compiled(cors(&["https://*"]));
    assert!(every_host.cors(&get("/", &["origin: https://a.b"])).is_some());
    assert!(every_host.cors(&get("/", &["origin: http://a.b"])).is_none());
}

#[test]
fn answers_to_allowed_origins_say_so() {
    let expected = [
        "access-control-allow-origin: https://a.com",
        "access-control-expose-headers: x-c, x-d",
        "vary: origin",
    ];
    let request = ["origin: https://a.com"];
    assert_eq!(answer(cors(&["https://a.com"]), &request, &[]), expected);
    let any = answer(anything(false), &request, &[]);
    assert_eq!(any, ["access-control-allow-origin: *", "access-control-expose-headers: *"]);
}

#[test]
fn the_filter_decides_and_not_the_app() {
    let from_app = [
        "access-control-allow-origin: *",
        "access-control-allow-credentials: true",
        "access-control-expose-headers: x-z",
    ];
    for request in [vec![], vec!["origin: https://b.com"]] {
        assert_eq!(answer(cors(&["https://a.com"]), &request, &from_app), ["vary: origin"]);
    }
    let allowed = answer(cors(&["https://a.com"]), &["origin: https://a.com"], &from_app);
    assert_eq!(allowed[0], "access-control-allow-origin: https://a.com");
    assert_eq!(allowed[1], "access-control-expose-headers: x-c, x-d");
    assert_eq!(allowed.len(), 3);
}

#[test]
fn caches_are_told_once_what_an_answer_depends_on() {
    for (from_app, expected) in [
        (vec!["vary: Accept"], vec!["vary: Accept", "vary: origin"]),
        (vec!["vary: Accept, Origin"], vec!["vary: Accept, Origin"]),
        (vec!["vary: *"], vec!["vary: *"]),
    ] {
        assert_eq!(answer(cors(&["https://a.com"]), &[], &from_app), expected);
    }
    assert_eq!(answer(anything(false), &[], &[]), [""; 0]);
    assert_eq!(answer(anything(true), &[], &[]), ["vary: origin"]);
}

#[test]
fn anything_goes_without_credentials() {
    let expected = [
        "access-control-allow-headers: authorization, x-a",
        "access-control-allow-methods: *",
        "access-control-allow-origin: *",
        "access-control-expose-headers: *",
        "access-control-max-age: 5",
        "vary: access-control-request-headers",
    ];
    assert_eq!(preflight(anything(false), "https://a.com"), expected);
}

#[test]
fn with_credentials_nothing_is_a_star() {
    let expected = [
        "access-control-allow-credentials: true",
        "access-control-allow-headers: authorization, x-a",
        "access-control-allow-methods: PUT",
        "access-control-allow-origin: https://a.com",
        "access-control-expose-headers: vary",
        "access-control-max-age: 5",
        "vary: access-control-request-headers",
        "vary: access-control-request-method",
        "vary: origin",
    ];
    assert_eq!(preflight(anything(true), "https://a.com"), expected);
    let exposed = answer(anything(true), &["origin: null"], &["x-e: 1"]);
    assert_eq!(exposed[1], "access-control-allow-origin: null");
    assert_eq!(exposed[2], "access-control-expose-headers: x-e, vary");
}

#[test]
fn lists_that_are_empty_are_not_sent() {
    let policy = Cors { allow_origins: names(&["*"]), ..Cors::default() };
    let told = preflight(policy, "https://a.com");
    assert_eq!(told, ["access-control-allow-origin: *", "access-control-max-age: 0"]);
}
