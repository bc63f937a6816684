//! What a limit costs a request: measured, never judged.
//!
//! 1 and 10 limits, by header, with one known key and with 100,000 of them; and a request that is
//! refused. `cargo bench --bench limit`; a few seconds. Each line says nanoseconds and allocations
//! of one decision, without the fields of the answer, and with them.

#[path = "../measured.rs"]
mod measured;

use std::hint::black_box;
use std::sync::Arc;

use http::request::Parts;
use http::{HeaderMap, Request};
use outrigger::limit::rate::{Ask, Rates};
use outrigger::resources::{Origin, RateLimitPolicy, Resource, parse_documents};
use outrigger::telemetry::metrics::Registry;
use outrigger::telemetry::traffic::TrafficMetrics;

use measured::{measure, say};

const CALLS: u32 = 200_000;

fn policy(limits: usize, requests: u32) -> Arc<RateLimitPolicy> {
    let one = |nth: usize| {
        format!("{{key: 'header:x-user', requests: {requests}, per: {}s}}", 3_600 + nth)
    };
    let limits: Vec<String> = (0..limits).map(one).collect();
    let text = format!(
        "{{apiVersion: outrigger.dev/v1alpha1, kind: RateLimitPolicy, metadata: {{name: a}}, \
         spec: {{limits: [{}]}}}}",
        limits.join(", ")
    );
    let mut read = parse_documents(&text, &Origin::file("bench"), "shop").expect("sound");
    let Some(Resource::RateLimitPolicy(policy)) = read.pop() else { panic!("a policy") };
    policy
}

fn request(user: usize) -> Parts {
    let mut request = Request::get("/api/orders/17").header("host", "api.shop:80");
    for name in ["accept", "user-agent", "cookie", "x-request-id", "traceparent"] {
        request = request.header(name, "something");
    }
    request.header("x-user", format!("user-{user}")).body(()).expect("a request").into_parts().0
}

fn ask(parts: &Parts) -> Ask<'_> {
    let source = [10, 0, 0, 1].into();
    Ask { port: 80, source, id: None, claims: None, api_key: None, parts }
}

fn main() {
    say("LIMITS    KEYS CASE               NS ALLOCATIONS");
    for limits in [1, 10] {
        for keys in [1, 100_000 / limits] {
            decide(limits, keys, "taken", 1_000_000);
        }
        decide(limits, 1, "refused", 1);
    }
}

fn decide(limits: usize, keys: usize, case: &str, requests: u32) {
    let rates = Rates::new(TrafficMetrics::register(&Registry::default()));
    rates.publish(&[policy(limits, requests)]);
    let all: Vec<Parts> = (0..keys).map(request).collect();
    all.iter().for_each(|parts| drop(rates.take(&ask(parts), 1)));
    let mut next = 0;
    let mut turn = || {
        next = (next + 7919) % keys;
        rates.take(&ask(black_box(&all[next])), 2)
    };
    let (ns, allocations) = measure(CALLS, || drop(black_box(turn())));
    say(&format!("{limits:6} {keys:7} {case:12} {ns:8.0} {allocations:11.2}"));
    let mut headers = HeaderMap::with_capacity(32);
    let (ns, allocations) = measure(CALLS, || {
        headers.clear();
        if let Ok(Some(quota)) | Err(quota) = turn() {
            quota.write(&mut headers);
        }
        black_box(&headers);
    });
    say(&format!("{limits:6} {keys:7} {:12} {ns:8.0} {allocations:11.2}", "with fields"));
}
