//! The way to a collector: every form, over TLS, and what becomes of spans where there is none.

use std::net::{Ipv4Addr, TcpListener};
use std::time::Duration;

use serde_json::Value;

use super::collector::Collector;
use super::{all_to, to};
use crate::harness::public_ca::PublicCa;
use crate::harness::{App, Pair, eventually, free_address, get, within};

#[test]
fn otlp_over_grpc_in_plaintext_and_over_tls_with_headers() {
    let ca = PublicCa::new();
    let issued = ca.issue("localhost");
    let app = App::ok();
    let folder = crate::harness::Folder::new("collector");
    folder.write("collector.pem", &ca.root_pem);
    let ca_file = folder.path("collector.pem");
    for (collector, more) in [
        (Collector::grpc(None), String::new()),
        (Collector::grpc(Some(&issued)), format!("caFile: \"{}\", ", ca_file.display())),
    ] {
        let scheme = if more.is_empty() { "http" } else { "https" };
        let traces = format!(
            "telemetry: {{traces: {{otlpEndpoint: \"{scheme}://localhost:{}\", {more}\
             headers: {{authorization: Bearer key}}, serviceName: shop, sampleRatio: 1.0}}}}",
            collector.address.port()
        );
        let mesh = Pair::bare(app.address).outbound_config(&traces).start();
        assert_eq!(mesh.ask(get("/over-grpc")).status(), 200);
        let seen = collector.await_spans(1, |seen| seen.is("url.path", "/over-grpc"));
        assert_eq!(seen[0].service, "shop");
        assert!(collector.heads().iter().all(|head| head["authorization"] == "Bearer key"));
        let exported = || mesh.outbound.metric("outrigger_spans_total", &["result=\"exported\""]);
        eventually("it is counted", || exported() == 1.0);
        let shown = mesh.outbound.json("/config").to_string();
        assert!(!shown.contains("Bearer key"), "{shown}");
    }
}

#[test]
fn a_collector_that_proves_nothing_gets_nothing() {
    let issued = PublicCa::new().issue("localhost");
    let collector = Collector::grpc(Some(&issued));
    let app = App::ok();
    let traces = format!(
        "telemetry: {{traces: {{otlpEndpoint: \"https://localhost:{}\", sampleRatio: 1.0}}}}",
        collector.address.port()
    );
    let mesh = Pair::bare(app.address).outbound_config(&traces).start();
    assert_eq!(mesh.ask(get("/")).status(), 200);
    mesh.outbound.await_log("spans can't be sent: ");
    assert!(collector.spans().is_empty() && collector.heads().is_empty());
}

#[test]
fn zipkin_gets_its_json() {
    let zipkin = App::http(|_| b"HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n".to_vec());
    let app = App::ok();
    let traces = format!(
        "telemetry: {{traces: {{zipkinEndpoint: \"http://{}\", sampleRatio: 1.0}}}}",
        zipkin.address
    );
    let mesh = Pair::bare(app.address).outbound_config(&traces).start();
    assert_eq!(mesh.ask(get("/zipped")).status(), 200);
    zipkin.await_requests(1);
    let request = zipkin.only_request();
    assert_eq!(request.start, "POST /api/v2/spans HTTP/1.1");
    assert_eq!(request.header("content-type"), Some("application/json"));
    let spans: Value = serde_json::from_slice(&request.body).expect("JSON");
    assert_eq!(spans[0]["tags"]["url.path"], "/zipped");
    assert_eq!(spans[0]["kind"], "CLIENT");
    assert_eq!(spans[0]["remoteEndpoint"]["port"], app.address.port());
}

/// More than the queue and a batch.
const MANY: usize = 5200;

#[test]
fn a_collector_that_hangs_costs_spans_and_nothing_else() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
    let at = listener.local_addr().expect("it listens");
    let app = App::ok();
    let traces =
        format!("telemetry: {{traces: {{otlpEndpoint: \"http://{at}\", sampleRatio: 1.0}}}}");
    let mut mesh = Pair::bare(app.address).outbound_config(&traces).start();
    let mut wire = mesh.connect();
    for _ in 0..MANY {
        assert_eq!(wire.ask(get("/")).status(), 200);
    }
    let dropped = || mesh.outbound.metric("outrigger_spans_total", &["result=\"dropped\""]);
    eventually("spans are dropped and counted", || dropped() > 0.0);
    assert_eq!(wire.ask(get("/")).status(), 200);
    drop(wire);
    // It does not hold up the way out either.
    mesh.outbound.sigterm();
    assert!(mesh.outbound.exit(Duration::from_secs(8)).success());
}

#[test]
fn spans_wait_for_a_collector_that_is_not_there_yet() {
    let at = free_address();
    let app = App::ok();
    let traces = format!(
        "telemetry: {{traces: {{otlpEndpoint: \"http://{at}\", protocol: http, sampleRatio: 1.0}}}}"
    );
    let mesh = Pair::bare(app.address).outbound_config(&traces).start();
    assert_eq!(mesh.ask(get("/early")).status(), 200);
    mesh.outbound.await_log("spans can't be sent: ");
    let collector = Collector::http_at(at);
    collector.await_spans(1, |seen| seen.is("url.path", "/early"));
    mesh.outbound.await_log("spans are sent again");
}

#[test]
fn what_is_queued_goes_out_before_the_sidecar_leaves() {
    let collector = Collector::http();
    let app = App::ok();
    let mut mesh = Pair::bare(app.address).outbound_config(&all_to(&collector)).start();
    for _ in 0..20 {
        assert_eq!(mesh.ask(get("/last")).status(), 200);
    }
    mesh.outbound.post("/shutdown");
    mesh.outbound.exit(Duration::from_secs(8));
    assert_eq!(collector.spans().len(), 20);
}

#[test]
fn the_ratio_changes_while_running() {
    let collector = Collector::http();
    let app = App::ok();
    let mesh = Pair::bare(app.address).outbound_config(&to(&collector, "sampleRatio: 0.0")).start();
    assert_eq!(mesh.ask(get("/before")).status(), 200);
    let config = mesh.outbound.folder.read("config.yaml");
    mesh.outbound.folder.write("config.yaml", &config.replace("Ratio: 0.0", "Ratio: 1.0"));
    within(Duration::from_secs(15), "a span of the new ratio", || {
        assert_eq!(mesh.ask(get("/after")).status(), 200);
        !collector.spans().is_empty()
    });
    assert!(collector.spans().iter().all(|seen| seen.is("url.path", "/after")));
}
