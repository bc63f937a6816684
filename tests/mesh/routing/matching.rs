//! Which rule takes a request: by path, header, query, method and host.

use http::Request;

use crate::harness::grpc::H2Client;
use crate::harness::yaml::{http_route, http_route_with};
use crate::harness::{Echoes, Lone, Row, row, table};

#[track_caller]
fn routed(documents: &str, rows: &[Row]) {
    let echoes = Echoes::four();
    let caller = Lone::with(&echoes.with(documents)).start();
    table(caller.echo(), &echoes, rows);
}

#[track_caller]
fn ruled(rules: &str, rows: &[Row]) {
    routed(&http_route("echo", rules), rows);
}

/// A request that no rule takes.
fn lost(line: &'static str) -> Row {
    row(line).refused(404, "no-route")
}

#[test]
fn without_a_route_the_service_answers() {
    routed(
        "",
        &[
            row("GET /").reaches("echo"),
            row("POST /any?thing=1").reaches("echo"),
            row("HEAD /").reaches("echo"),
            row("GET /").host("elsewhere.example").reaches("echo"),
        ],
    );
}

#[test]
fn a_rule_without_matches_takes_every_request_from_the_service_itself() {
    ruled(
        "- backendRefs: [{name: v1, port: 80}]",
        &[
            row("GET /").reaches("v1"),
            row("DELETE /deep/path?q").reaches("v1"),
            row("GET /").host("echo.default.svc.cluster.local:80").reaches("v1"),
        ],
    );
}

#[test]
fn path_prefixes_match_by_whole_segments() {
    ruled(
        "
- matches: [{path: {type: PathPrefix, value: /v1}}]
  backendRefs: [{name: v1, port: 80}]
- matches: [{path: {type: PathPrefix, value: /v2/}}]
  backendRefs: [{name: v2, port: 80}]
- matches: [{path: {value: /untyped}}]
  backendRefs: [{name: v3, port: 80}]
",
        &[
            row("GET /v1").reaches("v1"),
            row("GET /v1/").reaches("v1"),
            row("GET /v1/deep/path").reaches("v1"),
            row("GET /v1?query=/v2").reaches("v1"),
            row("GET /v2").reaches("v2"),
            row("GET /v2/").reaches("v2"),
            row("GET /v2/x").reaches("v2"),
            row("GET /untyped/x").reaches("v3"),
            lost("GET /v1example"),
            lost("GET /v2x"),
            lost("GET /V1"),
            lost("GET /"),
            lost("GET /x/v1"),
            // As it was sent: what stands in escapes is another path.
            lost("GET /%76%31"),
        ],
    );
}

#[test]
fn exact_paths_match_nothing_below_and_keep_their_letter_case() {
    ruled(
        "
- matches: [{path: {type: Exact, value: /one}}]
  backendRefs: [{name: v1, port: 80}]
- matches: [{path: {type: Exact, value: /two/}}, {path: {type: Exact, value: /two/three}}]
  backendRefs: [{name: v2, port: 80}]
",
        &[
            row("GET /one").reaches("v1"),
            row("GET /one?a=b").reaches("v1"),
            row("GET /two/").reaches("v2"),
            row("GET /two/three").reaches("v2"),
            lost("GET /one/"),
            lost("GET /one/example"),
            lost("GET /ONE"),
            lost("GET /two"),
            lost("GET /"),
        ],
    );
}

#[test]
fn regular_expressions_match_whole_paths_headers_and_parameters() {
    ruled(
        "
- matches: [{path: {type: RegularExpression, value: '/users/[0-9]+'}}]
  backendRefs: [{name: v1, port: 80}]
- matches: [{headers: [{type: RegularExpression, name: color, value: 'gr(e|a)y'}]}]
  backendRefs: [{name: v2, port: 80}]
- matches: [{queryParams: [{type: RegularExpression, name: n, value: '[0-9]*'}]}]
  backendRefs: [{name: v3, port: 80}]
",
        &[
            row("GET /users/42").reaches("v1"),
            lost("GET /users/42/edit"),
            lost("GET /x/users/42"),
            row("GET /").with("Color: gray").reaches("v2"),
            lost("GET /").with("Color: greyish"),
            row("GET /?n=17").reaches("v3"),
            row("GET /?n=").reaches("v3"),
            lost("GET /?n=17x"),
        ],
    );
}

#[test]
fn headers_match_by_name_in_any_case_and_by_exact_value() {
    ruled(
        "
- matches: [{headers: [{name: version, value: one}]}]
  backendRefs: [{name: v1, port: 80}]
- matches: [{headers: [{type: Exact, name: Version, value: two}]}]
  backendRefs: [{name: v2, port: 80}]
- matches: [{headers: [{name: version, value: two}, {name: color, value: orange}]}]
  backendRefs: [{name: v1, port: 80}]
- matches: [{headers: [{name: color, value: blue}]}, {headers: [{name: color, value: green}]}]
  backendRefs: [{name: v3, port: 80}]
- matches: [{headers: [{name: many, value: 'a,b'}]}]
  backendRefs: [{name: v3, port: 80}]
",
        &[
            row("GET /").with("version: one").reaches("v1"),
            row("GET /").with("VERSION: two").reaches("v2"),
            row("GET /").with("version: two").with("color: orange").reaches("v1"),
            row("GET /").with("version: two").with("color: purple").reaches("v2"),
            row("GET /").with("color: blue").reaches("v3"),
            row("GET /").with("color: green").reaches("v3"),
            row("GET /").with("many: a").with("many: b").reaches("v3"),
            lost("GET /").with("version: ONE"),
            lost("GET /").with("version: one two"),
            lost("GET /").with("color: orange"),
            lost("GET /").with("some-other-header: one"),
            lost("GET /"),
        ],
    );
}

#[test]
fn query_parameters_match_alone_and_with_other_conditions() {
    ruled(
        "
- matches: [{queryParams: [{name: animal, value: whale}]}]
  backendRefs: [{name: v1, port: 80}]
- matches: [{queryParams: [{name: animal, value: dolphin}, {name: color, value: blue}]}]
  backendRefs: [{name: v2, port: 80}]
- matches: [{headers: [{name: version, value: one}], queryParams: [{name: animal, value: whale}]}]
  backendRefs: [{name: v2, port: 80}]
- matches:
  - {path: {value: /sea}, queryParams: [{name: animal, value: shark}]}
  - {path: {value: /deep}, headers: [{name: version, value: three}], queryParams: [{name: animal, value: kraken}]}
  backendRefs: [{name: v3, port: 80}]
- matches: [{queryParams: [{name: said, value: 'a b/c'}]}]
  backendRefs: [{name: v3, port: 80}]
",
        &[
            row("GET /?animal=whale").reaches("v1"),
            row("GET /path?x=1&animal=whale&y").reaches("v1"),
            row("GET /?animal=dolphin&color=blue").reaches("v2"),
            row("GET /?color=blue&animal=dolphin").reaches("v2"),
            row("GET /?animal=whale").with("version: one").reaches("v2"),
            row("GET /sea?animal=shark").reaches("v3"),
            row("GET /deep?animal=kraken").with("version: three").reaches("v3"),
            row("GET /?said=a%20b%2Fc").reaches("v3"),
            // Of several of one name the first counts.
            row("GET /?animal=whale&animal=dog").reaches("v1"),
            lost("GET /?animal=dog&animal=whale"),
            lost("GET /?animal=dolphin"),
            lost("GET /?animal=whaledolphin"),
            lost("GET /?Animal=whale"),
            lost("GET /?animal"),
            lost("GET /?animal=shark"),
            lost("GET /deep?animal=kraken"),
            lost("GET /"),
        ],
    );
}

#[test]
fn methods_match_alone_and_with_other_conditions() {
    ruled(
        "
- matches: [{method: POST}]
  backendRefs: [{name: v1, port: 80}]
- matches: [{method: GET}, {method: PATCH, path: {value: /patch}}]
  backendRefs: [{name: v2, port: 80}]
- matches: [{method: PUT, headers: [{name: version, value: four}]}]
  backendRefs: [{name: v3, port: 80}]
",
        &[
            row("POST /").reaches("v1"),
            row("GET /").reaches("v2"),
            row("PATCH /patch").reaches("v2"),
            row("PUT /").with("version: four").reaches("v3"),
            lost("PATCH /"),
            lost("PUT /"),
            lost("HEAD /"),
            lost("DELETE /"),
        ],
    );
}

#[test]
fn hostnames_match_the_authority_exactly_or_below_a_star() {
    let to = |app: &str, hosts: &str| {
        let rules = format!("- backendRefs: [{{name: {app}, port: 80}}]");
        http_route_with(app, &format!("hostnames: {hosts}"), &rules)
    };
    let documents = to("v1", "[very.specific.com]")
        + &to("v2", "['*.wildcard.io', second.example]")
        + &to("v3", "['*.specific.com']");
    routed(
        &documents,
        &[
            row("GET /").host("very.specific.com").reaches("v1"),
            row("GET /").host("VERY.Specific.com").reaches("v1"),
            row("GET /").host("very.specific.com:1234").reaches("v1"),
            row("GET /").host("second.example").reaches("v2"),
            row("GET /").host("foo.wildcard.io").reaches("v2"),
            row("GET /").host("foo.bar.wildcard.io").reaches("v2"),
            row("GET /").host("less.specific.com").reaches("v3"),
            row("GET /").host("not.very.specific.com").reaches("v3"),
            lost("GET /").host("wildcard.io"),
            lost("GET /").host("foowildcard.io"),
            lost("GET /").host("specific.com"),
            lost("GET /").host("echo.default"),
        ],
    );
}

#[test]
fn what_no_rule_takes_is_answered_with_a_sentence_and_logged_so() {
    let echoes = Echoes::four();
    let rules = "- matches: [{path: {value: /known}}]\n  backendRefs: [{name: v1, port: 80}]";
    let caller = Lone::with(&echoes.with(&http_route("echo", rules))).start();
    let answer = caller.ask(crate::harness::get("/lost"));
    assert_eq!((answer.status(), answer.reason()), (404, Some("no-route")));
    assert!(answer.text().contains("echo.default"), "{:?}", answer.text());
    let entry = caller.sidecar.await_entry("/lost");
    assert_eq!((&entry["reason"], &entry["status"]), (&"no-route".into(), &404.into()));
    let labels = ["reason=\"no-route\"", "code=\"404\""];
    assert_eq!(caller.sidecar.metric("outrigger_requests_total", &labels), 1.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_has_no_body_where_a_head_was_asked_for() {
    let echoes = Echoes::four();
    let rules = "- matches: [{path: {value: /known}}]\n  backendRefs: [{name: v1, port: 80}]";
    let caller = Lone::with(&echoes.with(&http_route("echo", rules))).start();
    let mut wire = caller.connect();
    for _ in 0..2 {
        wire.send("HEAD /lost HTTP/1.1\r\nHost: echo\r\n\r\n");
        let answer = wire.message(true).expect("a head and nothing more");
        assert_eq!(answer.reason(), Some("no-route"));
    }
    let client = H2Client::connect(caller.echo()).await;
    let request = Request::head("http://echo/lost").body(()).expect("a request");
    let (answer, _) = client.open(request, true).await;
    let mut body = crate::harness::grpc::head(answer).await.into_body();
    let (bytes, end) = crate::harness::grpc::drain(&mut body).await;
    assert!(end.is_ok() && bytes.is_empty(), "{} bytes, then {end:?}", bytes.len());
}
