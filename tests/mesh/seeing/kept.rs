//! Requests that sidecars kept: found, shown as a tree, and nobody's but whose certificate it was.

use std::time::SystemTime;

use outrigger::wire::v1::{self, KeptSpan, Traffic, kept_span};

use super::{asked, one};
use crate::harness::{App, ControlPlane, service};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

fn span(id: u64, parent: u64, inbound: bool, offset_us: i64) -> KeptSpan {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
    KeptSpan {
        trace_id: u128::from_str_radix(TRACE, 16).expect("hex").to_be_bytes().to_vec(),
        span_id: id,
        parent_id: parent,
        kept: kept_span::Kept::Failed.into(),
        inbound,
        started_us: i64::try_from(now.as_micros()).expect("this century") + offset_us,
        duration_us: 20_000,
        protocol: "http/1.1".into(),
        method: "GET".into(),
        path: "/orders".into(),
        status: 503,
        reason: "connect-failure".into(),
        sentence: "the app of web-1 takes no connections".into(),
        tls: "mtls".into(),
        ..KeptSpan::default()
    }
}

fn traffic(spans: Vec<KeptSpan>) -> Traffic {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
    let now_us = i64::try_from(now.as_micros()).expect("this century");
    Traffic { now_us, spans, ..Traffic::default() }
}

#[test]
fn a_failed_request_is_found_and_shown_from_end_to_end() {
    let plane = ControlPlane::start(&[]);
    plane.apply(&service("web"));
    let app = App::ok();
    let _web = plane.instance("web-1", app.address);
    let call = KeptSpan {
        service: "web.default:80".into(),
        route: "default".into(),
        attempts: vec![
            v1::SpanAttempt { endpoint: "10.0.0.1:80".into(), status: 503, ..Default::default() },
            v1::SpanAttempt { endpoint: "10.0.0.2:80".into(), offset_us: 9, ..Default::default() },
        ],
        ..span(1, 0, false, 0)
    };
    let client = plane.nobody().showing(&plane.joined("client"));
    client.report("client-1", traffic(vec![call])).expect("taken");
    // Two sidecars tell one trace. The second calls itself what it is not.
    let other = plane.nobody().showing(&plane.joined("other"));
    other.report("web-1", traffic(vec![span(2, 1, true, 3_000)])).expect("taken");
    let told = asked(&plane, &["traces", "--failed", "--service", "web"]);
    let row = one(&told["traces"], "traceId", TRACE).expect("it is found");
    assert_eq!((&row["spans"], &row["failed"]), (&2.into(), &true.into()), "{row:#}");
    assert_eq!((&row["service"], &row["kept"]), (&"client.default".into(), &"failed".into()));
    assert_eq!(row["reason"], "connect-failure");
    let whole = asked(&plane, &["traces", TRACE]);
    let page = plane.json(&format!("/api/trace?id={TRACE}"));
    for whole in [&whole, &page] {
        let spans = whole["spans"].as_array().expect("a list");
        assert_eq!((&spans[0]["depth"], &spans[1]["depth"]), (&0.into(), &1.into()), "{whole:#}");
        assert_eq!(spans[0]["serviceOf"], "client.default");
        assert_eq!(spans[1]["serviceOf"], "other.default", "its certificate counts");
        assert_eq!(spans[0]["attempts"].as_array().map(Vec::len), Some(2));
        assert!((1_000..10_000_000).contains(&spans[1]["offsetUs"].as_u64().expect("a number")));
    }
    let text = plane.done(&["traces", TRACE]);
    assert!(text.contains("client.default calls web.default:80  GET /orders"), "{text}");
    assert!(text.contains("✗ connect-failure: the app of web-1 takes no connections"), "{text}");
    eprintln!("{text}\n{}", plane.done(&["traces"]));
    let failures = &plane.json("/api/service?name=web.default")["failures"];
    assert_eq!(
        (&failures[0]["from"], &failures[0]["traceId"]),
        (&"client.default".into(), &TRACE.into())
    );
    assert_eq!(failures.as_array().map(Vec::len), Some(1), "{failures:#}");
    let missing = plane.run(&["traces", &"0".repeat(32)]);
    assert!(missing.code == Some(1) && missing.err.contains("nothing was kept"), "{missing:?}");
    let wrong = plane.run(&["traces", "xyz"]);
    assert!(wrong.code == Some(2) && wrong.err.contains("32 hexadecimal"), "{wrong:?}");
}

#[test]
fn what_can_not_be_is_not_taken_and_ends_no_session() {
    let plane = ControlPlane::start(&[]);
    let client = plane.nobody().showing(&plane.joined("client"));
    let short = KeptSpan { trace_id: vec![1], ..span(1, 0, false, 0) };
    client.report("client-1", traffic(vec![short])).expect("the session goes on");
    let row = v1::RequestCount { service: 7, ..Default::default() };
    let odd = Traffic { requests: vec![row], ..Traffic::default() };
    client.report("client-1", odd).expect("the session goes on");
    plane.await_log("there is no word 7");
    assert_eq!(plane.json("/api/traces")["traces"].as_array().map(Vec::len), Some(0));
    let certificates = plane.json("/api/certificates");
    assert!(certificates["issuer"]["notAfter"].is_string(), "{certificates:#}");
    let health = plane.json("/api/health");
    assert_eq!(health["memory"]["budgetBytes"], 64 << 20, "{health:#}");
    let bad = plane.page("/api/graph?window=5").expect("an answer");
    assert_eq!((bad.status(), bad.text().contains("window")), (400, true));
}
