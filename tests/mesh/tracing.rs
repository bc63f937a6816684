//! Traces as a collector sees them: whole, nested, and kept for the right reasons.

mod chain;
pub mod collector;
mod export;
mod independent;

use std::time::Duration;

use self::chain::{Chain, Traced, WAY, assert_nested};
use self::collector::Collector;
use crate::harness::{App, Pair, Wire, get, get_with};

const W3C: &[&str] = &["traceparent", "tracestate"];
const B3: &[&str] = &["b3"];
const B3_MULTI: &[&str] = &["x-b3-traceid", "x-b3-spanid", "x-b3-sampled", "x-b3-parentspanid"];
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const SPAN: &str = "00f067aa0ba902b7";

/// What the configuration says, so that every span goes there.
fn all_to(collector: &Collector) -> String {
    to(collector, "sampleRatio: 1.0")
}

fn to(collector: &Collector, more: &str) -> String {
    let address = collector.address;
    format!("telemetry: {{traces: {{otlpEndpoint: \"http://{address}\", protocol: http, {more}}}}}")
}

#[test]
fn four_services_make_one_trace_in_every_format() {
    for (propagation, passed) in [("[w3c]", W3C), ("[b3]", B3), ("[b3multi]", B3_MULTI)] {
        let collector = Collector::http();
        // The edge decides for all of them.
        let traced =
            Traced { collector: &collector, propagation, passed, edge_ratio: 1.0, ratio: 0.0 };
        let chain = Chain::start(&traced, |_| App::answer("ok"));
        assert_eq!(chain.ask("/orders?id=7", "").status(), 200);
        let spans = collector.await_spans(WAY.len(), |_| true);
        assert_nested(&spans, "");
        for seen in &spans {
            assert!(seen.is("outrigger.kept", "sampled"), "{seen:#?}");
            assert!(seen.is("url.path", "/orders") && seen.is("http.response.status_code", "200"));
            assert_eq!(seen.attempts("http.response.status_code"), ["200"]);
        }
    }
}

#[test]
fn what_failed_is_kept_by_every_sidecar_although_nobody_sampled_it() {
    let collector = Collector::http();
    let traced = Traced {
        collector: &collector,
        propagation: "[w3c, b3]",
        passed: W3C,
        edge_ratio: 0.0,
        // The edge has decided against it.
        ratio: 1.0,
    };
    let chain = Chain::start(&traced, |request| match request.target() {
        "/fails" => b"HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n".to_vec(),
        _ => App::answer("ok"),
    });
    assert_eq!(chain.ask("/well", "").status(), 200);
    let lines = format!("traceparent: 00-{TRACE}-{SPAN}-00\r\n");
    assert_eq!(chain.ask("/fails", &lines).status(), 500);
    let spans = collector.await_spans(WAY.len(), |_| true);
    assert_nested(&spans, SPAN);
    for seen in &spans {
        assert_eq!(seen.trace_id(), TRACE);
        assert!(seen.is("outrigger.kept", "failed") && seen.is("error.type", "500"), "{seen:#?}");
    }
}

#[test]
fn retries_show_as_attempts() {
    let collector = Collector::http();
    let app = App::http(|request| match request.header("x-outrigger-attempt") {
        None => b"HTTP/1.1 503 Later\r\ncontent-length: 0\r\n\r\n".to_vec(),
        Some(_) => App::answer("ok"),
    });
    let policy = "apiVersion: outrigger.dev/v1alpha1\nkind: TrafficPolicy\n\
                  metadata: {name: app, namespace: default}\n\
                  spec: {targetRefs: [{kind: Service, name: app}], retry: {statusCodes: [503]}}\n";
    let mesh =
        Pair::bare(app.address).resources(policy).outbound_config(&all_to(&collector)).start();
    assert_eq!(mesh.ask(get("/")).status(), 200);
    let span = collector.await_spans(1, |_| true).remove(0);
    assert_eq!(span.attempts("http.response.status_code"), ["503", "200"]);
    assert_eq!(span.attempts("outrigger.endpoint"), [(); 2].map(|()| app.address.to_string()));
    assert!(span.is("http.request.resend_count", "1"), "{span:#?}");
    let begun: Vec<u64> = span.span.events.iter().map(|event| event.time_unix_nano).collect();
    assert!(begun[0] < begun[1] && begun[0] >= span.span.start_time_unix_nano);
}

#[test]
fn a_switch_shows_as_an_attempt() {
    let collector = Collector::http();
    let switched = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n";
    let app = App::raw(move |mut wire| {
        if wire.head().is_ok() {
            wire.send(switched);
        }
    });
    let mesh = Pair::of(&app).inbound_config(&all_to(&collector)).start();
    let mut wire = mesh.connect();
    wire.send(get_with("/", "connection: upgrade\r\nupgrade: x\r\n"));
    assert_eq!(wire.head().expect("an answer").status(), 101);
    drop(wire);
    let span = collector.await_spans(1, |_| true).remove(0);
    assert_eq!(span.attempts("http.response.status_code"), ["101"]);
    assert_eq!(span.attempts("outrigger.endpoint"), [app.address.to_string()]);
}

#[test]
fn who_is_turned_away_finds_out_in_its_own_trace() {
    let collector = Collector::http();
    let app = App::ok();
    let mesh = Pair::of(&app).inbound_config(&to(&collector, "sampleRatio: 0.0")).start();
    // In plaintext, where mutual TLS is asked for.
    let lines = format!("traceparent: 00-{TRACE}-{SPAN}-00\r\nx-request-id: mine\r\n");
    let answer = Wire::connect(mesh.mesh_ports[0]).ask(get_with("/secret?key=1", &lines));
    assert_eq!((answer.status(), answer.reason()), (403, Some("mtls-required")));
    let seen = collector.await_spans(1, |_| true).remove(0);
    assert!(seen.is_server());
    assert_eq!((seen.trace_id().as_str(), seen.parent().as_str()), (TRACE, SPAN));
    for (name, value) in [
        ("outrigger.reason", "mtls-required"),
        ("outrigger.kept", "failed"),
        ("outrigger.request_id", "mine"),
        ("url.path", "/secret"),
        ("client.address", "127.0.0.1"),
    ] {
        assert!(seen.is(name, value), "{name} in {seen:#?}");
    }
    let said = &seen.span.status.as_ref().expect("a status").message;
    assert_eq!(*said, answer.text().trim_end());
}

#[test]
fn what_is_slow_is_kept() {
    let collector = Collector::http();
    let app = App::http(|request| {
        if request.target() == "/slow" {
            std::thread::sleep(Duration::from_millis(400));
        }
        App::answer("ok")
    });
    let traces = to(&collector, "sampleRatio: 0.0, slowerThan: 300ms");
    let mesh = Pair::bare(app.address).outbound_config(&traces).start();
    assert_eq!(mesh.ask(get("/slow")).status(), 200);
    let seen = collector.await_spans(1, |seen| seen.is("url.path", "/slow")).remove(0);
    assert!(seen.is("outrigger.kept", "slow"), "{seen:#?}");
    assert!(seen.span.end_time_unix_nano - seen.span.start_time_unix_nano >= 300_000_000);
}

#[test]
fn an_opaque_connection_is_a_span_at_each_end() {
    let collector = Collector::http();
    let app = App::raw(|mut wire| drop(wire.try_send("hello")));
    let mesh = Pair::of(&app)
        .declared("tcp")
        .outbound_config(&all_to(&collector))
        .inbound_config(&all_to(&collector))
        .start();
    let mut wire = mesh.connect();
    assert_eq!(wire.take(5), b"hello");
    assert!(wire.is_over());
    drop(wire);
    let spans = collector.await_spans(2, |seen| seen.is("outrigger.bytes_out", "5"));
    let servers = spans.iter().filter(|seen| seen.is_server()).count();
    assert_eq!(servers, 1, "{spans:#?}");
    assert!(spans.iter().all(|seen| seen.is("network.transport", "tcp")));
}

#[test]
fn without_anybody_who_wants_spans_contexts_are_only_carried_on() {
    let app = App::ok();
    let mesh = Pair::of(&app).start();
    let parent = format!("00-{TRACE}-{SPAN}-01");
    let lines = format!("traceparent: {parent}\r\n");
    assert_eq!(mesh.ask(get_with("/", &lines)).status(), 200);
    assert_eq!(mesh.ask(get("/")).status(), 200);
    let requests = app.requests();
    assert_eq!(requests[0].header("traceparent"), Some(&*parent));
    assert_eq!(requests[1].header("traceparent"), None);
}
