//! What a decision costs: measured, never judged.
//!
//! Policies with 1, 100, 1,000 and 10,000 rules of several kinds, and requests that the last of each
//! kind holds for, or none. `cargo bench --bench access`; a few seconds. Each line says nanoseconds
//! and allocations of one decision, with all that a request needs for it.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::hint::black_box;
use std::io::Write;
use std::sync::Arc;
use std::time::Instant;

use outrigger::access::{Ask, Policy, Request, What};
use outrigger::model::{SpiffeId, TrustDomain};
use outrigger::resources::{AccessPolicy, Origin, Resource, parse_documents};
use outrigger::telemetry::metrics::Registry;
use outrigger::telemetry::traffic::TrafficMetrics;

struct Counting;

thread_local! {
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

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

/// Nanoseconds and allocations of one call.
fn measure(mut call: impl FnMut()) -> (f64, f64) {
    const CALLS: u32 = 100_000;
    (0..CALLS / 10).for_each(|_| call());
    let (before, begun) = (COUNT.with(Cell::get), Instant::now());
    (0..CALLS).for_each(|_| call());
    let (took, count) = (begun.elapsed(), COUNT.with(Cell::get) - before);
    (took.as_nanos() as f64 / f64::from(CALLS), count as f64 / f64::from(CALLS))
}

fn say(line: &str) {
    writeln!(std::io::stdout(), "{line}").expect("somebody reads this");
}

fn main() {
    say("RULES REQUEST            NS ALLOCATIONS");
    [1, 100, 1_000, 10_000].into_iter().for_each(decide);
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
    let (ns, allocations) = measure(|| {
        black_box(decide());
    });
    say(&format!("{rules:5} {kind:9} {ns:11.0} {allocations:11.2}"));
}
