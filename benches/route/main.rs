//! What finding a rule costs: measured, never judged.
//!
//! Services with 1, 100 and 1,000 rules of all kinds mixed, and requests that fall under each kind,
//! or under none. `cargo bench --bench route`; a few seconds. Each line says nanoseconds and
//! allocations of one `find`; the last one is of the choice among weighted backends.

#[path = "../measured.rs"]
mod measured;

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use http::{Method, Request};
use outrigger::model::{HeaderMatch, Hostname, Match, PathMatch, RouteKind, Rule, ValueMatch};
use outrigger::route::{Head, Table, Turn, Weights};

use measured::{measure, say};

const CALLS: u32 = 200_000;

/// A rule of one of six kinds.
fn rule(nth: usize) -> Rule {
    let mut of = Match::default();
    let mut hostnames = Vec::new();
    let exact = PathMatch::Exact(format!("/api/v1/exact-{nth}").into());
    let prefix = PathMatch::Prefix(format!("/shop/prefix-{nth}").into());
    of.path = Some(match nth % 6 {
        0 | 4 => exact,
        1 => PathMatch::Regex(format!("/users-{nth}/[0-9]+/.*").into()),
        _ => prefix,
    });
    match nth % 6 {
        3 => {
            of.method = Some(Method::POST);
            let name = http::HeaderName::from_static("x-version");
            of.headers = vec![HeaderMatch { name, value: ValueMatch::Exact("2".into()) }];
        }
        4 => hostnames.push(Hostname::Exact(format!("host-{nth}.example.com").into())),
        5 => hostnames.push(Hostname::Below(format!(".domain-{nth}.example.com").into())),
        _ => {}
    }
    Rule {
        kind: RouteKind::Http,
        name: format!("rule-{nth}").into(),
        hostnames,
        matches: vec![of],
        filters: Vec::new(),
        backends: Vec::new(),
        policy: Arc::default(),
    }
}

/// A request that falls under the rule, by its kind; none falls under a number that is no rule's.
fn request(nth: usize) -> (&'static str, Request<()>) {
    let (kind, host, path) = match nth % 6 {
        0 => ("exact", "any.host".into(), format!("/api/v1/exact-{nth}?a=b")),
        1 => ("pattern", "any.host".into(), format!("/users-{nth}/17/orders")),
        2 => ("prefix", "any.host".into(), format!("/shop/prefix-{nth}/some/more/segments")),
        3 => ("header", "any.host".into(), format!("/shop/prefix-{nth}/some")),
        4 => ("host", format!("Host-{nth}.example.com:80"), format!("/api/v1/exact-{nth}")),
        _ => ("domain", format!("a.domain-{nth}.example.com"), format!("/shop/prefix-{nth}/b")),
    };
    let request = Request::post(path).header("host", host).header("x-version", "2");
    let others = ["accept", "user-agent", "cookie", "x-request-id", "traceparent"];
    let request = others.iter().fold(request, |request, name| request.header(*name, "something"));
    (kind, request.body(()).expect("a request"))
}

fn main() {
    say("RULES REQUEST          NS ALLOCATIONS");
    [1, 100, 1_000].into_iter().for_each(find);
    let (weights, mut turn) = (Weights::new(&[80, 15, 4, 1]), Turn::default());
    let (ns, allocations) = measure(CALLS, || {
        black_box(weights.next(&mut turn));
    });
    say(&format!("    4 weights  {ns:10.0} {allocations:11.2}"));
}

/// One line for compiling a table, one for each kind of its rules, and one for none of them.
fn find(rules: usize) {
    let list: Vec<_> = (0..rules).map(|nth| Arc::new(rule(nth))).collect();
    let begun = Instant::now();
    let table = Table::compile(&list);
    say(&format!("{rules:5} compile  {:10.0}", begun.elapsed().as_nanos()));
    let last_of_each_kind = rules.saturating_sub(6)..rules;
    for nth in last_of_each_kind.chain([1_002]) {
        let (kind, request) = request(nth);
        let (parts, expected) = (request.into_parts().0, (nth < rules).then_some(nth));
        let find = || table.find(black_box(&Head::of(&parts, false)));
        assert_eq!(find().map(|found| found.rule), expected);
        let (ns, allocations) = measure(CALLS, || {
            black_box(find());
        });
        let kind = if expected.is_some() { kind } else { "none" };
        say(&format!("{rules:5} {kind:8} {ns:10.0} {allocations:11.2}"));
    }
}
