//! Which rule a request falls under: the cases of the Gateway API's conformance suite, and ours.

use std::sync::Arc;

use super::*;

/// Each request, and the rule that it must fall under.
fn check(rules: impl IntoIterator<Item = Rule>, cases: &[(Parts, Option<usize>)]) {
    let table = table(rules);
    for (parts, expected) in cases {
        let (method, uri, headers) = (&parts.method, &parts.uri, &parts.headers);
        assert_eq!(find(&table, parts), *expected, "{method} {uri} {headers:?}");
    }
}

#[test]
fn without_rules_everything_is_the_default() {
    let default = Table::compile(&[]);
    assert!(default.is_default());
    assert_eq!(&*default.rules()[0].name, "default");
    for (target, is_grpc) in [("/", false), ("/a/b?c", false), ("/s/M", true)] {
        let found = default.find(&Head::of(&get(target, &[]), is_grpc));
        assert_eq!(found, Some(Found { rule: 0, prefix: 0 }));
    }
    assert!(!table([rule([])]).is_default());
}

#[test]
fn a_table_is_known_again() {
    let rules = [Arc::new(rule([exact("/a")])), Arc::new(rule([]))];
    let table = Table::compile(&rules);
    assert!(table.is_of(&rules));
    assert!(table.is_of(&[Arc::new(rule([exact("/a")])), Arc::new(rule([]))]));
    assert!(!table.is_of(&rules[..1]));
    assert!(!table.is_of(&[Arc::new(rule([exact("/b")])), Arc::new(rule([]))]));
    assert!(!table.is_of(&[]));
    assert!(Table::compile(&[]).is_of(&[]));
}

#[test]
fn a_rule_without_matches_takes_every_request() {
    let cases = ["/", "/a/b", "*"].map(|target| (get(target, &[]), Some(0)));
    check([rule([])], &cases);
    check([rule([prefix("/")])], &cases);
    check([rule([])], &[(request("CONNECT", "a.com:443", &[]), Some(0))]);
}

#[test]
fn exact_paths_are_compared_whole_and_by_case() {
    let cases = [
        ("/one", Some(0)),
        ("/two", Some(1)),
        ("/one?q=1", Some(0)),
        ("/", None),
        ("/one/", None),
        ("/One", None),
        ("/one/example", None),
        ("/on%65", None),
    ];
    let cases = cases.map(|(target, expected)| (get(target, &[]), expected));
    check([rule([exact("/one")]), rule([exact("/two")])], &cases);
}

#[test]
fn prefixes_are_compared_by_segments() {
    for written in ["/v2", "/v2/"] {
        let cases = [
            ("/v2", Some(0)),
            ("/v2/", Some(0)),
            ("/v2//", Some(0)),
            ("/v2/example", Some(0)),
            ("/v2?a=/b", Some(0)),
            ("/v2example", None),
            ("/foo/v2", None),
            ("/V2", None),
            ("/", None),
        ];
        let cases = cases.map(|(target, expected)| (get(target, &[]), expected));
        check([rule([prefix(written)])], &cases);
    }
}

#[test]
fn the_length_of_a_matched_prefix_is_told() {
    let rules = [rule([prefix("/a/")]), rule([exact("/b")]), rule([pattern("/c.*")]), rule([])];
    let table = table(rules);
    for (target, rule, prefix) in
        [("/a", 0, 2), ("/a/b", 0, 2), ("/b", 1, 0), ("/c/d", 2, 0), ("/else", 3, 0)]
    {
        let found = table.find(&Head::of(&get(target, &[]), false));
        assert_eq!(found, Some(Found { rule, prefix }), "{target}");
    }
}

#[test]
fn patterns_are_of_the_whole_path() {
    let rules = [
        rule([pattern("/v[0-9]+")]),
        rule([pattern("/a|/b")]),
        rule([pattern("(?x)/ver bose # a comment")]),
        rule([pattern("(?i)/CASE")]),
    ];
    let cases = [
        ("/v12", Some(0)),
        ("/v12/", None),
        ("/x/v12", None),
        ("/a", Some(1)),
        ("/b", Some(1)),
        ("/ab", None),
        ("/verbose", Some(2)),
        ("/case", Some(3)),
    ];
    check(rules, &cases.map(|(target, expected)| (get(target, &[]), expected)));
}

#[test]
fn a_pattern_that_is_none_matches_nothing() {
    check([rule([pattern("/(")])], &[(get("/(", &[]), None)]);
    check([rule([prefix("/").header("a", "~(")])], &[(get("/", &["a: ("]), None)]);
}

#[test]
fn exact_goes_before_patterns_and_those_before_prefixes() {
    let rules = [
        rule([]),
        rule([prefix("/match")]),
        rule([prefix("/match/prefix")]),
        rule([pattern("/m.*")]),
        rule([pattern("/match/.*")]),
        rule([exact("/match")]),
    ];
    let cases = [
        ("/match", Some(5)),
        ("/match/prefix", Some(4)),
        ("/m", Some(3)),
        ("/matching", Some(3)),
        ("/other", Some(0)),
    ];
    check(rules, &cases.map(|(target, expected)| (get(target, &[]), expected)));
}

#[test]
fn the_longer_prefix_takes_it_wherever_it_stands() {
    let one = rule([prefix("/"), prefix("/a/b/c")]);
    let two = rule([prefix("/a/b"), prefix("/a"), prefix("/a/b/c/d")]);
    let cases = [
        ("/", Some(0)),
        ("/a", Some(1)),
        ("/a/b", Some(1)),
        ("/a/b/c", Some(0)),
        ("/a/b/cc", Some(1)),
        ("/a/b/c/dd", Some(0)),
        ("/a/b/c/d/e", Some(1)),
        ("/aa", Some(0)),
    ];
    check([one, two], &cases.map(|(target, expected)| (get(target, &[]), expected)));
}

#[test]
fn more_patterns_than_one_block_keep_their_order() {
    let long = |nth: usize| format!("/{nth:04}/[a-z]{}", "z?".repeat(nth % 7));
    let rules = (0..300).map(|nth| rule([pattern(&long(nth))]));
    let table = table(rules.chain([rule([pattern("/0[0-9]+/[a-y]")]), rule([])]));
    for nth in 0..300 {
        assert_eq!(
            find(&table, &get(&format!("/{nth:04}/zz"), &[])),
            Some(match nth % 7 {
                0 => 301,
                _ => nth,
            })
        );
    }
    // Fourteen characters: longer than some of the others and shorter than some.
    assert_eq!(find(&table, &get("/0000/a", &[])), Some(300));
    assert_eq!(find(&table, &get("/0005/a", &[])), Some(5));
}

#[test]
fn what_is_left_open_by_the_path_is_decided_by_the_rest() {
    let rules = [
        rule([prefix("/")]),
        rule([prefix("/").query("q", "1")]),
        rule([prefix("/").query("q", "1").query("r", "2")]),
        rule([prefix("/").header("a", "1")]),
        rule([prefix("/").header("a", "1").header("b", "2")]),
        rule([prefix("/").method(Method::PUT)]),
        rule([prefix("/p")]),
        rule([prefix("/").header("a", "1")]),
    ];
    let cases = [
        (get("/", &[]), Some(0)),
        (get("/?q=1", &[]), Some(1)),
        (get("/?r=2&q=1", &[]), Some(2)),
        (get("/?r=2&q=1", &["a: 1"]), Some(3)),
        (get("/", &["a: 1", "b: 2"]), Some(4)),
        (request("PUT", "/?q=1", &["a: 1", "b: 2"]), Some(5)),
        (request("PUT", "/p/?q=1", &["a: 1", "b: 2"]), Some(6)),
    ];
    check(rules, &cases);
}

#[test]
fn the_older_route_and_the_earlier_match_win_a_tie() {
    let rules = [rule([exact("/b"), exact("/a")]), rule([exact("/a")])];
    check(rules, &[(get("/a", &[]), Some(0))]);
    // Patterns of one length are ordered by what else they ask.
    let rules = [rule([pattern("/a.")]), rule([pattern("/.b").method(Method::GET)])];
    check(rules, &[(get("/ab", &[]), Some(1))]);
}

#[test]
fn what_the_best_path_refuses_falls_to_the_next() {
    let rules = [
        rule([exact("/a/b").method(Method::PUT)]),
        rule([pattern("/a/.").header("x", "1")]),
        rule([prefix("/a/b").query("q", "1")]),
        rule([prefix("/a")]),
    ];
    check(rules, &[(get("/a/b", &[]), Some(3)), (get("/a/b?q=1", &["x: 2"]), Some(2))]);
}

#[test]
fn headers_are_compared_by_name_in_any_case_and_by_whole_value() {
    let rules = [
        rule([Match::default().header("Version", "one")]),
        rule([Match::default().header("version", "two")]),
        rule([Match::default().header("version", "two").header("color", "orange")]),
        rule([Match::default().header("color", "~b.*e"), Match::default().header("c", "a,b")]),
    ];
    let cases = [
        (get("/", &["version: one"]), Some(0)),
        (get("/", &["VERSION: two"]), Some(1)),
        (get("/", &["version: two", "color: orange"]), Some(2)),
        (get("/", &["version: Two"]), None),
        (get("/", &["version: tw"]), None),
        (get("/", &["version: two2"]), None),
        (get("/", &["color: blue"]), Some(3)),
        (get("/", &["color: blueish"]), None),
        (get("/", &["color: b", "color: e"]), Some(3)),
        (get("/", &["color: e", "color: b"]), None),
        (get("/", &["c: a,b"]), Some(3)),
        (get("/", &["c: a", "c: b"]), Some(3)),
        (get("/", &["c: a"]), None),
        (get("/", &["c: a", "c: b", "c: b"]), None),
        (get("/", &["c: a,", "c: b"]), None),
        (get("/", &[]), None),
    ];
    check(rules, &cases);
}

#[test]
fn the_host_is_a_header_in_every_version() {
    let rules = [rule([Match::default().header("host", "a.com")])];
    let cases = [
        (get("/", &["host: a.com"]), Some(0)),
        (get("http://a.com/", &[]), Some(0)),
        (get("http://b.com/", &[]), None),
        (get("/", &[]), None),
    ];
    check(rules, &cases);
}

#[test]
fn query_parameters_are_compared_decoded_and_the_first_counts() {
    let rules = [
        rule([Match::default().query("animal", "whale")]),
        rule([Match::default().query("animal", "blue whale")]),
        rule([Match::default().query("a b", "~[0-9]+%"), Match::default().query("e", "")]),
    ];
    let cases = [
        ("/?animal=whale", Some(0)),
        ("/?x=1&animal=whale&y", Some(0)),
        ("/?animal=wh%61le", Some(0)),
        ("/?%61nimal=whale", Some(0)),
        ("/?animal=whale&animal=dog", Some(0)),
        ("/?animal=dog&animal=whale", None),
        ("/?animal=Whale", None),
        ("/?Animal=whale", None),
        ("/?animal=whales", None),
        ("/?animal=blue+whale", Some(1)),
        ("/?animal=blue%20whale", Some(1)),
        ("/?a+b=12%25", Some(2)),
        ("/?a%20b=12%", Some(2)),
        ("/?a+b=12%2", None),
        ("/?e", Some(2)),
        ("/?e=", Some(2)),
        ("/", None),
    ];
    check(rules, &cases.map(|(target, expected)| (get(target, &[]), expected)));
}

#[test]
fn methods_are_compared() {
    let rules = [
        rule([Match::default().method(Method::GET)]),
        rule([Match::default().method(Method::DELETE), prefix("/p").method(Method::PATCH)]),
    ];
    let cases = [
        (get("/", &[]), Some(0)),
        (request("DELETE", "/", &[]), Some(1)),
        (request("PATCH", "/p", &[]), Some(1)),
        (request("PATCH", "/", &[]), None),
        (request("POST", "/", &[]), None),
    ];
    check(rules, &cases);
}

#[test]
fn the_nearest_host_takes_it() {
    let rules = [
        rule([]),
        on_hosts(&["*.com"], rule([prefix("/any/path/at/all"), prefix("/")])),
        on_hosts(&["*.example.com", "very.long.name.example.org"], rule([prefix("/")])),
        on_hosts(&["a.example.com"], rule([prefix("/a")])),
    ];
    let cases = [
        ("a.example.com", "/a", Some(3)),
        ("a.example.com", "/b", Some(2)),
        ("a.example.com:8080", "/a", Some(3)),
        ("A.EXAMPLE.com", "/a", Some(3)),
        ("a.example.com.", "/a", Some(3)),
        ("b.example.com", "/a", Some(2)),
        ("a.b.example.com", "/any/path/at/all", Some(2)),
        ("example.com", "/", Some(1)),
        ("com", "/", Some(0)),
        (".com", "/", Some(0)),
        ("xexample.com", "/", Some(1)),
        ("very.long.name.example.org", "/", Some(2)),
        ("[::1]:80", "/", Some(0)),
        ("", "/", Some(0)),
    ];
    let table = table(rules);
    for (host, path, expected) in cases {
        let parts = get(path, &[]);
        let head = Head { host, ..Head::of(&parts, false) };
        assert_eq!(table.find(&head).map(|found| found.rule), expected, "{host}{path}");
    }
    let long = format!("{}.com", "a".repeat(300));
    let parts = get("/", &[]);
    let head = Head { host: &long, ..Head::of(&parts, false) };
    assert_eq!(table.find(&head).map(|found| found.rule), Some(0), "no name is that long");
}

#[test]
fn the_host_is_the_authority_or_else_the_header() {
    let rules = [on_hosts(&["a.com"], rule([])), on_hosts(&["b.com"], rule([]))];
    let cases = [
        (get("http://a.com:80/", &["host: b.com"]), Some(0)),
        (get("/", &["host: b.com:99"]), Some(1)),
        (get("/", &["host: c.com"]), None),
        (get("/", &[]), None),
    ];
    check(rules, &cases);
}

#[test]
fn grpc_calls_ask_rules_for_grpc_first() {
    let http = rule([exact("/s.S/Get"), prefix("/web")]);
    let calls = grpc(rule([exact("/s.S/Get"), prefix("/s.S").header("v", "2")]));
    let any_call = grpc(rule([pattern("/[^/]+/Watch")]));
    let table = table([http, calls, any_call]);
    for (target, headers, is_grpc, expected) in [
        ("/s.S/Get", vec![], true, Some(1)),
        ("/s.S/Get", vec![], false, Some(0)),
        ("/s.S/Put", vec!["v: 2"], true, Some(1)),
        ("/s.S/Put", vec!["v: 2"], false, None),
        ("/s.S/Put", vec![], true, None),
        ("/x.X/Watch", vec![], true, Some(2)),
        ("/web/a", vec![], true, Some(0)),
    ] {
        let found = table.find(&Head::of(&get(target, &headers), is_grpc));
        assert_eq!(found.map(|found| found.rule), expected, "{target} {headers:?} {is_grpc}");
    }
}
