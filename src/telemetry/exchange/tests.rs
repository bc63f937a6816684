//! What an exchange leaves behind of what callers chose, and of an end that was none of theirs.

use std::io;

use super::roster::{Pipe, Seat};
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
    let metrics = TrafficMetrics::register(&registry);
    let (bytes_in, bytes_out) = metrics.bytes(Direction::Outbound);
    let sinks = Sinks {
        log: AccessLog::new(writer.feed(), &settings.access_log, 1),
        tracer: Rc::new(Tracer::new(&traces, vec![feed], Ids::seeded(1))),
        taps: Taps::default(),
        bytes_in,
        bytes_out,
        roster: Roster::default(),
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
        exchange.note(&request, false, SystemTime::now(), &[]);
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

/// Bytes as a relay counts them, and those that were counted of them.
#[derive(Default)]
struct Relay {
    carried: Cell<Option<(u64, u64)>>,
    counted: Cell<(u64, u64)>,
}

impl Pipe for Relay {
    fn carried(&self) -> Option<(u64, u64)> {
        self.carried.get()
    }

    fn count(&self, bytes_in: u64, bytes_out: u64) {
        let (all_in, all_out) = self.counted.get();
        self.counted.set((all_in + bytes_in, all_out + bytes_out));
    }
}

const SECOND: u64 = 1_000_000;

/// Something under way to somebody since the beginning of time, and where it is seen as open.
fn under_way() -> (Rc<Exchange>, Gauge) {
    let (sinks, _taken) = sinks();
    let metrics = TrafficMetrics::register(&Registry::default());
    let meter = RouteMeter::new(&metrics, Direction::Outbound, "web.shop:80".into(), "r".into());
    let open = meter.open(Spoken::Http1, None);
    let exchange = Exchange::begin(&sinks, Direction::Outbound, Spoken::Http1, "none", || 0);
    exchange.set_meter(Rc::new(meter));
    exchange.endpoint.set(Some(([10, 0, 0, 1], 80).into()));
    (exchange, open)
}

fn counted(sinks: &Sinks) -> (u64, u64) {
    (sinks.bytes_in.value(), sinks.bytes_out.value())
}

#[test]
fn a_request_is_open_from_its_first_second_to_its_end() {
    let (exchange, open) = under_way();
    let (sinks, relay) = (Rc::clone(&exchange.sinks), Rc::new(Relay::default()));
    let seat = Seat::take(&exchange, relay.clone());
    exchange.count_in(5);
    sinks.roster.sweep(SECOND - 1);
    assert_eq!((open.value(), counted(&sinks)), (0, (0, 0)), "it may be over in a moment");
    sinks.roster.sweep(SECOND);
    sinks.roster.sweep(2 * SECOND);
    assert_eq!((open.value(), counted(&sinks), relay.counted.get()), (1, (5, 0), (5, 0)));
    exchange.count_out(7);
    drop(seat);
    assert_eq!((open.value(), counted(&sinks), relay.counted.get()), (0, (5, 7), (5, 7)));
    exchange.count_in(1);
    drop(exchange);
    assert_eq!(counted(&sinks), (6, 7), "a body that goes on counts, and nothing twice");
}

#[test]
fn a_tunnel_is_open_at_once_and_its_bytes_are_what_the_relay_says() {
    let (exchange, open) = under_way();
    let (sinks, relay) = (Rc::clone(&exchange.sinks), Rc::new(Relay::default()));
    drop(Seat::take(&exchange, Rc::new(Relay::default())));
    let seat = Seat::lasting(&exchange, relay.clone());
    assert_eq!(open.value(), 1);
    relay.carried.set(Some((10, 20)));
    sinks.roster.sweep(5 * SECOND);
    assert_eq!(counted(&sinks), (10, 20));
    relay.carried.set(Some((15, 20)));
    exchange.end_stream(15, 20, None);
    drop(seat);
    drop(exchange);
    assert_eq!((open.value(), counted(&sinks), relay.counted.get()), (0, (15, 20), (15, 20)));
}

#[test]
fn whoever_leaves_takes_nobody_elses_seat() {
    let (first, _) = under_way();
    let sinks = Rc::clone(&first.sinks);
    let another = || Exchange::begin(&sinks, Direction::Outbound, Spoken::Http1, "none", || 0);
    let all: Vec<Rc<Exchange>> = std::iter::repeat_with(another).take(5).collect();
    let relays: Vec<Rc<Relay>> = all.iter().map(|_| Rc::default()).collect();
    let take = |(of, relay): (&Rc<Exchange>, &Rc<Relay>)| Seat::take(of, Rc::<Relay>::clone(relay));
    let mut seats: Vec<Seat> = all.iter().zip(&relays).map(take).collect();
    for leaving in [0, 2, 1, 1, 0] {
        all.iter().for_each(|of| of.count_in(1));
        sinks.roster.sweep(SECOND);
        drop(seats.remove(leaving));
    }
    let counted: Vec<u64> = relays.iter().map(|relay| relay.counted.get().0).collect();
    assert_eq!(counted, [1, 5, 3, 2, 4]);
}
