//! The pages of a picture made by hand.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use serde_json::{Value, json};

use super::explain::{answer, read};
use super::policies::policies_of;
use super::routes::routes_of;
use super::services::{endpoints_of, services_of};
use crate::circuit;
use crate::model::{
    Backend, Balancing, Coverage, Endpoint, FailureRate, Filter, Hostname, Match, Mesh, Part,
    PathChange, PathMatch, Policy, Protocol, Rewrite, RouteKind, Rule, Service, ServiceName,
};
use crate::outbound::{Snapshot, compile};
use crate::runtime::clock::Rng;

const TCP: &str = "TrafficPolicy shop/api";

fn name(text: &str) -> ServiceName {
    ServiceName::parse(text, "shop").expect("a name")
}

fn policy() -> Policy {
    let mut policy = Policy::default();
    policy.retry.max_retries = 1;
    policy.origins.set(Part::Retry, TCP.into());
    policy.circuit.failure_rate = Some(FailureRate::default());
    policy.balancing = Balancing { panic_threshold: Some(50), ..Balancing::default() };
    policy
}

fn rule(name: &str, path: &str, to: &[(&str, u32)], policy: &Arc<Policy>) -> Arc<Rule> {
    let path = Some(PathMatch::Prefix(path.into()));
    let backend = |(to, weight): &(&str, u32)| Backend {
        service: self::name(to),
        weight: *weight,
        filters: Vec::new(),
    };
    let rewrite = Rewrite { authority: None, path: Some(PathChange::Full("/new".into())) };
    Arc::new(Rule {
        kind: RouteKind::Http,
        name: name.into(),
        hostnames: vec![Hostname::Below(".shop".into())],
        matches: vec![Match { path, ..Match::default() }],
        filters: vec![Filter::Rewrite(rewrite)],
        backends: to.iter().map(backend).collect(),
        policy: Arc::clone(policy),
    })
}

/// A service with two rules and two endpoints, one of them in our zone, and one of nothing.
fn snapshot() -> Snapshot {
    let of_service = Arc::new(policy());
    let mut of_rule = policy();
    of_rule.timeouts.request = Some(std::time::Duration::from_secs(2));
    of_rule.origins.set(Part::Timeouts, "HTTPRoute shop/web".into());
    let endpoint = |port, zone: Option<&str>| {
        let address = ([127, 0, 0, 1], port).into();
        Arc::new(Endpoint::new(address, None, "api-1.shop".into(), zone.map(Arc::from), 1))
    };
    let routes = vec![
        rule("web.shop/a", "/a", &[("api:80", 3), ("none:80", 1)], &Arc::new(of_rule)),
        rule("web.shop/b", "/a/b", &[("empty:80", 1)], &of_service),
    ];
    let service = |text: &str, endpoints, policy: &Arc<Policy>, routes| {
        let name = name(text);
        let policy = Arc::clone(policy);
        let protocol = Protocol::Auto;
        (
            name.clone(),
            Arc::new(Service { name, protocol, endpoints, policy, routes, conflicts: Vec::new() }),
        )
    };
    let both = vec![endpoint(1, Some("a")), endpoint(2, None)];
    let services = HashMap::from([
        service("api:80", both, &of_service, routes),
        service("empty:80", Vec::new(), &Arc::default(), Vec::new()),
    ]);
    let answered = [name("api:80"), name("empty:80"), name("none:80")].into();
    let coverage = Coverage::Answered { services: answered, addresses: Default::default() };
    let mesh = Mesh { version: 7, coverage, services, ..Mesh::default() };
    compile(Arc::new(mesh), Some("a"), &Snapshot::default())
}

fn explained(snapshot: &Snapshot, query: &str) -> Value {
    answer(snapshot, &read(query, "shop").expect("a question"), 1_000_000)
}

fn why(page: &Value) -> Vec<&str> {
    page["why"].as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

#[test]
fn services_say_how_they_are_balanced() {
    let page = services_of(&snapshot(), 1_000_000);
    assert_eq!(page["version"], 7);
    let api = &page["services"][0];
    assert_eq!((&api["name"], &api["balancing"]), (&json!("api.shop:80"), &json!("peakEwma")));
    assert_eq!((&api["ready"], &api["panicking"]), (&json!(2), &json!(false)));
    assert_eq!((&api["requests"], &api["pending"]), (&json!(0), &json!(0)));
}

#[test]
fn endpoints_have_their_circuits_facts() {
    let snapshot = snapshot();
    let target = &snapshot.targets[&name("api:80")];
    let health = &target.backend.service.endpoints[1].health;
    health.held_back_us.store(400_000, Relaxed);
    let page = endpoints_of(&snapshot, 1_000_000);
    let (near, far) = (&page["endpoints"][0], &page["endpoints"][1]);
    assert_eq!((&near["local"], &far["local"]), (&json!(true), &json!(false)));
    assert_eq!((&near["heldBackMs"], &far["heldBackMs"]), (&json!(null), &json!(600)));
    assert_eq!(near["failureRate"], json!({"percent": null, "bad": 0, "requests": 0}));
    assert_eq!((&near["slowRate"], &near["reopened"]), (&json!(null), &json!(0)));
}

#[test]
fn routes_are_written_as_resources_are() {
    let page = routes_of(&snapshot());
    let rules = &page["routes"][0]["rules"];
    assert_eq!((&rules[0]["name"], &rules[0]["kind"]), (&json!("web.shop/a"), &json!("HTTPRoute")));
    assert_eq!(rules[0]["hostnames"], json!(["*.shop"]));
    let path = json!([{"path": {"type": "PathPrefix", "value": "/a"}}]);
    assert_eq!(rules[0]["matches"], path);
    assert_eq!(rules[0]["filters"][0]["type"], "URLRewrite");
    let missing = json!({"service": "none.shop:80", "weight": 1, "exists": false, "endpoints": null, "filters": []});
    assert_eq!(rules[0]["backends"][1], missing);
    assert_eq!(rules[0]["timeouts"]["from"], "HTTPRoute shop/web");
    assert_eq!(rules[0]["timeouts"]["says"]["request"], "2s");
    assert_eq!(rules[1]["retry"]["from"], TCP);
    let own = &page["routes"][1]["rules"][0];
    assert_eq!((&own["name"], &own["kind"]), (&json!("default"), &json!("default")));
    assert_eq!(own["backends"][0]["service"], "empty.shop:80");
}

#[test]
fn policies_are_of_services_and_of_rules_that_differ() {
    let page = policies_of(&snapshot(), 1_000_000);
    let rows = page["policies"].as_array().expect("a list");
    let who: Vec<(&Value, &Value)> =
        rows.iter().map(|row| (&row["service"], &row["rule"])).collect();
    let (api, empty) = (json!("api.shop:80"), json!("empty.shop:80"));
    let (a, null) = (json!("web.shop/a"), Value::Null);
    assert_eq!(who, [(&api, &null), (&api, &a), (&empty, &null)]);
    let parts = rows[0]["parts"].as_object().expect("parts");
    assert_eq!(parts.len(), Part::ALL.len());
    assert_eq!(
        (&parts["retry"]["from"], &parts["hedge"]),
        (&json!(TCP), &json!({"from": "default", "says": null}))
    );
    let differs: Vec<&String> = rows[1]["parts"].as_object().expect("parts").keys().collect();
    assert_eq!(differs, ["timeouts"]);
    let now = json!({"requests": 0, "retries": 0, "allowed": 100});
    assert_eq!(rows[0]["now"]["retryBudget"], now);
    assert_eq!(rows[0]["now"]["limits"]["requests"], json!({"inUse": 0, "most": 16384}));
}

#[test]
fn a_request_is_explained() {
    let page = explained(&snapshot(), "service=api:80&path=/a/x?q=1&host=api.shop:80&header=x-a:1");
    assert_eq!(page["rule"]["name"], "web.shop/a");
    assert_eq!(page["access"], "decided by the other side");
    let sent = &page["outcome"]["sent"];
    assert_eq!(sent["request"]["path"], "/new?q=1");
    let shares: Vec<&Value> = (0..2).map(|n| &sent["backends"][n]["sharePercent"]).collect();
    assert_eq!(shares, [&json!(75), &json!(25)]);
    assert_eq!(sent["backends"][1]["refused"]["reason"], "no-backends");
    assert_eq!(sent["backends"][0]["endpoints"][0]["chancePercent"], 100);
    assert_eq!(sent["timeouts"]["request"], "2s");
    let why = why(&page);
    let said = [
        "rule web.shop/a matches: its host is *.shop, its path begins with /a",
        "endpoint 127.0.0.1:2 gets nothing: endpoints of our own zone are preferred",
        "TrafficPolicy shop/api sets retry, HTTPRoute shop/web sets timeouts; everything else is the default",
    ];
    for sentence in said {
        assert!(why.contains(&sentence), "{sentence} is not in {why:#?}");
    }
}

/// Makes endpoints fail until their circuits open.
fn eject(snapshot: &Snapshot, which: &[usize]) {
    let service = &snapshot.targets[&name("api:80")].backend.service;
    let mut rng = Rng::seeded(1);
    for endpoint in which.iter().map(|index| &service.endpoints[*index]) {
        for _ in 0..service.policy.circuit.consecutive_failures {
            let all = &service.endpoints;
            let (pass, verdict) = (circuit::Pass::Normal, circuit::Verdict::Failure);
            let policy = &service.policy.circuit;
            circuit::settle(endpoint, all, pass, verdict, None, policy, 900_000, &mut rng);
        }
    }
}

#[test]
fn an_open_circuit_is_explained() {
    let snapshot = snapshot();
    eject(&snapshot, &[0]);
    let page = explained(&snapshot, "service=api:80&path=/a&host=api.shop");
    let endpoints = &page["outcome"]["sent"]["backends"][0]["endpoints"];
    assert_eq!(
        (&endpoints[0]["state"], &endpoints[0]["chancePercent"]),
        (&json!("ejected"), &json!(0))
    );
    assert_eq!(endpoints[1]["chancePercent"], 100);
    let sentence = "endpoint 127.0.0.1:1 gets nothing: its circuit is open for another ";
    assert!(why(&page).iter().any(|why| why.starts_with(sentence)), "{page:#}");
    let ejected = &endpoints_of(&snapshot, 1_000_000)["endpoints"][0];
    assert_eq!(
        (&ejected["state"], &ejected["consecutiveFailures"]),
        (&json!("ejected"), &json!(5))
    );
}

#[test]
fn a_request_that_another_sidecar_repeats_is_not_repeated() {
    let query = "service=api:80&path=/a&host=api.shop&header=x-outrigger-attempt:2";
    let page = explained(&snapshot(), query);
    assert_eq!(page["outcome"]["sent"]["retry"]["maxRetries"], 0);
    let sentence = "it is not retried: another sidecar retries it already";
    assert!(why(&page).contains(&sentence), "{page:#}");
}

#[test]
fn precedence_is_explained() {
    let page = explained(&snapshot(), "service=api:80&path=/a/b/c&host=x.shop");
    assert_eq!(page["outcome"]["refused"]["reason"], "no-endpoints");
    let sentence = "rule web.shop/a matches too; web.shop/b goes first because its path is longer";
    assert!(why(&page).contains(&sentence), "{page:#}");
}

#[test]
fn a_request_without_a_rule_is_told_what_it_lacks() {
    let page = explained(&snapshot(), "service=api.shop:80&path=/c&host=x.shop");
    assert_eq!((&page["rule"], &page["outcome"]["refused"]["status"]), (&json!(null), &json!(404)));
    let sentence = "rule web.shop/b does not match: its path does not begin with /a/b";
    assert!(why(&page).contains(&sentence), "{page:#}");
}

#[test]
fn what_nobody_was_told_of_is_said() {
    let snapshot = snapshot();
    let none = explained(&snapshot, "service=none:80");
    assert_eq!(none["outcome"]["refused"]["reason"], "no-route");
    let page = explained(&snapshot, "service=other:80");
    assert!(page["outcome"]["unknown"]["sentence"].is_string(), "{page:#}");
    assert!(why(&page).iter().any(|why| why.contains("on first use")), "{page:#}");
}

#[test]
fn every_fault_of_a_question_is_named() {
    let faults = |query: &str| read(query, "shop").map(|_| ()).expect_err("no question");
    let query = "service=api&method=G%20T&path=a&header=x&host=a/b&source=here&where=1&path=/%ZZ";
    let all = faults(query);
    assert_eq!(all.len(), 8, "{all:#?}");
    assert_eq!(faults("path=/"), ["service: is missing; write service=name.namespace:port"]);
    assert_eq!(faults("service=a:1&host=b&header=host:c").len(), 1);
    assert_eq!(faults("service=a:1&path=/%+1").len(), 1);
}
