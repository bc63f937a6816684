//! A chain of services whose last one fails: retries of every hop must not multiply.
//!
//! `a` calls `b`, which calls `c`, which calls `d`, each by its own sidecar; `d` fails. What is
//! counted is how often `d` is called for each request that came to `a`.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::alone;
use super::traffic::{Told, Traffic};
use crate::harness::{App, Backend, Broken, Callers, Message, Script, Services, Wire};

/// The chain, from its end.
struct Chain {
    d: Arc<Script>,
    a: App,
    _backend: Backend,
    _apps: Vec<App>,
    _sidecars: Vec<Callers>,
}

/// What an app passes on of the request that it serves.
#[derive(Clone, Copy, PartialEq)]
enum Passes {
    TraceHeaders,
    Nothing,
}

const TRACE: [&str; 2] = ["traceparent", "tracestate"];

/// An app that asks the next one by its sidecar, and answers what that answered.
fn forwarder(sidecar: SocketAddr, service: &'static str, passes: Passes) -> App {
    App::http(move |request| {
        let traced = TRACE.iter().filter(|_| passes == Passes::TraceHeaders);
        let lines: String = traced
            .filter_map(|name| Some(format!("{name}: {}\r\n", request.header(name)?)))
            .collect();
        let mut wire = Wire::connect(sidecar);
        wire.send(format!("GET / HTTP/1.1\r\nHost: {service}.default\r\n{lines}\r\n"));
        answer(wire.message(false))
    })
}

fn answer(from: Result<Message, Broken>) -> Vec<u8> {
    let status = from.map_or(502, |answer| answer.status());
    format!("HTTP/1.1 {status} Passed\r\ncontent-length: 0\r\n\r\n").into_bytes()
}

impl Chain {
    fn start(failing: &str, policy: &str, passes: Passes) -> Self {
        let d = Script::new(failing);
        let backend = d.serve();
        let (mut next, mut sidecars, mut apps) = (backend.address, Vec::new(), Vec::new());
        for service in ["d", "c", "b"] {
            let mut services = Services::bare().service(service, &[next]);
            if !policy.is_empty() {
                services = services.policy(service, policy);
            }
            let callers = services.start();
            let app = forwarder(callers.by_host, service, passes);
            next = app.address;
            sidecars.push(callers);
            apps.push(app);
        }
        let a = apps.pop().expect("there are three");
        Self { d, a, _backend: backend, _apps: apps, _sidecars: sidecars }
    }

    /// How many calls of `d` each request became.
    fn blow(&self, name: &str) -> f64 {
        let traffic = Traffic { to: self.a.address, host: "a.default", per_second: 220 };
        // Long enough that a fifth of the requests is more than a budget's floor.
        let told: Told = traffic.run_until(600, Duration::from_secs(9));
        let each = self.d.count() as f64 / told.requests as f64;
        eprintln!("| {name} | {told} | {} calls, {each:.2} each |", self.d.count());
        assert!(told.requests >= 550, "too slow to say anything: {told}");
        each
    }
}

/// The edge's requests are traced; nobody retried them.
fn chain(failing: &str, policy: &str, passes: Passes, name: &str) -> f64 {
    let _alone = alone();
    Chain::start(failing, policy, passes).blow(name)
}

#[test]
fn under_the_usual_policy_the_last_one_has_a_fifth_more() {
    let each = chain("reset", "", Passes::TraceHeaders, "the last resets, usual policy");
    assert!((1.05..=1.2).contains(&each), "{each}");
}

#[test]
fn where_every_hop_retries_the_last_one_has_three_fifths_more() {
    let policy = "retry: {on: [5xx]}";
    let each = chain("503", policy, Passes::TraceHeaders, "the last answers 503, each hop retries");
    assert!((1.1..=1.6).contains(&each), "{each}");
}

#[test]
fn where_apps_pass_nothing_on_budgets_still_bound_it() {
    let policy = "retry: {on: [5xx]}";
    let each = chain("503", policy, Passes::Nothing, "the same, no trace headers passed on");
    // Three budgets of a fifth, each of what the one before let through.
    assert!(each <= 1.2_f64.powi(3) + 0.01, "{each}");
}
