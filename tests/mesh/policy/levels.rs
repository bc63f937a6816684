//! Where a policy is written, and which one holds: rule, route, service, namespace, mesh, the nearer
//! before the farther, part by part.

use std::time::{Duration, Instant};

use super::table::AT_ONCE_AGAIN;
use crate::harness::{Callers, Script, Services, within};

/// A policy that shows where it is from.
fn says(status: u16) -> String {
    format!("fault: {{abort: {{percent: 100, httpStatus: {status}}}}}")
}

fn of_route(name: &str, section: &str, status: u16) -> String {
    format!("targetRefs: [{{kind: HTTPRoute, name: {name}{section}}}]\n{}", says(status))
}

#[track_caller]
fn status(callers: &Callers, service: &str, path: &str) -> u16 {
    callers.ask(service, format!("GET {path} HTTP/1.1\r\n\r\n")).status()
}

const RULES: &str = "- name: special\n  matches: [{path: {type: PathPrefix, value: /special}}]\n  backendRefs: [SELF]\n\
                     - name: rest\n  backendRefs: [SELF]";

#[test]
fn the_nearer_policy_holds() {
    let backend = Script::new("ok").serve();
    let at = [backend.address];
    let callers = Services::bare()
        .traffic_policy("mesh", "outrigger-system", &says(551))
        .traffic_policy("ours", "default", &says(552))
        .service("mesh-only.elsewhere", &at)
        .service("in-namespace", &at)
        .service("by-service", &at)
        .policy("by-service", &says(553))
        .service("by-route", &at)
        .policy("by-route", &says(553))
        .route("by-route", RULES)
        .traffic_policy("route", "default", &of_route("by-route", "", 554))
        .service("by-rule", &at)
        .policy("by-rule", &says(553))
        .route("by-rule", RULES)
        .traffic_policy("route-too", "default", &of_route("by-rule", "", 554))
        .traffic_policy("rule", "default", &of_route("by-rule", ", sectionName: special", 555))
        .service("rule-alone", &at)
        .route("rule-alone", RULES)
        .traffic_policy("alone", "default", &of_route("rule-alone", ", sectionName: special", 556))
        .start();
    for (service, path, expected) in [
        ("mesh-only.elsewhere", "/", 551),
        ("in-namespace", "/", 552),
        ("by-service", "/", 553),
        ("by-route", "/", 554),
        ("by-route", "/special", 554),
        ("by-rule", "/special", 555),
        ("by-rule", "/", 554),
        ("rule-alone", "/special", 556),
        ("rule-alone", "/", 552),
    ] {
        assert_eq!(status(&callers, service, path), expected, "{service} {path}");
    }
}

#[test]
fn each_part_comes_from_the_nearest_that_has_it() {
    let scripts = ["hang", "503 503 503 ok", "503 ok"].map(Script::new);
    let backends = scripts.each_ref().map(Script::serve);
    let callers = Services::bare()
        .traffic_policy(
            "mesh",
            "outrigger-system",
            &format!(
                "timeouts: {{request: 1500ms}}\nretry: {{on: [5xx], maxRetries: 3, {AT_ONCE_AGAIN}}}"
            ),
        )
        .service("time", &[backends[0].address])
        .policy("time", "retry: {maxRetries: 1}")
        .service("retries", &[backends[1].address])
        .policy("retries", "timeouts: {request: 9s}")
        .service("whole", &[backends[2].address])
        .policy("whole", "retry: {maxRetries: 1}")
        .start();
    let begun = Instant::now();
    let answer = callers.get("time");
    assert_eq!((answer.status(), answer.reason()), (504, Some("request-timeout")));
    assert!(begun.elapsed() < Duration::from_secs(7), "the mesh's time: {:?}", begun.elapsed());
    assert_eq!(callers.get("retries").status(), 200, "the mesh's retries");
    assert_eq!(scripts[1].count(), 4);
    assert_eq!(callers.get("whole").status(), 503, "its own retries, without the mesh's `on`");
    assert_eq!(scripts[2].count(), 1);
}

#[test]
fn levels_add_up() {
    let script = Script::new("503 503 ok~50");
    let backend = script.serve();
    let callers = Services::bare()
        .traffic_policy("mesh", "outrigger-system", "timeouts: {request: 5s}")
        .traffic_policy("ours", "default", &format!("retry: {{on: [5xx], {AT_ONCE_AGAIN}}}"))
        .service("all", &[backend.address])
        .policy("all", "loadBalancing: {policy: roundRobin}")
        .route("all", RULES)
        .traffic_policy(
            "route",
            "default",
            "targetRefs: [{kind: HTTPRoute, name: all}]\nfault: {delay: {percent: 100, duration: 300ms}}",
        )
        .start();
    let begun = Instant::now();
    assert_eq!(callers.get("all").status(), 200, "the namespace's retries");
    assert!(begun.elapsed() >= Duration::from_millis(340), "the route's delay");
    assert_eq!(script.count(), 3);
    let left = script.calls()[0].header("x-outrigger-deadline-ms").map(str::to_owned);
    let left = left.and_then(|left| left.parse::<u64>().ok()).expect("the mesh's time");
    assert!(left <= 4700, "{left}");
}

#[test]
fn limits_of_a_namespace_are_each_services_own() {
    let held = Script::new("hang");
    let (other, well) = (held.serve(), Script::new("ok").serve());
    let callers = Services::bare()
        .traffic_policy("ours", "default", "limits: {maxRequests: 1}")
        .service("small", &[other.address])
        .service("other", &[well.address])
        .start();
    let _first = callers.begin("small", "GET / HTTP/1.1\r\n\r\n");
    crate::harness::eventually("it is under way", || held.count() == 1);
    assert_eq!(callers.get("small").reason(), Some("overflow-requests"));
    assert_eq!(callers.get("other").reason(), None);
}

#[test]
fn several_targets_share_a_policy() {
    let backend = Script::new("ok").serve();
    let callers = Services::bare()
        .service("a", &[backend.address])
        .service("b", &[backend.address])
        .service("c", &[backend.address])
        .traffic_policy(
            "two",
            "default",
            &format!(
                "targetRefs: [{{kind: Service, name: a}}, {{kind: Service, name: b}}]\n{}",
                says(557)
            ),
        )
        .start();
    let found = ["a", "b", "c"].map(|service| callers.get(service).status());
    assert_eq!(found, [557, 557, 200]);
}

#[test]
fn a_policy_of_another_namespace_is_not_meant() {
    let backend = Script::new("ok").serve();
    let callers = Services::bare()
        .service("api", &[backend.address])
        .service("api.elsewhere", &[backend.address])
        .policy("api.elsewhere", &says(558))
        .traffic_policy("theirs", "third", &says(559))
        .start();
    assert_eq!(callers.get("api").status(), 200);
    assert_eq!(callers.get("api.elsewhere").status(), 558);
}

#[test]
fn a_changed_policy_holds_from_the_next_request() {
    let backend = Script::new("ok").serve();
    let services = Services::bare().service("api", &[backend.address]);
    let plain = services.documents().to_owned();
    let services = services.policy("api", &says(555));
    let faulty = services.documents().to_owned();
    let callers = services.start();
    assert_eq!(callers.get("api").status(), 555);
    let soon = Duration::from_secs(8);
    callers.rewrite(&plain);
    within(soon, "the fault is gone", || callers.get("api").status() == 200);
    callers.rewrite(&faulty.replace("555", "556"));
    within(soon, "another one is there", || callers.get("api").status() == 556);
    // One that can't be read leaves the last good one.
    callers.rewrite(&faulty.replace("percent: 100", "percent: all"));
    callers.outbound.await_log("percent");
    assert_eq!(callers.get("api").status(), 556);
}
