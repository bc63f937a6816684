//! Who decides, what is written on, and what is kept.

use std::time::Duration;

use http::HeaderValue;

use super::*;
use crate::telemetry::metrics::Registry;
use crate::telemetry::span::tests::example;
use crate::telemetry::spans::{self, SpanMetrics, Taken};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const SPAN: u64 = 0x00f0_67aa_0ba9_02b7;

fn settings(sample_ratio: f64) -> Traces {
    Traces { sample_ratio, ..Traces::default() }
}

fn recording(settings: &Traces) -> (Tracer, Taken) {
    let dropped = SpanMetrics::register(&Registry::default()).dropped;
    let (feed, taken) = spans::queue(2, 2, dropped);
    (Tracer::new(settings, vec![feed], Ids::seeded(1)), taken)
}

fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
    let value = |text| HeaderValue::from_str(text).expect("a value");
    lines.iter().map(|(name, text)| (http::HeaderName::from_static(name), value(text))).collect()
}

#[test]
fn the_callers_decision_holds_and_its_span_is_the_parent() {
    let (w3c, b3) = (format!("00-{TRACE}-00f067aa0ba902b7-0"), format!("{TRACE}-00f067aa0ba902b7"));
    let both = [("traceparent", format!("{w3c}0")), ("b3", format!("{b3}-1"))];
    let table = [
        // Headers, our ratio, whether it is sampled.
        (vec![("traceparent", format!("{w3c}1"))], 0.0, true),
        (vec![("traceparent", format!("{w3c}0"))], 1.0, false),
        (vec![("b3", format!("{b3}-1"))], 0.0, true),
        (vec![("b3", format!("{b3}-0"))], 1.0, false),
        (vec![("b3", format!("{b3}-d"))], 0.0, true),
        // Undecided: the ratio.
        (vec![("b3", b3.clone())], 1.0, true),
        (vec![("b3", b3.clone())], 0.0, false),
        // In the order of the formats.
        (both.to_vec(), 1.0, false),
    ];
    for (lines, ratio, sampled) in table {
        let lines: Vec<_> = lines.iter().map(|(name, text)| (*name, text.as_str())).collect();
        let mut map = headers(&lines);
        let (tracer, _taken) = recording(&settings(ratio));
        let position = tracer.join(Some(&map)).expect("a position");
        assert_eq!(position.parent_id, Some(SPAN), "{lines:?}");
        assert_ne!(position.context.span_id, SPAN);
        assert_eq!(format!("{:032x}", position.context.trace_id), TRACE);
        assert_eq!(position.context.sampled, Some(sampled), "{lines:?}");
        tracer.carry(position, &mut map);
        // Written in every format, with our span.
        let next = |format| TraceContext::read(&map, &[format]).expect("written");
        for written in [next(Propagation::W3c), next(Propagation::B3)] {
            assert_eq!(written.span_id, position.context.span_id);
            assert_eq!(written.trace_id, position.context.trace_id);
            assert_eq!(written.sampled, Some(sampled), "{lines:?}");
        }
    }
}

#[test]
fn a_decision_without_ids_holds_for_a_fresh_trace() {
    for (text, ratio, sampled) in [("0", 1.0, false), ("1", 0.0, true), ("d", 0.0, true)] {
        let (tracer, _taken) = recording(&settings(ratio));
        let position = tracer.join(Some(&headers(&[("b3", text)]))).expect("a fresh trace");
        assert_eq!((position.parent_id, position.context.sampled), (None, Some(sampled)));
    }
}

#[test]
fn without_a_context_a_trace_begins() {
    let (tracer, _taken) = recording(&settings(1.0));
    let [one, other] = [(); 2].map(|()| tracer.join(None).expect("a fresh trace"));
    assert_ne!(one.context.trace_id, other.context.trace_id);
    assert!(one.context.random && one.parent_id.is_none() && one.is_recorded);
}

type Row<'a> = (&'a [Propagation], &'a [(&'static str, &'a str)], u64);

#[test]
fn every_format_is_read_those_listed_first() {
    let ids = [("x-b3-traceid", TRACE), ("x-b3-spanid", "00f067aa0ba902b7")];
    let w3c = format!("00-{TRACE}-0000000000000001-01");
    let single = format!("{TRACE}-0000000000000002-0");
    let all = [("traceparent", &*w3c), ("b3", &*single), ids[0], ids[1]];
    // What is listed, what came, who is the parent.
    let table: [Row<'_>; 7] = [
        (&[Propagation::W3c], &ids, SPAN),
        (&[Propagation::W3c], &all[1..], 2),
        (&[Propagation::W3c], &all, 1),
        (&[Propagation::B3Multi], &all[..2], 1),
        (&[Propagation::B3Multi], &all, SPAN),
        (&[Propagation::B3], &all[..1], 1),
        (&[Propagation::B3], &all, 2),
    ];
    for (propagation, lines, parent) in table {
        let settings = Traces { propagation: propagation.to_vec(), ..settings(0.0) };
        let (tracer, _taken) = recording(&settings);
        let mut map = headers(lines);
        let position = tracer.join(Some(&map)).expect("a position");
        assert_eq!(position.parent_id, Some(parent), "{propagation:?} {lines:?}");
        tracer.carry(position, &mut map);
        let written = TraceContext::read(&map, propagation).expect("in what is listed");
        assert_eq!(written.span_id, position.context.span_id, "{propagation:?} {lines:?}");
    }
    let traces = Traces { propagation: vec![Propagation::W3c], ..settings(0.0) };
    let position = recording(&traces).0.join(Some(&headers(&[("x-b3-sampled", "1")])));
    assert_eq!(position.expect("a position").context.sampled, Some(true));
}

#[test]
fn without_anybody_who_wants_spans_contexts_are_carried_on_as_they_came() {
    let tracer = Tracer::new(&settings(1.0), Vec::new(), Ids::seeded(1));
    assert_eq!(tracer.join(None), None);
    assert_eq!(tracer.join(Some(&headers(&[("b3", "1")]))), None);
    let text = format!("00-{TRACE}-00f067aa0ba902b7-00");
    let position = tracer.join(Some(&headers(&[("traceparent", &text)]))).expect("a position");
    assert_eq!((position.context.span_id, position.is_recorded), (SPAN, false));
    let mut map = HeaderMap::new();
    tracer.carry(position, &mut map);
    assert_eq!(map["traceparent"], text);
    let failed = End { has_failed: true, took_us: Some(u64::MAX) };
    assert_eq!(tracer.keeps(position, failed), None);
}

#[test]
fn every_sidecar_samples_the_same_share() {
    let samples = |ratio: f64, trace_id| recording(&settings(ratio)).0.samples(trace_id);
    let mut ids = Ids::seeded(3);
    let mut kept = 0;
    for _ in 0..2000 {
        let trace_id = u128::from(ids.next_u64()) << 64 | u128::from(ids.next_u64());
        let sampled = samples(0.25, trace_id);
        kept += u32::from(sampled);
        // Decided on the random part alone, and by another sidecar alike.
        assert_eq!(samples(0.25, trace_id & u128::from((1u64 << 56) - 1)), sampled);
        // Who samples more samples the same ones.
        assert!(!sampled || samples(0.5, trace_id));
        assert!(samples(1.0, trace_id) && !samples(0.0, trace_id));
    }
    assert!((430..570).contains(&kept), "{kept}");
}

#[test]
fn what_is_kept_and_why() {
    let (tracer, _taken) = recording(&settings(0.0));
    let position = tracer.join(None).expect("a position");
    let mut sampled = position;
    sampled.context.sampled = Some(true);
    let second = 1_000_000;
    let end = |has_failed, took_us| End { has_failed, took_us };
    let table = [
        (position, end(false, Some(0)), None),
        (position, end(false, Some(second - 1)), None),
        (position, end(false, Some(second)), Some(Kept::Slow)),
        (position, end(false, None), None),
        (position, end(true, Some(0)), Some(Kept::Failed)),
        (position, end(true, Some(second)), Some(Kept::Failed)),
        (sampled, end(true, Some(second)), Some(Kept::Sampled)),
    ];
    for (position, end, kept) in table {
        assert_eq!(tracer.keeps(position, end), kept, "{end:?}");
    }
    tracer.configure(&Traces { slower_than: Duration::from_millis(5), ..settings(0.0) });
    assert_eq!(tracer.keeps(position, end(false, Some(5_000))), Some(Kept::Slow));
}

#[test]
fn settings_change_while_running() {
    let (tracer, _taken) = recording(&settings(0.0));
    assert_eq!(tracer.join(None).and_then(|p| p.context.sampled), Some(false));
    tracer.configure(&settings(1.0));
    assert_eq!(tracer.join(None).and_then(|p| p.context.sampled), Some(true));
}

#[test]
fn a_span_is_made_only_where_there_is_room() {
    let (tracer, taken) = recording(&settings(1.0));
    let made = Cell::new(0);
    for _ in 0..3 {
        tracer.offer(|| {
            made.set(made.get() + 1);
            example()
        });
    }
    assert_eq!((made.get(), taken.drain(9).len()), (2, 2));
}
