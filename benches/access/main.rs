//! What a decision costs: measured, never judged.
//!
//! Policies with 1, 100, 1,000 and 10,000 rules of several kinds, and requests that the last of each
//! kind holds for, or none; then what tokens and API keys add. `cargo bench --bench access`; a few seconds. Each line says nanoseconds
//! and allocations of one decision, with all that a request needs for it.

#[path = "../measured.rs"]
mod measured;
mod tokens;

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use outrigger::access::{Ask, Policy, Request, What};
use outrigger::model::{SpiffeId, TrustDomain};
use outrigger::resources::{AccessPolicy, Origin, Resource, parse_documents};
use outrigger::telemetry::metrics::Registry;
use outrigger::telemetry::traffic::TrafficMetrics;

use measured::{measure, say};

const CALLS: u32 = 100_000;

fn id(nth: usize) -> String {
    format!("spiffe://cluster.local/ns/team-{}/sa/service-{nth}", nth % 50)
}

/// A rule of one of eight kinds.
fn rule(nth: usize) -> String {
    let id = id(nth);
    match nth % 8 {
        0 => format!("{{action: allow, from: [{{identities: ['{id}']}}]}}"),
        1 => format!("{{action: allow, to: [{{paths: ['/api/v1/exact-{nth}']}}]}}"),
        2 => format!("{{action: allow, to: [{{methods: [GET], paths: ['/shop/p-{nth}/*']}}]}}"),
        3 => format!("{{action: allow, to: [{{paths: ['/users-{nth}/{{id}}/orders']}}]}}"),
        4 => format!(
            "{{action: allow, from: [{{identities: ['{id}']}}], to: [{{paths: ['/own/*']}}]}}"
        ),
        5 => format!("{{action: deny, from: [{{identities: ['{id}']}}]}}"),
        6 => format!("{{action: deny, to: [{{paths: ['/internal-{nth}/*']}}]}}"),
        _ => format!("{{action: allow, to: [{{headers: {{x-tenant: t-{nth}}}, paths: [/t]}}]}}"),
    }
}

const KINDS: [&str; 8] =
    ["identity", "exact", "prefix", "variable", "own path", "deny id", "deny path", "header"];

/// Who asks for what, so that the rule holds.
fn request(nth: usize) -> (String, String) {
    let path = match nth % 8 {
        1 => format!("/api/v1/exact-{nth}?a=b"),
        2 => format!("/shop/p-{nth}/some/more/segments"),
        3 => format!("/users-{nth}/17/orders"),
        4 => "/own/thing".to_owned(),
        6 => format!("/internal-{nth}/x"),
        7 => "/t".to_owned(),
        _ => "/whatever/else".to_owned(),
    };
    let caller = if matches!(nth % 8, 0 | 4 | 5) { nth } else { 999_999 };
    (id(caller), path)
}

fn policies(rules: usize) -> Vec<Arc<AccessPolicy>> {
    let rules: Vec<String> = (0..rules).map(rule).collect();
    let one = |(nth, rules): (usize, &[String])| {
        let text = format!(
            "{{apiVersion: outrigger.dev/v1alpha1, kind: AccessPolicy, \
             metadata: {{name: p{nth}, namespace: shop}}, spec: {{rules: [{}]}}}}",
            rules.join(", ")
        );
        let mut read = parse_documents(&text, &Origin::file("bench"), "shop").expect("sound");
        let Some(Resource::AccessPolicy(policy)) = read.pop() else { panic!("a policy") };
        policy
    };
    rules.chunks(1_000).enumerate().map(one).collect()
}

fn main() {
    say("RULES REQUEST            NS ALLOCATIONS");
    [1, 100, 1_000, 10_000].into_iter().for_each(decide);
    say("TOKEN                    NS ALLOCATIONS");
    tokens::cost();
}

/// One line for compiling the policies, one for each kind of rule, one for none, and two for paths
/// that are not written plainly.
fn decide(rules: usize) {
    let policies = policies(rules);
    let metrics = TrafficMetrics::register(&Registry::default());
    let begun = Instant::now();
    let policy = Policy::of(&policies, TrustDomain::default(), &metrics);
    say(&format!("{rules:5} compile    {:10}", begun.elapsed().as_nanos()));
    for nth in rules.saturating_sub(8)..rules {
        let (who, path) = request(nth);
        one(&policy, rules, KINDS[nth % 8], &who, &path, &format!("t-{nth}"));
    }
    one(&policy, rules, "none", &id(999_999), "/nothing/of/the/kind", "t");
    one(&policy, rules, "dots", &id(999_999), "/nothing//of/%2e%2e/kind", "t");
    one(&policy, rules, "readings", &id(999_999), "/nothing%2Fof;a/the/kind", "t");
}

fn one(policy: &Policy, rules: usize, kind: &str, who: &str, path: &str, tenant: &str) {
    let id = SpiffeId::parse(who).expect("an id");
    let mut request = http::Request::get(path).header("host", "api.shop:80");
    for name in ["accept", "user-agent", "cookie", "x-request-id", "traceparent"] {
        request = request.header(name, "something");
    }
    let parts = request.header("x-tenant", tenant).body(()).expect("a request").into_parts().0;
    let decide = || {
        let request = Request::of(black_box(&parts), policy.at(8080).has_paths());
        let what = What::Request(&request);
        let ask = Ask { port: 8080, source: [10, 0, 0, 1].into(), id: Some(&id), what };
        let decision = policy.decide(&ask);
        policy.count(&decision);
        decision.permit().is_ok()
    };
    let expected = !matches!(kind, "deny id" | "deny path" | "none" | "dots" | "readings");
    assert!(rules < 8 || decide() == expected, "{kind} {path}");
    let (ns, allocations) = measure(CALLS, || {
        black_box(decide());
    });
    say(&format!("{rules:5} {kind:9} {ns:11.0} {allocations:11.2}"));
}
