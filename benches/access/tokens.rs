//! What it costs to be shown a token or an API key: one that is new, and one that is remembered.

#[path = "../../tests/signer.rs"]
mod signer;

use std::hint::black_box;
use std::sync::LazyLock;
use std::time::{SystemTime, UNIX_EPOCH};

use http::request::Parts;
use outrigger::access::{Ask, Known, Policy, Presented, Request, What};
use outrigger::model::{SpiffeId, TrustDomain};
use outrigger::resources::{Origin, Resource, parse_documents};
use outrigger::telemetry::metrics::Registry;
use outrigger::telemetry::traffic::TrafficMetrics;
use serde_json::json;

use self::signer::{Signer, claims, jwks};
use crate::measured::{measure, say};

const ISSUER: &str = "https://idp.example";
/// New tokens: each is shown once, and the tenth that warms up as well.
const NEW: u32 = 2_000;

pub fn cost() {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is later").as_secs();
    for alg in ["ES256", "EdDSA", "RS256"] {
        let signer = Signer::new(alg, "bench");
        let policy = policy(&signer);
        let token = |nth: u32| {
            let more = json!({"roles": ["ops", "admin"], "jti": nth, "email": "ann@shop.example"});
            let token = signer.token(&claims(ISSUER, now, more));
            request("authorization", &format!("Bearer {token}"))
        };
        let requests: Vec<Parts> = (0..NEW + NEW / 10).map(token).collect();
        let mut next = requests.iter();
        row(&format!("{alg} new"), NEW, || {
            assert!(admits(&policy, next.next().expect("enough of them"), now));
        });
        let again = requests.last().expect("some");
        row(&format!("{alg} cached"), 100_000, || assert!(admits(&policy, again, now)));
    }
    let policy = policy(&Signer::new("ES256", "bench"));
    let key = request("x-api-key", "hunter2");
    row("API key", 100_000, || assert!(admits(&policy, &key, now)));
    let none = request("x-other", "hunter2");
    row("none", 100_000, || assert!(!admits(&policy, &none, now)));
}

fn row(name: &str, calls: u32, call: impl FnMut()) {
    let (ns, allocations) = measure(calls, call);
    say(&format!("{name:15} {ns:11.0} {allocations:11.2}"));
}

fn policy(signer: &Signer) -> Policy {
    let keys = jwks(&[signer]);
    let text = format!(
        "{{apiVersion: outrigger.dev/v1alpha1, kind: AccessPolicy, metadata: {{name: a}}, spec: {{\
         jwt: [{{issuer: '{ISSUER}', audiences: [api], jwks: {{inline: '{keys}'}}}}], \
         apiKeys: {{header: x-api-key, sha256: {{partner: \
         f52fbd32b2b3b86ff88ef6c490628285f482af15ddcb29541f94bcf526a3f6c7}}}}, rules: [\
         {{action: allow, from: [{{claims: {{roles: [admin]}}}}, {{apiKeys: [partner]}}]}}]}}}}"
    );
    let mut read = parse_documents(&text, &Origin::file("bench"), "shop").expect("sound");
    let Some(Resource::AccessPolicy(policy)) = read.pop() else { panic!("a policy") };
    let metrics = TrafficMetrics::register(&Registry::default());
    Policy::of(&[policy], TrustDomain::default(), &metrics)
}

fn request(name: &str, value: &str) -> Parts {
    let mut request = http::Request::get("/api").header("host", "api.shop:80");
    for name in ["accept", "user-agent", "cookie", "x-request-id", "traceparent"] {
        request = request.header(name, "something");
    }
    request.header(name, value).body(()).expect("a request").into_parts().0
}

/// Everything that a request needs for it.
fn admits(policy: &Policy, parts: &Parts, now: u64) -> bool {
    static ID: LazyLock<SpiffeId> =
        LazyLock::new(|| SpiffeId::parse("spiffe://cluster.local/ns/shop/sa/web").expect("an id"));
    let at = policy.at(80);
    let known = match at.intake().map(|intake| intake.present(black_box(parts), now, true)) {
        Some(Presented::Known(known)) => known,
        Some(Presented::Waits(_)) => return false,
        None => Known::default(),
    };
    let request = Request::of(parts, at.has_paths()).showing(&known);
    let what = What::Request(&request);
    let ask = Ask { port: 80, source: [10, 0, 0, 1].into(), id: Some(&*ID), what };
    policy.decide(&ask).permit().is_ok()
}
