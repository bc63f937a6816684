//! What a request's headers cost: measured, never judged.
//!
//! A request as a browser's call through a gateway has it, with 14 headers, and one as short as they
//! get. `cargo bench --bench headers`; a few seconds. Each line says nanoseconds and allocations of
//! one step; where a step changes the headers it gets a copy each time, whose own cost is the line
//! of the copy, and is taken off.

#[path = "../measured.rs"]
mod measured;

use std::hint::black_box;
use std::time::Duration;

use http::request::Parts;
use http::{HeaderMap, Request};
use outrigger::http::deadline;
use outrigger::http::headers::{Seen, copy, strip_hop_by_hop};
use outrigger::telemetry::Propagation;
use outrigger::telemetry::trace_context::TraceContext;
use outrigger::telemetry::values::Values;

use measured::{measure, say};

const CALLS: u32 = 500_000;
const FORMATS: [Propagation; 2] = [Propagation::W3c, Propagation::B3];

const LONG: [(&str, &str); 14] = [
    ("host", "api.shop.example"),
    ("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"),
    ("accept", "application/json, text/plain, */*"),
    ("accept-language", "en-GB,en;q=0.5"),
    ("accept-encoding", "gzip, deflate, br, zstd"),
    ("authorization", "Bearer eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhbm4ifQ.c2lnbmF0dXJl"),
    ("cookie", "session=0123456789abcdef; theme=dark"),
    ("content-type", "application/json"),
    ("connection", "keep-alive, x-hop"),
    ("x-hop", "one"),
    ("x-request-id", "0192c0de-0000-7000-8000-000000000001"),
    ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
    ("tracestate", "vendor=value,other=thing"),
    ("x-outrigger-deadline-ms", "1500"),
];
const SHORT: [(&str, &str); 2] = [("host", "api.shop.example"), ("accept", "*/*")];
const B3: [(&str, &str); 2] =
    [("host", "api.shop.example"), ("b3", "4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-1")];

fn main() {
    say("STEP                             NS ALLOCATIONS");
    for (name, headers) in [("14 headers", &LONG[..]), ("2 headers", &SHORT)] {
        steps(name, &request(headers));
    }
    let b3 = request(&B3).headers;
    row("trace context of b3, read", || read(&b3).is_some());
    assert!(read(&b3).is_some());
    let long = request(&LONG).headers;
    row("of headers without any, read", || read(black_box(&HeaderMap::new())).is_none());
    let context = read(&long).expect("a trace context");
    let mut ids = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move || {
        ids = ids.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
        ids
    };
    row("a child of it", || context.child(&mut random).trace_id == context.trace_id);
}

/// Every step of a request with these headers.
fn steps(name: &str, parts: &Parts) {
    say(name);
    let headers = &parts.headers;
    let seen = Seen::scan(headers);
    row("  scan", || Seen::scan(black_box(headers)) == seen);
    let (copy_ns, copy_allocations) =
        cost(|| copy(black_box(parts)).headers.len() == headers.len());
    line("  copy", copy_ns, copy_allocations);
    let changed = |name: &str, mut change: Box<dyn FnMut(&mut HeaderMap) -> bool>| {
        let (ns, allocations) = cost(|| change(&mut copy(black_box(parts)).headers));
        line(name, ns - copy_ns, allocations - copy_allocations);
    };
    let left = headers.len() - usize::from(seen.has(Seen::CONNECTION)) * 2;
    changed(
        "  strip hop-by-hop",
        Box::new(move |headers| {
            strip_hop_by_hop(headers, seen);
            headers.len() == left
        }),
    );
    row("  deadline, read", || {
        deadline::read(black_box(headers), seen).is_some() == seen.has(Seen::DEADLINE)
    });
    let duration = Duration::from_millis(1_499);
    changed(
        "  deadline, the same written",
        Box::new(move |headers| {
            deadline::write(headers, seen, duration);
            headers.contains_key("x-outrigger-deadline-ms")
        }),
    );
    let mut millis = 0;
    changed(
        "  deadline, another written",
        Box::new(move |headers| {
            millis = (millis + 1) % 1_000;
            deadline::write(headers, seen, Duration::from_millis(500 + millis));
            headers.contains_key("x-outrigger-deadline-ms")
        }),
    );
    row("  trace context, read", || read(black_box(headers)).is_some() == seen.has(Seen::TRACE));
    let mut values = Values::default();
    let fresh = || TraceContext { sampled: Some(true), ..TraceContext::fresh(&mut || 7) };
    let context = read(headers).unwrap_or_else(fresh);
    changed(
        "  trace context, written as w3c, b3",
        Box::new(move |headers| {
            context.write(headers, &FORMATS, &mut values);
            headers.contains_key("traceparent") && headers.contains_key("b3")
        }),
    );
}

fn read(headers: &HeaderMap) -> Option<TraceContext> {
    TraceContext::read(headers, &FORMATS)
}

fn request(headers: &[(&str, &str)]) -> Parts {
    let request = Request::post("/shop/items?page=2");
    let request =
        headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    request.body(()).expect("a request").into_parts().0
}

/// Of a step that comes out as it should.
fn cost(mut step: impl FnMut() -> bool) -> (f64, f64) {
    assert!(step(), "the step does what it is for");
    measure(CALLS, || {
        black_box(step());
    })
}

fn row(name: &str, step: impl FnMut() -> bool) {
    let (ns, allocations) = cost(step);
    line(name, ns, allocations);
}

fn line(name: &str, ns: f64, allocations: f64) {
    say(&format!("{name:<34} {ns:8.1} {allocations:8.2}"));
}
