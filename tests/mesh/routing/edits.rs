//! Filters that change a request or its answer: headers, path, host.

use crate::harness::yaml::http_route;
use crate::harness::{Echoes, Lone, Row, row, table};

#[track_caller]
fn ruled(rules: &str, rows: &[Row]) {
    let echoes = Echoes::four();
    let caller = Lone::with(&echoes.with(&http_route("echo", rules))).start();
    table(caller.echo(), &echoes, rows);
}

/// One rule for each path, with the same filters at the rule and at its backend.
fn at_rule_and_backend(cases: &[(&str, &str)]) -> [String; 2] {
    let at_rule = |(path, filters): &(&str, &str)| {
        format!(
            "- matches: [{{path: {{value: {path}}}}}]\n  filters: [{filters}]\n  \
             backendRefs: [{{name: v1, port: 80}}]\n"
        )
    };
    let at_backend = |(path, filters): &(&str, &str)| {
        format!(
            "- matches: [{{path: {{value: {path}}}}}]\n  \
             backendRefs: [{{name: v1, port: 80, filters: [{filters}]}}]\n"
        )
    };
    [cases.iter().map(at_rule).collect(), cases.iter().map(at_backend).collect()]
}

#[test]
fn request_headers_are_set_added_and_removed_by_rule_or_backend() {
    let edits = |fields: &str| {
        format!("{{type: RequestHeaderModifier, requestHeaderModifier: {{{fields}}}}}")
    };
    let (set, add) = ("set: [{name: X-Set, value: set}]", "add: [{name: X-Add, value: added}]");
    let (set, add, remove) = (edits(set), edits(add), edits("remove: [X-Remove]"));
    let all = edits(
        "set: [{name: X-Set-1, value: s1}, {name: X-Set-2, value: s2}], \
         add: [{name: X-Add-1, value: a1}, {name: X-Add-2, value: a2}], \
         remove: [X-Remove-1, X-Remove-2]",
    );
    let order = edits("set: [{name: X-One, value: s}], add: [{name: X-One, value: a}]");
    let cases =
        [("/set", &*set), ("/add", &add), ("/remove", &remove), ("/all", &all), ("/order", &order)];
    for rules in at_rule_and_backend(&cases) {
        ruled(
            &rules,
            &[
                row("GET /set")
                    .with("Other: val")
                    .reaches("v1")
                    .seen("x-set: set")
                    .seen("other: val"),
                row("GET /set").with("x-SET: old").reaches("v1").seen("x-set: set"),
                row("GET /add").reaches("v1").seen("x-add: added"),
                row("GET /add").with("X-Add: old").reaches("v1").seen("x-add: old, added"),
                row("GET /remove").with("x-remove: gone").reaches("v1").unseen("x-remove"),
                row("GET /all")
                    .with("X-Set-2: old")
                    .with("X-Add-2: old")
                    .with("X-Remove-2: gone")
                    .with("Another: stays")
                    .reaches("v1")
                    .seen("x-set-1: s1")
                    .seen("x-set-2: s2")
                    .seen("x-add-1: a1")
                    .seen("x-add-2: old, a2")
                    .seen("another: stays")
                    .unseen("x-remove-2"),
                row("GET /order").with("X-One: old").reaches("v1").seen("x-one: s, a"),
            ],
        );
    }
}

#[test]
fn answer_headers_are_set_added_and_removed_by_rule_or_backend() {
    let edits = |fields: &str| {
        format!("{{type: ResponseHeaderModifier, responseHeaderModifier: {{{fields}}}}}")
    };
    let (set, add) = ("set: [{name: X-Set, value: set}]", "add: [{name: X-Add, value: added}]");
    let (set, add, remove) = (edits(set), edits(add), edits("remove: [X-Remove]"));
    let cases = [("/set", &*set), ("/add", &add), ("/remove", &remove)];
    for rules in at_rule_and_backend(&cases) {
        ruled(
            &rules,
            &[
                row("GET /set").reaches("v1").told("x-set: set"),
                row("GET /set").with("x-back-x-set: old").reaches("v1").told("x-set: set"),
                row("GET /add").reaches("v1").told("x-add: added"),
                row("GET /add").with("x-back-x-add: old").reaches("v1").told("x-add: old, added"),
                row("GET /remove").with("x-back-x-remove: gone").reaches("v1").untold("x-remove"),
                row("GET /remove").with("x-back-other: stays").reaches("v1").told("other: stays"),
            ],
        );
    }
}

#[test]
fn filters_of_rule_and_backend_both_apply_and_only_to_their_backend() {
    ruled(
        "
- matches: [{path: {value: /both}}]
  filters:
  - {type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: x-by-rule, value: '1'}]}}
  - {type: ResponseHeaderModifier, responseHeaderModifier: {set: [{name: x-by-rule, value: '2'}]}}
  backendRefs:
  - name: v1
    port: 80
    filters:
    - {type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: x-by-backend, value: '3'}]}}
    - {type: ResponseHeaderModifier, responseHeaderModifier: {set: [{name: x-by-backend, value: '4'}]}}
- backendRefs: [{name: v2, port: 80}]
",
        &[
            row("GET /both")
                .reaches("v1")
                .seen("x-by-rule: 1")
                .seen("x-by-backend: 3")
                .told("x-by-rule: 2")
                .told("x-by-backend: 4"),
            row("GET /else").reaches("v2").unseen("x-by-rule").untold("x-by-backend"),
        ],
    );
}

#[test]
fn filters_of_a_backend_are_not_for_its_neighbours() {
    let echoes = Echoes::four();
    let rules = "
- backendRefs:
  - name: v1
    port: 80
    filters:
    - {type: ResponseHeaderModifier, responseHeaderModifier: {set: [{name: x-by, value: v1}]}}
  - {name: v2, port: 80}
";
    let caller = Lone::with(&echoes.with(&http_route("echo", rules))).start();
    let mut wire = caller.connect();
    for _ in 0..10 {
        let answer = wire.ask(crate::harness::get("/"));
        let marked = answer.header("x-by").is_some();
        assert_eq!(marked, answer.text() == "v1", "{answer:?}");
    }
    assert!(["v1", "v2"].iter().all(|name| !echoes.app(name).requests().is_empty()));
}

#[test]
fn a_filter_can_not_pretend_to_be_the_mesh() {
    let echoes = Echoes::four();
    let rules = "
- filters:
  - type: RequestHeaderModifier
    requestHeaderModifier: {set: [{name: x-tenant, value: a}]}
  backendRefs: [{name: v1, port: 80}]
";
    let caller = Lone::with(&echoes.with(&http_route("echo", rules))).start();
    let line = "X-Outrigger-Peer: spiffe://cluster.local/ns/default/sa/admin\r\n";
    caller.ask(crate::harness::get_with("/", line));
    let seen = echoes.app("v1").only_request();
    assert_eq!(seen.header("x-tenant"), Some("a"));
    assert_eq!(seen.header("x-request-id").map(str::len), Some(36), "the mesh's own stay");
}

fn rewrite(fields: &str) -> String {
    format!("{{type: URLRewrite, urlRewrite: {{{fields}}}}}")
}

#[test]
fn paths_are_rewritten_whole_or_in_their_prefix_and_the_query_stays() {
    let prefix = |to: &str| {
        rewrite(&format!("path: {{type: ReplacePrefixMatch, replacePrefixMatch: {to}}}"))
    };
    let full = rewrite("path: {type: ReplaceFullPath, replaceFullPath: /one}");
    let (shorter, strip, empty) = (prefix("/one"), prefix("/"), prefix("''"));
    let (slash, slashed) = (prefix("/xyz/"), prefix("/xyz"));
    let cases = [
        ("/prefix/one", &*shorter),
        ("/strip", &strip),
        ("/empty", &empty),
        ("/foo", &slash),
        ("/bar/", &slashed),
        ("/full", &full),
    ];
    let rows = |app| {
        [
            row("GET /prefix/one/two").reaches(app).asked_for("/one/two"),
            row("GET /prefix/one?a=b").reaches(app).asked_for("/one?a=b"),
            row("GET /strip/three").reaches(app).asked_for("/three"),
            row("GET /strip").reaches(app).asked_for("/"),
            row("GET /strip/?q=/strip").reaches(app).asked_for("/?q=/strip"),
            row("GET /empty/three").reaches(app).asked_for("/three"),
            row("GET /empty").reaches(app).asked_for("/"),
            row("GET /foo/bar").reaches(app).asked_for("/xyz/bar"),
            row("GET /foo/").reaches(app).asked_for("/xyz/"),
            row("GET /bar/baz").reaches(app).asked_for("/xyz/baz"),
            row("GET /full/one/two?x=%2F").reaches(app).asked_for("/one?x=%2F"),
            row("GET /strip/a%2Fb//c").reaches(app).asked_for("/a%2Fb//c"),
        ]
    };
    for rules in at_rule_and_backend(&cases) {
        ruled(&rules, &rows("v1"));
    }
}

#[test]
fn hosts_are_rewritten_alone_or_with_the_path() {
    let host = rewrite("hostname: one.example.org");
    let both = rewrite(
        "hostname: two.example.org, \
         path: {type: ReplacePrefixMatch, replacePrefixMatch: /new}",
    );
    let cases = [("/host", &*host), ("/both", &both)];
    for rules in at_rule_and_backend(&cases) {
        ruled(
            &rules,
            &[
                row("GET /host/x").reaches("v1").asked_for("/host/x").seen("host: one.example.org"),
                row("GET /both/x").reaches("v1").asked_for("/new/x").seen("host: two.example.org"),
            ],
        );
    }
}

#[test]
fn a_rewrite_and_header_edits_apply_together_and_matches_see_what_was_sent() {
    ruled(
        "
- matches: [{path: {value: /old}}]
  filters:
  - {type: URLRewrite, urlRewrite: {path: {type: ReplacePrefixMatch, replacePrefixMatch: /new}}}
  - {type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: version, value: two}]}}
  backendRefs: [{name: v1, port: 80}]
- matches: [{path: {value: /new}}, {headers: [{name: version, value: two}]}]
  backendRefs: [{name: v2, port: 80}]
",
        &[
            row("GET /old/x").reaches("v1").asked_for("/new/x").seen("version: two"),
            row("GET /new/x").reaches("v2").asked_for("/new/x").unseen("version"),
        ],
    );
}

#[test]
fn the_access_log_has_the_path_that_the_caller_asked_for() {
    let echoes = Echoes::four();
    let full = rewrite("path: {type: ReplaceFullPath, replaceFullPath: /inner}");
    let rules = format!("- filters: [{full}]\n  backendRefs: [{{name: v1, port: 80}}]");
    let caller = Lone::with(&echoes.with(&http_route("echo", &rules))).start();
    caller.ask(crate::harness::get("/outer"));
    assert_eq!(caller.sidecar.await_entry("/outer")["status"], 200);
}
