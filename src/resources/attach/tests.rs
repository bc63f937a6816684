//! Who wins over whom, for whom, and what each resource is told about it.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::model::{Backend, Fallback, HeaderEdit, Limits, Mirror, Part, Share};
use crate::resources::{
    HttpRoute, HttpRule, Origin, ParentRef, RouteRetry, RouteTimeouts, Service, parse_documents,
};

mod standings;

/// A policy; `at` is `namespace/name`, with the day it was made behind an `@` if that is known.
fn policy(at: &str, spec: &str) -> Arc<Resource> {
    let metadata = metadata(at);
    let manifest = format!(
        "apiVersion: outrigger.dev/v1alpha1\nkind: TrafficPolicy\nmetadata: {{name: x, namespace: {}}}\nspec: {{{spec}}}",
        metadata.namespace,
    );
    match parse_documents(&manifest, &Origin::Default, "default").expect(spec).remove(0) {
        Resource::TrafficPolicy(mut policy) => {
            policy.metadata = metadata;
            Arc::new(Resource::TrafficPolicy(policy))
        }
        other => panic!("{other:?}"),
    }
}

fn metadata(at: &str) -> Metadata {
    let (at, day) = at.split_once('@').map_or((at, None), |(at, day)| (at, Some(day)));
    let (namespace, name) = at.split_once('/').expect("namespace/name");
    Metadata {
        name: name.into(),
        namespace: namespace.into(),
        labels: Default::default(),
        created: day.map(|day| format!("2026-01-{day}T00:00:00Z").parse().expect("a time")),
        version: None,
        at: Origin::Default,
    }
}

fn service_name(text: &str) -> ServiceName {
    ServiceName::parse(text, "shop").expect("a name")
}

fn rule(name: Option<&str>, backend: &str) -> HttpRule {
    let backend = Backend { service: service_name(backend), weight: 1, filters: Vec::new() };
    HttpRule {
        name: name.map(str::to_owned),
        matches: Vec::new(),
        filters: Vec::new(),
        backends: vec![backend],
        timeouts: RouteTimeouts::default(),
        retry: None,
    }
}

/// A route whose parents are `name.namespace`, with a port or the name of one behind a colon.
fn route(at: &str, parents: &[&str], rules: Vec<HttpRule>) -> Arc<Resource> {
    let parent = |text: &&str| {
        let (service, port) = text.split_once(':').map_or((*text, None), |(s, p)| (s, Some(p)));
        let (name, namespace) = service.split_once('.').expect("name.namespace");
        let number = port.and_then(|port| port.parse().ok());
        let section = port.filter(|_| number.is_none()).map(str::to_owned);
        ParentRef { name: name.into(), namespace: namespace.into(), port: number, section }
    };
    let parents = parents.iter().map(parent).collect();
    let metadata = metadata(at);
    Arc::new(Resource::HttpRoute(HttpRoute { metadata, parents, hostnames: Vec::new(), rules }))
}

/// `web` of namespace `shop`, with the ports 80 (`http`) and 90 (`admin`).
fn web() -> Service {
    let manifest = "apiVersion: v1\nkind: Service\nmetadata: {name: web, namespace: shop}\nspec: {ports: [{name: http, port: 80}, {name: admin, port: 90}]}";
    match parse_documents(manifest, &Origin::Default, "default").expect("valid").remove(0) {
        Resource::Service(service) => service,
        other => panic!("{other:?}"),
    }
}

/// What holds for `web.shop:80`, out of everything.
fn attached(all: &[Arc<Resource>], namespace: &str) -> Attached {
    let service = web();
    attach(&service_name("web:80"), false, &select(&service, &service.ports[0], all), namespace)
}

/// A policy's part that tells policies apart, and who said it.
fn limit(policy: &Policy) -> (u32, Option<&str>) {
    (policy.limits.max_requests, policy.origins.of(Part::Limits).map(|origin| &**origin))
}

fn retries(policy: &Policy) -> (u32, Option<&str>) {
    (policy.retry.max_retries, policy.origins.of(Part::Retry).map(|origin| &**origin))
}

fn limits(of: &str, requests: u32) -> Arc<Resource> {
    limits_on(of, requests, "")
}

fn limits_on(of: &str, requests: u32, target: &str) -> Arc<Resource> {
    policy(of, &format!("{target}limits: {{maxRequests: {requests}}}"))
}

fn retries_on(of: &str, retries: u32, target: &str) -> Arc<Resource> {
    policy(of, &format!("{target}retry: {{maxRetries: {retries}}}"))
}

const WEB: &str = "targetRefs: [{kind: Service, name: web}], ";
const PORT: &str = "targetRefs: [{kind: Service, name: web, sectionName: http}], ";
const OTHER_PORT: &str = "targetRefs: [{kind: Service, name: web, sectionName: admin}], ";
const ROUTE: &str = "targetRefs: [{kind: HTTPRoute, name: r}], ";
const RULE: &str = "targetRefs: [{kind: HTTPRoute, name: r, sectionName: a}], ";

#[test]
fn session_affinity_beats_the_farther_levels_and_no_nearer_one() {
    let balanced = |all: &[Arc<Resource>]| {
        let service = web();
        let all = select(&service, &service.ports[0], all);
        let policy = attach(&service_name("web:80"), true, &all, "shop").policy;
        let said = policy.origins.of(Part::LoadBalancing).map(|origin| origin.to_string());
        (policy.balancing.policy.as_str(), policy.balancing.prefers_zone, said.unwrap_or_default())
    };
    let random = "loadBalancing: {policy: random, locality: \"off\"}";
    let farther = [policy("outrigger-system/mesh@01", random), policy("shop/all@01", random)];
    assert_eq!(balanced(&[]), ("ringHash", true, "Service shop/web".into()));
    assert_eq!(balanced(&farther), ("ringHash", false, "Service shop/web".into()));
    let own = [policy("shop/own@01", &format!("{WEB}{random}"))];
    assert_eq!(balanced(&own), ("random", false, "TrafficPolicy shop/own".into()));
}

#[test]
fn each_level_beats_the_farther_ones() {
    let usual = Limits::default().max_requests;
    let levels = [
        (limits("other/o", 1), (usual, None)),
        (limits("outrigger-system/mesh", 2), (2, Some("TrafficPolicy outrigger-system/mesh"))),
        (limits("shop/all", 3), (3, Some("TrafficPolicy shop/all"))),
        (limits_on("shop/other", 4, OTHER_PORT), (3, Some("TrafficPolicy shop/all"))),
        (limits_on("other/web", 5, WEB), (3, Some("TrafficPolicy shop/all"))),
        (limits_on("shop/web", 6, WEB), (6, Some("TrafficPolicy shop/web"))),
        (limits_on("shop/port", 7, PORT), (7, Some("TrafficPolicy shop/port"))),
    ];
    let mut all = Vec::new();
    for (said, expected) in levels {
        all.push(said);
        assert_eq!(limit(&attached(&all, "shop").policy), expected);
        assert_eq!(limit(&attached(&all, "elsewhere").policy), expected);
    }
}

#[test]
fn parts_are_taken_one_by_one_and_whole() {
    let all = [
        policy(
            "outrigger-system/mesh",
            "retry: {maxRetries: 5, bodyLimit: 1MiB}, hedge: {after: 1s}",
        ),
        policy("shop/all", "fault: {abort: {percent: 1, reset: true}}, tls: off"),
        policy("shop/web", &format!("{WEB}retry: {{maxRetries: 1}}, fault: {{}}")),
    ];
    let policy = attached(&all, "shop").policy;
    assert_eq!(retries(&policy), (1, Some("TrafficPolicy shop/web")));
    assert_eq!(policy.retry.body_limit_bytes, 64 << 10);
    assert!(policy.hedge.is_some());
    assert_eq!(policy.fault, None);
    let origin = |part| policy.origins.of(part).map(|origin| &**origin);
    assert_eq!(origin(Part::Fault), Some("TrafficPolicy shop/web"));
    assert_eq!(origin(Part::Tls), Some("TrafficPolicy shop/all"));
    assert_eq!(origin(Part::Hedge), Some("TrafficPolicy outrigger-system/mesh"));
    assert_eq!(origin(Part::Timeouts), None);
}

#[test]
fn the_oldest_of_one_level_wins_whole() {
    let rows: [(&[Arc<Resource>], u32); 4] = [
        (&[limits_on("shop/b@02", 2, WEB), limits_on("shop/a@03", 3, WEB)], 2),
        (&[limits_on("shop/a", 1, WEB), limits_on("shop/b@31", 2, WEB)], 2),
        (&[limits_on("shop/b", 2, WEB), limits_on("shop/a", 1, WEB)], 1),
        (&[limits_on("shop/b@02", 2, WEB), limits_on("shop/a@02", 1, WEB)], 1),
    ];
    for (all, expected) in rows {
        assert_eq!(limit(&attached(all, "shop").policy).0, expected, "{all:?}");
    }
    let all = [limits_on("shop/old@01", 1, WEB), retries_on("shop/new@02", 9, WEB)];
    assert_eq!(retries(&attached(&all, "shop").policy), (2, None));
}

#[test]
fn rules_take_from_the_service_then_the_route_then_themselves() {
    let rules = || vec![rule(Some("a"), "one:80"), rule(None, "two:80")];
    let mut all = vec![route("shop/r", &["web.shop"], rules())];
    let levels = [
        (retries_on("shop/web", 1, WEB), (1, 1)),
        (retries_on("shop/route", 3, ROUTE), (3, 3)),
        (retries_on("other/route", 4, ROUTE), (3, 3)),
        (retries_on("shop/rule", 5, RULE), (5, 3)),
    ];
    for (said, expected) in levels {
        all.push(said);
        let found = attached(&all, "shop");
        let seen: Vec<u32> = found.rules.iter().map(|rule| retries(&rule.policy).0).collect();
        assert_eq!(seen, [expected.0, expected.1], "{:?}", all.last());
        assert_eq!(retries(&found.policy).0, 1);
    }
    let found = attached(&all, "shop");
    let names: Vec<&str> = found.rules.iter().map(|rule| &*rule.name).collect();
    assert_eq!(names, ["r.shop/a", "r.shop/1"]);
    assert_eq!(retries(&found.rules[0].policy).1, Some("TrafficPolicy shop/rule"));
    assert_eq!(found.rules[1].backends[0].service, service_name("two:80"));
}

#[test]
fn a_rule_nobody_speaks_of_shares_the_policy_of_the_service() {
    let all = [route("shop/r", &["web.shop"], vec![rule(None, "one:80")])];
    let found = attached(&all, "shop");
    assert!(Arc::ptr_eq(&found.policy, &found.rules[0].policy));
}

#[test]
fn a_rules_own_limits_come_last_and_change_their_fields_only() {
    let own = HttpRule {
        timeouts: RouteTimeouts {
            request: Some(Duration::ZERO),
            backend_request: Some(Duration::from_secs(3)),
        },
        retry: Some(RouteRetry {
            codes: vec![500, 503],
            attempts: Some(4),
            backoff: Some(Duration::from_secs(2)),
        }),
        ..rule(Some("a"), "one:80")
    };
    let all = [
        route("shop/r", &["web.shop"], vec![own, rule(None, "two:80")]),
        policy("shop/web", &format!("{WEB}timeouts: {{request: 9s, idle: 1m}}")),
        policy("shop/rule", &format!("{RULE}retry: {{maxRetries: 1, on: [5xx], bodyLimit: 7}}")),
    ];
    let rules = attached(&all, "shop").rules;
    let policy = &rules[0].policy;
    assert_eq!(policy.timeouts.request, None);
    assert_eq!(policy.timeouts.backend_request, Some(Duration::from_secs(3)));
    assert_eq!(policy.timeouts.idle, Duration::from_secs(60));
    assert_eq!(policy.origins.of(Part::Timeouts).map(|o| &**o), Some("HTTPRoute shop/r"));
    assert_eq!(retries(policy), (4, Some("HTTPRoute shop/r")));
    assert_eq!(*policy.retry.status_codes, [500..=500, 503..=503]);
    let on = policy.retry.on;
    assert!(on.connect_failure && on.refused_stream && on.reset_before_response && on.reset);
    assert!(!on.server_error, "its own codes stand for the answers that are retried");
    assert!(!policy.retry.backoff.full_jitter, "its pause is the least there is");
    assert_eq!(policy.retry.body_limit_bytes, 7);
    let backoff = policy.retry.backoff;
    assert_eq!((backoff.base, backoff.max), (Duration::from_secs(2), Duration::from_secs(2)));
    assert_eq!(rules[1].policy.timeouts.request, Some(Duration::from_secs(9)));
    assert_eq!(retries(&rules[1].policy), (2, None));
}

#[test]
fn a_rule_that_says_little_leaves_the_rest_as_it_was() {
    let retry = Some(RouteRetry { codes: Vec::new(), attempts: None, backoff: None });
    let own = HttpRule { retry, ..rule(None, "one:80") };
    let all = [
        route("shop/r", &["web.shop"], vec![own]),
        policy("shop/web", &format!("{WEB}retry: {{maxRetries: 7, statusCodes: [502]}}")),
    ];
    let retry = attached(&all, "shop").rules[0].policy.retry.clone();
    assert_eq!((retry.max_retries, &*retry.status_codes), (7, &[502..=502][..]));
    assert!(retry.on.reset);
    assert_eq!(retry.backoff, Default::default());
}

#[test]
fn consumers_have_their_own_routes_or_the_producers() {
    let to = |at, backend: &str| route(at, &["web.shop"], vec![rule(None, backend)]);
    let all = [
        to("shop/new@02", "b:80"),
        to("shop/old@01", "a:80"),
        to("shop/ageless", "c:80"),
        to("buyer/r", "d:80"),
        to("third/r", "e:80"),
        route("buyer/port", &["web.shop:90"], vec![rule(None, "f:80")]),
        route("late/port", &["web.shop:90"], vec![rule(None, "g:80")]),
    ];
    let seen = |namespace: &str| -> String {
        let rules = attached(&all, namespace).rules;
        rules.iter().map(|rule| &*rule.backends[0].service.name).collect::<Vec<_>>().join("")
    };
    assert_eq!(seen("shop"), "abc");
    assert_eq!(seen("buyer"), "d");
    assert_eq!(seen("third"), "e");
    assert_eq!(seen("late"), "abc");
}

#[test]
fn only_what_is_about_the_port_is_selected() {
    let all = [
        route("shop/all", &["web.shop"], vec![]),
        route("shop/name", &["web.shop:http"], vec![]),
        route("shop/number", &["web.shop:80"], vec![]),
        route("shop/both", &["web.shop:90", "web.shop:http"], vec![]),
        route("shop/other-port", &["web.shop:90"], vec![]),
        route("shop/other-name", &["web.shop:admin"], vec![]),
        route("shop/other", &["api.shop", "web.other"], vec![]),
        limits("outrigger-system/mesh", 1),
        limits("shop/shop", 1),
        limits("other/other", 1),
        retries_on("shop/on-route", 1, "targetRefs: [{kind: HTTPRoute, name: name}], "),
        retries_on("shop/on-no-route", 1, "targetRefs: [{kind: GRPCRoute, name: name}], "),
        retries_on("shop/on-other", 1, "targetRefs: [{kind: HTTPRoute, name: other}], "),
        retries_on("other/on-foreign", 1, "targetRefs: [{kind: HTTPRoute, name: name}], "),
    ];
    let service = web();
    let mut backwards = all.to_vec();
    backwards.reverse();
    let selected = select(&service, &service.ports[0], &backwards);
    let names: Vec<&str> = selected.iter().map(|r| &*r.metadata().name).collect();
    assert_eq!(names, ["all", "both", "name", "number", "mesh", "on-route", "shop"]);
    assert_eq!(selected, select(&service, &service.ports[0], &all));
}

#[test]
fn what_a_policy_says_of_another_port_is_not_taken_for_this_one() {
    let target = "targetRefs: [{kind: HTTPRoute, name: r}, {kind: Service, name: web, sectionName: admin}], ";
    let all = [
        route("shop/r", &["web.shop:80"], vec![rule(None, "one:80")]),
        retries_on("shop/p", 9, target),
    ];
    let found = attached(&all, "shop");
    assert_eq!(retries(&found.policy).0, 2);
    assert_eq!(retries(&found.rules[0].policy).0, 9);
}

#[test]
fn fallbacks_take_the_port_that_was_asked_for_and_never_lead_back() {
    let fallback = |at, to: &str| policy(at, &format!("fallback: {{service: '{to}'}}"));
    let to = |all: &[Arc<Resource>]| attached(all, "shop").policy.fallback.clone();
    let service = |text| Some(Fallback::Service(service_name(text)));
    assert_eq!(to(&[fallback("shop/a", "static")]), service("static.shop:80"));
    assert_eq!(
        to(&[fallback("outrigger-system/a", "static")]),
        service("static.outrigger-system:80")
    );
    assert_eq!(to(&[fallback("shop/a", "static:81")]), service("static.shop:81"));
    assert_eq!(to(&[fallback("shop/a", "web")]), None);
    let response = policy("shop/a", "fallback: {response: {body: sorry}}");
    assert!(matches!(to(&[response]), Some(Fallback::Response { body, .. }) if body == "sorry"));
}

#[test]
fn every_service_that_is_sent_to_is_named_once() {
    let mirror = |to: &str| Filter::Mirror(Mirror { service: service_name(to), share: Share::ALL });
    let mut mirrored = rule(None, "b:80");
    mirrored.filters = vec![mirror("m:80"), Filter::RequestHeaders(HeaderEdit::default())];
    mirrored.backends[0].filters = vec![mirror("n:80")];
    let all = [
        route("buyer/r", &["web.shop"], vec![rule(None, "z.buyer:1"), rule(None, "web:80")]),
        route("shop/r", &["web.shop"], vec![mirrored, rule(None, "b:80"), rule(None, "web:90")]),
        policy("shop/f", &format!("{ROUTE}fallback: {{service: static}}")),
        policy("shop/g", "fallback: {service: web}"),
    ];
    let found = references(&service_name("web:80"), &all);
    let found: Vec<String> = found.iter().map(ToString::to_string).collect();
    let expected =
        ["b.shop:80", "m.shop:80", "n.shop:80", "static.shop:80", "web.shop:90", "z.buyer:1"];
    assert_eq!(found, expected);
}

fn anything() -> impl Strategy<Value = Arc<Resource>> {
    let at = ("(shop|buyer|outrigger-system)", "[ab]", prop::option::of(1..4));
    let at = at.prop_map(|(namespace, name, day)| match day {
        Some(day) => format!("{namespace}/{name}@0{day}"),
        None => format!("{namespace}/{name}"),
    });
    let targets = prop::sample::select(vec!["", WEB, PORT, OTHER_PORT, "-"]);
    (at, targets, 1u32..9).prop_map(|(at, target, n)| match target {
        "-" => route(&at, &["web.shop"], vec![rule(Some("a"), &format!("b{n}:80"))]),
        "" => limits(&at, n),
        target => limits_on(&at, n, target),
    })
}

proptest! {
    #[test]
    fn the_order_of_attachments_does_not_matter(
        all in prop::collection::vec(anything(), 0..8),
        more in prop::collection::vec(0u32..9, 0..3),
        seed in any::<prop::sample::Index>(),
    ) {
        // No two resources of one name exist.
        let mut all = all;
        let id = |r: &Arc<Resource>| {
            let of = r.metadata();
            (r.kind(), of.namespace.clone(), of.name.clone())
        };
        all.sort_by_key(id);
        all.dedup_by_key(|r| id(r));
        let rule = "targetRefs: [{kind: HTTPRoute, name: a, sectionName: a}], ";
        all.extend(more.iter().map(|n| retries_on(&format!("buyer/on{n}@01"), *n, rule)));
        all.sort_by_key(id);
        all.dedup_by_key(|r| id(r));
        let expected = attached(&all, "buyer");
        let mut shuffled = all.clone();
        shuffled.reverse();
        let middle = seed.index(all.len() + 1);
        shuffled.rotate_left(middle.min(all.len()));
        prop_assert_eq!(&attached(&shuffled, "buyer"), &expected);
        let name = service_name("web:80");
        prop_assert_eq!(&attach(&name, false, &shuffled, "buyer"), &attach(&name, false, &all, "buyer"));
        prop_assert_eq!(references(&name, &shuffled), references(&name, &all));
    }
}
