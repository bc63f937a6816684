//! Rules and policies in the words of the resources that they come from.
//!
//! Written by the room that reads resources, so that what a page shows can be put into a file.

use serde_json::{Map, Value, json};

use crate::model::{self, Fallback, Filter, Match, Part, Policy};
use crate::resources::{
    FallbackSpec, HttpRoute, HttpRule, Metadata, Origin, Resource, RouteTimeouts, TrafficPolicy,
    manifest,
};
use crate::route::Table;

/// What is said where no resource says anything.
const DEFAULT: &str = "default";

/// A part: what it says, `null` where it is off, and which resource says so.
pub fn part(policy: &Policy, part: Part) -> Value {
    let mut all = parts(policy, &[part]);
    all.remove(part.as_str()).unwrap_or_default()
}

/// The same for some parts, by name.
pub fn parts(policy: &Policy, of: &[Part]) -> Map<String, Value> {
    let mut says = spec(policy);
    let one = |part: &Part| {
        let says = says.get_mut(part.as_str()).map(Value::take).unwrap_or_default();
        (part.as_str().to_owned(), json!({"from": origin(policy, *part), "says": says}))
    };
    of.iter().map(one).collect()
}

/// The resource that says a part.
pub fn origin(policy: &Policy, part: Part) -> &str {
    policy.origins.of(part).map_or(DEFAULT, |origin| origin)
}

/// As a `TrafficPolicy` would say it.
fn spec(policy: &Policy) -> Value {
    let Policy {
        balancing,
        limits,
        circuit,
        retry,
        hedge,
        timeouts,
        fault,
        fallback,
        keeps_header_case,
        tls,
        origins: _,
    } = policy.clone();
    let backend_request = timeouts.backend_request;
    let written = TrafficPolicy {
        metadata: metadata(),
        targets: Vec::new(),
        load_balancing: Some(balancing),
        limits: Some(limits),
        circuit: Some(circuit),
        retry: Some(retry),
        hedge,
        timeouts: Some(timeouts),
        fault,
        fallback: fallback.map(fallback_of),
        keeps_header_case: Some(keeps_header_case),
        tls: Some(tls),
    };
    let mut spec = spec_of(&Resource::TrafficPolicy(Box::new(written)));
    if let Some(limit) = backend_request {
        // Only routes can say it.
        let said = RouteTimeouts { request: None, backend_request: Some(limit) };
        spec["timeouts"]["backendRequest"] =
            rule(&[], &[], said)["timeouts"]["backendRequest"].take();
    }
    spec
}

fn fallback_of(fallback: Fallback) -> FallbackSpec {
    match fallback {
        Fallback::Service(name) => FallbackSpec::Service(name),
        Fallback::Response { status, headers, body } => {
            FallbackSpec::Response { status, headers, body }
        }
    }
}

/// A match of a rule.
pub fn of_match(of: &Match) -> Value {
    rule(std::slice::from_ref(of), &[], RouteTimeouts::default())["matches"][0].take()
}

/// What says which requests a rule is for, and what its filters do.
pub fn conditions(of: &model::Rule) -> (Value, Value, Value) {
    let mut written = rule(&of.matches, &of.filters, RouteTimeouts::default());
    let route = HttpRoute {
        metadata: metadata(),
        parents: Vec::new(),
        hostnames: of.hostnames.clone(),
        rules: Vec::new(),
    };
    let mut spec = spec_of(&Resource::HttpRoute(route));
    let list = |value: &mut Value, name: &str| match value.get_mut(name) {
        Some(list) => list.take(),
        None => json!([]),
    };
    (list(&mut spec, "hostnames"), list(&mut written, "matches"), list(&mut written, "filters"))
}

/// The filters of a backend.
pub fn filters(filters: &[Filter]) -> Value {
    let mut written = rule(&[], filters, RouteTimeouts::default());
    written.get_mut("filters").map_or(json!([]), Value::take)
}

fn rule(matches: &[Match], filters: &[Filter], timeouts: RouteTimeouts) -> Value {
    let rule = HttpRule {
        name: None,
        matches: matches.to_vec(),
        filters: filters.to_vec(),
        backends: Vec::new(),
        timeouts,
        retry: None,
    };
    let route = HttpRoute {
        metadata: metadata(),
        parents: Vec::new(),
        hostnames: Vec::new(),
        rules: vec![rule],
    };
    spec_of(&Resource::HttpRoute(route))["rules"][0].take()
}

fn spec_of(resource: &Resource) -> Value {
    manifest::of(resource)["spec"].take()
}

fn metadata() -> Metadata {
    Metadata {
        name: String::new(),
        namespace: String::new(),
        labels: Default::default(),
        created: None,
        version: None,
        at: Origin::Default,
    }
}

/// The kind of resource that a rule is from; none wrote that of a service without routes.
pub fn kind(table: &Table, of: &model::Rule) -> &'static str {
    match of.kind {
        _ if table.is_default() => DEFAULT,
        model::RouteKind::Http => "HTTPRoute",
        model::RouteKind::Grpc => "GRPCRoute",
    }
}

/// The parts that hold for a rule's own requests.
pub const OF_RULES: [Part; 5] =
    [Part::Retry, Part::Hedge, Part::Timeouts, Part::Fault, Part::Fallback];

/// The parts that a backend says of itself, whichever rule sends to it.
pub const OF_BACKENDS: [Part; 5] =
    [Part::LoadBalancing, Part::Limits, Part::CircuitBreaker, Part::HeaderCase, Part::Tls];
