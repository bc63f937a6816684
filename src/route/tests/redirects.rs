//! Where redirects lead: the cases of the Gateway API's conformance suite, and ours.

use http::uri::Scheme;
use http::{HeaderValue, StatusCode};

use super::*;
use crate::model::{Cors, Filter, HeaderEdit, PathChange, Redirect};
use crate::route::Filters;

const NOWHERE: Redirect =
    Redirect { scheme: None, hostname: None, path: None, port: None, status: StatusCode::FOUND };

fn location(to: Redirect, parts: &Parts, scheme: &str) -> String {
    let status = to.status;
    let answer = Filters::compile(&[Filter::Redirect(to)]).answer(parts, 4, scheme);
    let answer = answer.expect("a redirect");
    assert_eq!(answer.status(), status);
    assert_eq!(answer.headers().len(), 1);
    answer.headers()["location"].to_str().expect("text").into()
}

#[test]
fn ports_are_written_where_the_scheme_does_not_say_them() {
    let (http, https) = (Some(Scheme::HTTP), Some(Scheme::HTTPS));
    for (scheme, host, to_scheme, to_port, expected) in [
        ("http", "a.com", None, None, "http://b.com/p"),
        ("http", "a.com:80", None, None, "http://b.com/p"),
        ("http", "a.com:80", None, Some(80), "http://b.com/p"),
        ("http", "a.com:80", None, Some(8080), "http://b.com:8080/p"),
        ("http", "a.com:80", http.clone(), None, "http://b.com/p"),
        ("http", "a.com:80", http.clone(), Some(80), "http://b.com/p"),
        ("http", "a.com:80", https.clone(), None, "https://b.com/p"),
        ("http", "a.com:80", https.clone(), Some(443), "https://b.com/p"),
        ("http", "a.com:80", https.clone(), Some(8443), "https://b.com:8443/p"),
        ("http", "a.com:8080", None, None, "http://b.com:8080/p"),
        ("http", "a.com:8080", None, Some(80), "http://b.com/p"),
        ("http", "a.com:8080", http.clone(), None, "http://b.com/p"),
        ("http", "a.com:8080", https.clone(), None, "https://b.com/p"),
        ("http", "a.com:8080", https.clone(), Some(80), "https://b.com:80/p"),
        ("https", "a.com:443", None, None, "https://b.com/p"),
        ("https", "a.com:8443", None, None, "https://b.com:8443/p"),
        ("https", "a.com:443", http.clone(), None, "http://b.com/p"),
        ("https", "a.com:443", http, Some(443), "http://b.com:443/p"),
        ("https", "a.com:443", None, Some(80), "https://b.com:80/p"),
    ] {
        let to = Redirect {
            scheme: to_scheme,
            hostname: Some("b.com".into()),
            port: to_port,
            ..NOWHERE
        };
        let parts = get("/p", &[&format!("host: {host}")]);
        assert_eq!(location(to, &parts, scheme), expected, "from {scheme}://{host}");
    }
}

#[test]
fn what_is_not_named_is_the_requests_own() {
    for (target, host, expected) in [
        ("/p?q=1&r=%20", "a.com", "http://a.com/p?q=1&r=%20"),
        ("/p/", "a.com:8080", "http://a.com:8080/p/"),
        ("http://a.com:81/p", "a.com:81", "http://a.com:81/p"),
        ("/p", "[::1]:8080", "http://[::1]:8080/p"),
        ("//b.com/p", "a.com", "http://a.com//b.com/p"),
        ("*", "a.com", "http://a.com/"),
    ] {
        let parts = get(target, &[&format!("host: {host}")]);
        assert_eq!(location(NOWHERE, &parts, "http"), expected);
    }
    for status in [301, 302, 303, 307, 308] {
        let status = StatusCode::from_u16(status).expect("a status");
        location(Redirect { status, ..NOWHERE }, &get("/", &["host: a.com"]), "http");
    }
}

#[test]
fn without_a_host_the_location_is_a_path() {
    assert_eq!(location(NOWHERE, &get("/p?q", &[]), "http"), "/p?q");
    assert_eq!(location(NOWHERE, &get("//evil.com/p", &[]), "http"), "/evil.com/p");
}

#[test]
fn paths_are_replaced_and_the_query_stays() {
    for (target, path, expected) in [
        ("/foo/bar?a=b", PathChange::Full("/one".into()), "http://a.com/one?a=b"),
        ("/foo/bar?a=b", PathChange::Prefix("/one".into()), "http://a.com/one/bar?a=b"),
        ("/foo", PathChange::Prefix("/".into()), "http://a.com/"),
        ("/foo/bar", PathChange::Full("/a b".into()), "http://a.com/a%20b"),
        ("/foo/é", PathChange::Prefix("/".into()), "http://a.com/%C3%A9"),
    ] {
        let to = Redirect { path: Some(path), ..NOWHERE };
        assert_eq!(location(to, &get(target, &["host: a.com"]), "http"), expected);
    }
}

#[test]
fn a_redirect_is_a_complete_answer() {
    let edit = HeaderEdit {
        add: vec![(HeaderName::from_static("x"), HeaderValue::from_static("1"))],
        ..HeaderEdit::default()
    };
    let cors = Cors { allow_origins: vec!["https://c.com".into()], ..Cors::default() };
    let filters = [Filter::Redirect(NOWHERE), Filter::ResponseHeaders(edit), Filter::Cors(cors)];
    let filters = Filters::compile(&filters);
    let answer = filters.answer(&get("/", &["host: a", "origin: https://c.com"]), 0, "http");
    let expected = [
        "access-control-allow-origin: https://c.com",
        "location: http://a/",
        "vary: origin",
        "x: 1",
    ];
    assert_eq!(lines(answer.expect("a redirect").headers()), expected);
}
