//! What is done to requests and answers: headers, authority, path.

use http::HeaderValue;
use http::uri::Authority;

use super::*;
use crate::model::{Filter, HeaderEdit, Mirror, PathChange, Rewrite, ServiceName, Share};
use crate::route::Filters;

fn edit(set: &[(&str, &str)], add: &[(&str, &str)], remove: &[&str]) -> HeaderEdit {
    let name = |name: &str| HeaderName::from_bytes(name.as_bytes()).expect("a name");
    let pair =
        |(of, value): &(&str, &str)| (name(of), HeaderValue::from_str(value).expect("a value"));
    HeaderEdit {
        set: set.iter().map(pair).collect(),
        add: add.iter().map(pair).collect(),
        remove: remove.iter().map(|of| name(of)).collect(),
    }
}

fn rewrite(authority: Option<&'static str>, path: Option<PathChange>) -> Filter {
    Filter::Rewrite(Rewrite { authority: authority.map(Authority::from_static), path })
}

fn full(path: &str) -> Option<PathChange> {
    Some(PathChange::Full(path.into()))
}

fn in_place(prefix: &str) -> Option<PathChange> {
    Some(PathChange::Prefix(prefix.into()))
}

#[test]
fn no_filters_leave_everything_as_it_is() {
    let filters = Filters::compile(&[]);
    assert!(filters.is_empty());
    let mut parts = get("http://a.com/b?c", &["host: a.com", "x: 1"]);
    filters.request(&mut parts, 0);
    assert_eq!(parts.uri, "http://a.com/b?c");
    filters.response(&mut parts.headers, None);
    assert_eq!(lines(&parts.headers), ["host: a.com", "x: 1"]);
    assert!(filters.answer(&parts, 0, "http").is_none());
    assert!(filters.cors(&parts).is_none());
    assert!(filters.mirrors().is_empty());
}

#[test]
fn headers_are_set_then_added_then_removed() {
    let given = edit(&[("s", "new"), ("t", "1")], &[("a", "2"), ("s", "more")], &["r", "t"]);
    let left = ["a: 1", "a: 2", "k: 1", "s: more", "s: new"];
    let mut parts = get("/", &["a: 1", "k: 1", "r: 1", "r: 2", "s: 1", "s: 2"]);
    let filters = Filters::compile(&[Filter::RequestHeaders(given.clone())]);
    assert!(!filters.is_empty());
    let mut answer = parts.headers.clone();
    filters.request(&mut parts, 0);
    assert_eq!(lines(&parts.headers), left);
    filters.response(&mut answer, None);
    assert_eq!(answer.len(), 6, "a request's edit is not its answer's");

    let filters = Filters::compile(&[Filter::ResponseHeaders(given)]);
    filters.request(&mut parts, 0);
    assert_eq!(lines(&parts.headers), left);
    filters.response(&mut answer, None);
    assert_eq!(lines(&answer), left);
}

#[test]
fn the_authority_is_rewritten_in_both_places() {
    let filters = Filters::compile(&[rewrite(Some("b.com:81"), None)]);
    for (target, headers, rewritten) in [
        ("/p?q", vec!["host: a.com"], "/p?q"),
        ("http://a.com/p?q", vec!["host: a.com"], "http://b.com:81/p?q"),
        ("http://a.com/p", vec![], "http://b.com:81/p"),
    ] {
        let mut parts = get(target, &headers);
        filters.request(&mut parts, 0);
        assert_eq!(parts.uri.to_string(), rewritten);
        assert_eq!(lines(&parts.headers), ["host: b.com:81"]);
    }
    let mut connect = request("CONNECT", "a.com:443", &[]);
    filters.request(&mut connect, 0);
    assert_eq!(connect.uri.to_string(), "b.com:81");
}

#[test]
fn an_edit_of_the_host_is_a_rewrite() {
    for given in [edit(&[("host", "b.com")], &[], &[]), edit(&[], &[("host", "b.com")], &["host"])]
    {
        let filters = Filters::compile(&[Filter::RequestHeaders(given)]);
        let mut parts = get("http://a.com/p", &["host: a.com"]);
        filters.request(&mut parts, 0);
        assert_eq!(parts.uri, "http://b.com/p");
        assert_eq!(lines(&parts.headers), ["host: b.com"]);
    }
    let mut parts = get("/", &["host: a.com"]);
    let removed = Filter::RequestHeaders(edit(&[], &[], &["host"]));
    Filters::compile(&[removed]).request(&mut parts, 0);
    assert_eq!(lines(&parts.headers), ["host: a.com"]);
}

#[test]
fn a_prefix_is_replaced_by_the_rules_for_slashes() {
    for (path, prefix, replacement, rewritten) in [
        ("/foo/bar", "/foo", "/xyz", "/xyz/bar"),
        ("/foo/bar", "/foo", "/xyz/", "/xyz/bar"),
        ("/foo/bar", "/foo/", "/xyz", "/xyz/bar"),
        ("/foo/bar", "/foo/", "/xyz/", "/xyz/bar"),
        ("/foo", "/foo", "/xyz", "/xyz"),
        ("/foo/", "/foo", "/xyz", "/xyz/"),
        ("/foo/bar", "/foo", "", "/bar"),
        ("/foo/", "/foo", "", "/"),
        ("/foo", "/foo", "", "/"),
        ("/foo/", "/foo", "/", "/"),
        ("/foo", "/foo", "/", "/"),
        ("/foo/bar", "/foo", "/", "/bar"),
        ("/foo/bar", "/", "/xyz", "/xyz/foo/bar"),
        ("/", "/", "/xyz", "/xyz/"),
        ("/foo/b%20r", "/foo", "xyz", "/xyz/b%20r"),
    ] {
        for query in ["", "?q=/foo"] {
            let mut parts = get(&format!("{path}{query}"), &["host: a.com"]);
            let table = table([rule([super::prefix(prefix)])]);
            let found = table.find(&Head::of(&parts, false)).expect("the rule");
            let filters = Filters::compile(&[rewrite(None, in_place(replacement))]);
            filters.request(&mut parts, found.prefix);
            assert_eq!(parts.uri.to_string(), format!("{rewritten}{query}"), "{path} {prefix}");
            assert_eq!(lines(&parts.headers), ["host: a.com"]);
        }
    }
}

#[test]
fn the_whole_path_is_replaced_and_the_query_stays() {
    for (target, path, rewritten) in [
        ("/foo/bar", "/one", "/one"),
        ("/foo/bar?a=b", "/one/", "/one/?a=b"),
        ("http://a.com/foo?a", "/one", "http://a.com/one?a"),
        ("/foo", "one", "/one"),
        ("/foo", "", "/"),
        ("/foo", "/a b?c#d/é%20%zz%4", "/a%20b%3Fc%23d/%C3%A9%20%25zz%254"),
    ] {
        let mut parts = get(target, &[]);
        Filters::compile(&[rewrite(None, full(path))]).request(&mut parts, 4);
        assert_eq!(parts.uri.to_string(), rewritten);
    }
}

#[test]
fn what_has_no_path_keeps_its_target() {
    for (method, target) in [("OPTIONS", "*"), ("CONNECT", "a.com:443")] {
        for path in [full("/one"), in_place("/one")] {
            let mut parts = request(method, target, &[]);
            Filters::compile(&[rewrite(None, path)]).request(&mut parts, 0);
            assert_eq!(parts.uri.to_string(), target);
        }
    }
}

#[test]
fn a_path_that_would_be_too_long_stays() {
    let path = format!("/{}", "a".repeat(65_000));
    let mut parts = get(&path, &["host: a.com"]);
    let filters = Filters::compile(&[rewrite(Some("b.com"), in_place(&"/b".repeat(1_000)))]);
    filters.request(&mut parts, 0);
    assert_eq!((parts.uri.path(), lines(&parts.headers)), (&*path, vec!["host: a.com".into()]));
}

#[test]
fn mirrors_are_listed() {
    let service = ServiceName::parse("copy:80", "default").expect("a name");
    let mirror = Mirror { service, share: Share::ALL };
    let filters =
        Filters::compile(&[Filter::Mirror(mirror.clone()), Filter::Mirror(mirror.clone())]);
    assert!(!filters.is_empty());
    assert_eq!(filters.mirrors(), [mirror.clone(), mirror]);
}
