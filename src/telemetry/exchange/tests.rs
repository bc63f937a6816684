//! What an exchange leaves behind of what callers chose, and of an end that was none of theirs.

use std::io;

use super::*;
use crate::telemetry::access_log::Writer;
use crate::telemetry::ids::Ids;
use crate::telemetry::metrics::Registry;
use crate::telemetry::span::{Span, TEXT};
use crate::telemetry::spans::{self, SpanMetrics, Taken};
use crate::telemetry::traffic::TrafficMetrics;
use crate::telemetry::{Settings, Traces};

/// Where all that ends is kept as a span.
fn sinks() -> (Rc<Sinks>, Taken) {
    let registry = Registry::default();
    let writer = Writer::spawn(io::sink(), &registry).expect("a thread");
    let (feed, taken) = spans::queue(9, 9, SpanMetrics::register(&registry).dropped);
    let settings = Settings::default();
    let traces = Traces { sample_ratio: 1.0, ..settings.traces };
    let (bytes_in, bytes_out) = TrafficMetrics::register(&registry).bytes(Direction::Outbound);
    let sinks = Sinks {
        log: AccessLog::new(writer.feed(), &settings.access_log, 1),
        tracer: Rc::new(Tracer::new(&traces, vec![feed], Ids::seeded(1))),
        taps: Taps::default(),
        bytes_in,
        bytes_out,
    };
    (Rc::new(sinks), taken)
}

fn span(of: impl FnOnce(&Exchange)) -> Span {
    let (sinks, taken) = sinks();
    of(&Exchange::begin(&sinks, Direction::Outbound, Spoken::Http1, "none", || 7));
    let [span] = &taken.drain(9)[..] else { panic!("not one span") };
    Span::clone(span)
}

#[test]
fn a_span_is_bounded_whatever_the_caller_sent() {
    let long = "x".repeat(30_000);
    let request = Request::builder()
        .method(long.as_str())
        .uri(format!("http://{long}.test/{long}"))
        .header("user-agent", &long)
        .header("x-request-id", &long);
    let Ok(request) = request.body(()) else { panic!("a request") };
    let span = span(|exchange| {
        exchange.note(&request, false, SystemTime::now());
        exchange.say(long.clone().into());
    });
    let method = span.method.as_ref().map(http::Method::as_str);
    let texts = [&span.authority, &span.path, &span.request_id, &span.user_agent, &span.sentence];
    for text in texts.map(|text| text.as_deref()).into_iter().chain([method]).flatten() {
        assert!(text.len() <= TEXT, "{} bytes", text.len());
    }
    assert!(span.path.as_ref().is_some_and(|path| path.ends_with("xx…")));
    assert!(span.size() < 8 * TEXT);
}

#[test]
fn who_was_cut_off_did_not_leave() {
    let end = |of: fn(&Exchange)| {
        let span = span(|exchange| {
            exchange.join(None);
            of(exchange);
        });
        (span.status, span.reason)
    };
    let cut = |exchange: &Exchange| exchange.cut(Reason::Revoked);
    assert_eq!(end(|_| ()), (Some(499), Some(Reason::ClientClosed)));
    assert_eq!(end(cut), (None, Some(Reason::Revoked)));
    let in_answer = |exchange: &Exchange| {
        exchange.status.set(200);
        exchange.blame(Reason::ClientClosed);
        exchange.cut(Reason::DrainDeadline);
    };
    assert_eq!(end(in_answer), (Some(200), Some(Reason::DrainDeadline)));
    let failed_first = |exchange: &Exchange| {
        exchange.blame(Reason::UpstreamReset);
        exchange.cut(Reason::DrainDeadline);
    };
    assert_eq!(end(failed_first), (None, Some(Reason::UpstreamReset)));
    let through = |exchange: &Exchange| {
        exchange.status.set(200);
        exchange.set_ended(9);
        exchange.cut(Reason::DrainDeadline);
    };
    assert_eq!(end(through), (Some(200), None));
}
