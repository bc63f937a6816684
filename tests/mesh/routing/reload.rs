//! Routes and policies in watched files: changed, broken, mended, taken away.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::harness::yaml::{http_route, policy, service, workload};
use crate::harness::{App, Echoes, Load, Lone, eventually, get, post};

fn to(app: &str) -> String {
    http_route("echo", &format!("- backendRefs: [{{name: {app}, port: 80}}]"))
}

/// Routes that must not be accepted, and what the log must say of each.
const BROKEN: [(&str, &str); 4] = [
    ("- backendRefs: [{name: v2, port: 80}]\n  unknownField: 1", "unknownField"),
    ("- matches: [{path: {type: RegularExpression, value: '(['}}]", "matches"),
    ("- matches: [{path: {type: PathSuffix, value: /x}}]", "PathSuffix"),
    ("- filters: [{type: RequestRedirect, requestRedirect: {statusCode: 200}}]", "statusCode"),
];

#[test]
fn a_broken_route_changes_nothing_and_the_log_says_where_it_is_broken() {
    thread::scope(|scope| {
        for (rules, word) in BROKEN {
            scope.spawn(move || refused_in_flight(rules, word));
        }
    });
}

fn refused_in_flight(rules: &str, word: &str) {
    let echoes = Echoes::four();
    let caller = Lone::with(&echoes.with(&to("v1"))).start();
    assert_eq!(caller.ask(get("/")).text(), "v1");
    caller.rewrite(&echoes.with(&http_route("echo", rules)));
    caller.sidecar.await_log("the last good ones stay");
    let log = caller.sidecar.log();
    assert!(log.lines().any(|line| line.contains(word) && line.contains("mesh.yaml")), "{log}");
    for _ in 0..5 {
        assert_eq!(caller.ask(get("/")).text(), "v1", "{word}: the last good one stays");
    }
    assert_eq!(caller.sidecar.get("/ready").status(), 200);
    caller.rewrite(&echoes.with(&to("v3")));
    eventually("mended, it counts", || caller.ask(get("/")).text() == "v3");
}

#[test]
fn a_broken_policy_changes_nothing_either() {
    let slow = App::http(|_| {
        thread::sleep(Duration::from_millis(300));
        App::answer("ok")
    });
    let base = service("echo") + &workload("echo", "echo", slow.address);
    let caller =
        Lone::with(&(base.clone() + &policy("echo", "timeouts: {request: 100ms}"))).start();
    assert_eq!(caller.ask(get("/")).reason(), Some("request-timeout"));
    caller.rewrite(&(base.clone() + &policy("echo", "timeouts: {request: soon}")));
    caller.sidecar.await_log("the last good ones stay");
    assert_eq!(caller.ask(get("/")).reason(), Some("request-timeout"));
    caller.rewrite(&(base + &policy("echo", "timeouts: {request: 2s}")));
    eventually("mended, it counts", || caller.ask(get("/")).status() == 200);
}

#[test]
fn a_changed_route_counts_for_later_requests_and_drops_none_under_load() {
    let echoes = Echoes::four();
    let caller = Lone::with(&echoes.with(&to("v1"))).start();
    let load = Load::steady(caller.echo(), 300);
    load.goes_on(50);
    for next in ["v2", "v3"] {
        caller.rewrite(&echoes.with(&to(next)));
        eventually(next, || echoes.app(next).requests().len() > 30);
    }
    let v1 = echoes.app("v1").requests().len();
    load.goes_on(50);
    assert_eq!(echoes.app("v1").requests().len(), v1);
    // And without any route: the service itself.
    caller.rewrite(&echoes.yaml());
    eventually("the route is gone", || echoes.app("echo").requests().len() > 30);
    load.lost_nothing();
}

#[test]
fn a_request_that_is_under_way_ends_as_it_began() {
    let go_on = Arc::new(AtomicBool::new(false));
    let may = Arc::clone(&go_on);
    let held = App::http(move |request| {
        while request.target() == "/held" && !may.load(Ordering::SeqCst) {
            thread::sleep(Duration::from_millis(5));
        }
        App::answer("held")
    });
    let echoes = Echoes::named(["echo", "v1"]);
    let base = echoes.yaml() + &service("held") + &workload("held", "held", held.address);
    let told = "
- filters: [{type: ResponseHeaderModifier, responseHeaderModifier: {set: [{name: x-set, value: old}]}}]
  backendRefs: [{name: held, port: 80}]
";
    let caller = Lone::with(&(base.clone() + &http_route("echo", told))).start();
    let mut wire = caller.connect();
    wire.send(post("/held", b"1"));
    eventually("it is under way", || held.requests().len() == 1);
    caller.rewrite(&(base + &to("v1")));
    eventually("the new route counts", || caller.ask(get("/")).text() == "v1");
    go_on.store(true, Ordering::SeqCst);
    let answer = wire.response();
    assert_eq!((answer.text().as_str(), answer.header("x-set")), ("held", Some("old")));
    assert_eq!(wire.ask(get("/")).text(), "v1", "the next one of the same connection");
}

#[test]
fn a_change_of_one_service_resets_nothing_of_another() {
    let failing = App::http(|_| b"HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n".to_vec());
    let (good, other) = (App::ok(), App::ok());
    let base = service("echo")
        + &workload("bad", "echo", failing.address)
        + &workload("good", "echo", good.address)
        + &service("other")
        + &workload("other", "other", other.address);
    let caller = Lone::with(&base).upstream("other.default:80").start();
    let mut wire = caller.connect();
    for _ in 0..60 {
        wire.ask(post("/", b"1"));
    }
    let failed = failing.requests().len();
    assert_eq!(failed, 5, "its circuit is open");
    let edits = "
- filters: [{type: ResponseHeaderModifier, responseHeaderModifier: {set: [{name: x-set, value: new}]}}]
  backendRefs: [{name: other, port: 80}]
";
    let route = http_route("other", edits).replace("name: echo}]", "name: other}]");
    caller.rewrite(&(base + &route));
    eventually("the other service's route counts", || {
        let mut wire = crate::harness::Wire::connect(caller.services[1]);
        wire.ask(get("/")).header("x-set") == Some("new")
    });
    let page = caller.sidecar.get("/endpoints").text();
    assert!(page.contains("ejected") || page.contains("half-open"), "{page}");
}

#[test]
fn a_policy_of_a_rule_is_for_that_rule_alone() {
    let app = App::http(|_| {
        thread::sleep(Duration::from_millis(300));
        App::answer("ok")
    });
    let rules = "
- name: quick
  matches: [{path: {value: /quick}}]
  backendRefs: [{name: echo, port: 80}]
- name: slow
  backendRefs: [{name: echo, port: 80}]
";
    let service_wide = policy("echo", "timeouts: {request: 2s}");
    let of_rule = policy("quick", "timeouts: {request: 100ms}").replace(
        "{kind: Service, name: quick}",
        "{kind: HTTPRoute, name: echo, sectionName: quick}",
    );
    let yaml = service("echo")
        + &workload("echo", "echo", app.address)
        + &http_route("echo", rules)
        + &service_wide
        + &of_rule;
    let caller = Lone::with(&yaml).start();
    assert_eq!(caller.ask(get("/quick")).reason(), Some("request-timeout"));
    assert_eq!(caller.ask(get("/slow")).status(), 200);
}
