//! Which rule takes a request that several match.

use crate::harness::yaml::{http_route, http_route_with};
use crate::harness::{Echoes, Lone, Row, row, table};

#[track_caller]
fn routed(documents: &str, rows: &[Row]) {
    let echoes = Echoes::four();
    let caller = Lone::with(&echoes.with(documents)).start();
    table(caller.echo(), &echoes, rows);
}

#[test]
fn exact_paths_go_before_prefixes_and_longer_prefixes_before_shorter() {
    routed(
        &http_route(
            "echo",
            "
- matches: [{path: {value: /match}}]
  backendRefs: [{name: v3, port: 80}]
- matches: [{path: {value: /match/prefix}}, {path: {type: Exact, value: /match}}]
  backendRefs: [{name: v1, port: 80}]
- matches: [{path: {value: /match/prefix/one}}, {path: {type: Exact, value: /match/exact}}]
  backendRefs: [{name: v2, port: 80}]
- matches: [{path: {type: Exact, value: /match/exact/one}}]
  backendRefs: [{name: v3, port: 80}]
- backendRefs: [{name: echo, port: 80}]
",
        ),
        &[
            row("GET /match/exact/one").reaches("v3"),
            row("GET /match/exact").reaches("v2"),
            row("GET /match").reaches("v1"),
            row("GET /match/prefix/one/any").reaches("v2"),
            row("GET /match/prefix/any").reaches("v1"),
            row("GET /match/any").reaches("v3"),
            row("GET /else").reaches("echo"),
        ],
    );
}

#[test]
fn then_the_method_then_more_headers_then_more_parameters_decide() {
    routed(
        &http_route(
            "echo",
            "
- matches: [{path: {value: /a}, queryParams: [{name: q, value: '1'}]}]
  backendRefs: [{name: echo, port: 80}]
- matches: [{path: {value: /a}, headers: [{name: x, value: '1'}]}]
  backendRefs: [{name: v1, port: 80}]
- matches: [{path: {value: /a}, headers: [{name: x, value: '1'}, {name: y, value: '1'}]}]
  backendRefs: [{name: v2, port: 80}]
- matches: [{path: {value: /a}, method: GET}]
  backendRefs: [{name: v3, port: 80}]
- matches: [{path: {value: /a/b}}]
  backendRefs: [{name: echo, port: 80}]
- matches: [{path: {value: /q}, queryParams: [{name: a, value: '1'}]}]
  backendRefs: [{name: v1, port: 80}]
- matches: [{path: {value: /q}, queryParams: [{name: a, value: '1'}, {name: b, value: '1'}]}]
  backendRefs: [{name: v2, port: 80}]
",
        ),
        &[
            row("GET /a").with("x: 1").with("y: 1").reaches("v3"),
            row("POST /a").with("x: 1").with("y: 1").reaches("v2"),
            row("POST /a").with("x: 1").reaches("v1"),
            row("POST /a?q=1").with("x: 1").reaches("v1"),
            row("POST /a?q=1").reaches("echo"),
            // A longer path goes before all of them.
            row("GET /a/b").with("x: 1").with("y: 1").reaches("echo"),
            row("GET /q?a=1&b=1").reaches("v2"),
            row("GET /q?a=1").reaches("v1"),
        ],
    );
}

#[test]
fn of_equal_rules_the_first_counts_and_of_equal_routes_the_older() {
    let to = |name: &str, created: &str, app: &str| {
        let rules = format!(
            "- matches: [{{path: {{value: /tie}}}}]\n  backendRefs: [{{name: {app}, port: 80}}]\n\
             - matches: [{{path: {{value: /tie}}}}]\n  backendRefs: [{{name: echo, port: 80}}]"
        );
        http_route(name, &rules)
            .replace("namespace: default}", &format!("namespace: default{created}}}"))
    };
    let age = |year: u16| format!(", creationTimestamp: \"{year}-01-01T00:00:00Z\"");
    let tie = [row("GET /tie").reaches("v2")];
    let ages = to("a", &age(2026), "v1") + &to("b", &age(2024), "v2") + &to("c", &age(2025), "v3");
    routed(&ages, &tie);
    // Without an age, or with the same, the name decides.
    routed(&(to("b", "", "v1") + &to("a", "", "v2") + &to("c", "", "v3")), &tie);
    routed(&(to("y", &age(2024), "v1") + &to("x", &age(2024), "v2")), &tie);
}

#[test]
fn rules_of_several_routes_are_one_table() {
    let first = http_route_with(
        "part-1",
        "hostnames: [example.com, example.net]",
        "
- matches: [{path: {value: /}}, {headers: [{name: version, value: one}]}]
  backendRefs: [{name: v1, port: 80}]
",
    );
    let second = http_route_with(
        "part-2",
        "hostnames: [example.com]",
        "
- matches: [{path: {value: /v2}}, {headers: [{name: version, value: two}]}]
  backendRefs: [{name: v2, port: 80}]
",
    );
    routed(
        &(first + &second),
        &[
            row("GET /").host("example.com").reaches("v1"),
            row("GET /example").host("example.com").reaches("v1"),
            row("GET /example").host("example.net").reaches("v1"),
            row("GET /example").host("example.com").with("version: one").reaches("v1"),
            row("GET /v2").host("example.com").reaches("v2"),
            row("GET /v2").host("example.net").reaches("v1"),
            row("GET /v2/example").host("example.com").reaches("v2"),
            row("GET /").host("example.com").with("version: two").reaches("v2"),
            row("GET /").host("example.org").refused(404, "no-route"),
        ],
    );
}

#[test]
fn the_more_specific_host_goes_before_the_longer_path() {
    let to = |app: &str, hosts: &str, path: &str| {
        let rules = format!(
            "- matches: [{{path: {{value: {path}}}}}]\n  backendRefs: [{{name: {app}, port: 80}}]"
        );
        http_route_with(app, hosts, &rules)
    };
    let documents = to("v1", "", "/long/path")
        + &to("v2", "hostnames: ['*.example.com']", "/long")
        + &to("v3", "hostnames: [api.example.com]", "/");
    routed(
        &documents,
        &[
            row("GET /long/path").host("api.example.com").reaches("v3"),
            row("GET /long/path").host("www.example.com").reaches("v2"),
            row("GET /long/path").host("example.org").reaches("v1"),
            row("GET /").host("www.example.com").refused(404, "no-route"),
        ],
    );
}
