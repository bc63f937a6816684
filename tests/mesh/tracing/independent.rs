//! Spans as somebody else reads them: OpenTelemetry's Python messages, by gRPC's own server.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};

use serde_json::Value;

use crate::harness::host::NO_SKIP;
use crate::harness::{App, Pair, SOON, get, refused_address};

/// A Python with `opentelemetry-proto` and `grpcio`; `python3` unless this names one.
const PYTHON: &str = "OTLP_PYTHON";

struct Python {
    child: Child,
    lines: Receiver<Value>,
}

impl Python {
    /// `None`, with a line that says so, where its packages are missing and may be.
    fn start() -> Option<Self> {
        let python = std::env::var(PYTHON).unwrap_or_else(|_| "python3".into());
        let packages = "import grpc, opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc";
        let has = Command::new(&python).args(["-c", packages]).output();
        if !has.as_ref().is_ok_and(|output| output.status.success()) {
            assert!(std::env::var_os(NO_SKIP).is_none(), "{PYTHON}: {python}: {has:?}");
            eprintln!("skipped: {python} has no opentelemetry-proto and grpcio (see {PYTHON})");
            return None;
        }
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/mesh/tracing/receiver.py");
        let child = Command::new(python).arg(script).stdout(Stdio::piped()).spawn();
        let mut child = child.expect("it just ran");
        let output = BufReader::new(child.stdout.take().expect("it is piped"));
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                let value = serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e}: {line}"));
                if sender.send(value).is_err() {
                    return;
                }
            }
        });
        Some(Self { child, lines })
    }

    #[track_caller]
    fn line(&self) -> Value {
        self.lines.recv_timeout(2 * SOON).expect("a line of the receiver")
    }
}

impl Drop for Python {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn an_independent_receiver_reads_spans_in_both_forms() {
    let Some(python) = Python::start() else { return };
    let ports = python.line();
    for way in ["grpc", "http"] {
        let app = App::ok();
        let port = &ports[way];
        let traces = format!(
            "telemetry: {{traces: {{otlpEndpoint: \"http://127.0.0.1:{port}\", protocol: {way}, sampleRatio: 1.0}}}}"
        );
        let mesh = Pair::bare(app.address).outbound_config(&traces).start();
        assert_eq!(mesh.ask(get("/read?secret=1")).status(), 200);
        let span = python.line();
        assert_eq!(
            (&span["way"], &span["kind"], &span["status"]),
            (&way.into(), &3.into(), &0.into())
        );
        assert_eq!(span["resource"]["service.name"], "client");
        assert_eq!(span["attributes"]["url.path"], "/read");
        assert_eq!(span["attempts"][0]["http.response.status_code"], 200);
        let sent = app.only_request();
        let parent = format!(
            "00-{}-{}-03",
            span["trace"].as_str().expect("hex"),
            span["id"].as_str().expect("hex")
        );
        assert_eq!(sent.header("traceparent"), Some(&*parent));

        let mesh = Pair::bare(refused_address()).outbound_config(&traces).start();
        let answer = mesh.ask(get("/"));
        assert_eq!(answer.status(), 503);
        let span = python.line();
        assert_eq!(
            (&span["status"], &span["message"]),
            (&2.into(), &answer.text().trim_end().into())
        );
        assert_eq!(span["attributes"]["error.type"], "connect-failure");
        assert_eq!(span["attempts"].as_array().map(Vec::len), Some(3));
    }
}
