//! The specifications' examples and the ways to break them, as tables.

use http::HeaderValue;

use super::*;
use Propagation::{B3, B3Multi, W3c};

const ALL: &[Propagation] = &[W3c, B3, B3Multi];
const TRACE: u128 = 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736;
const SPAN: u64 = 0x00f0_67aa_0ba9_02b7;

const CONTEXT: TraceContext = TraceContext {
    trace_id: TRACE,
    span_id: SPAN,
    sampled: Some(true),
    debug: false,
    random: false,
};

pub(super) fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
    let value = |text| HeaderValue::from_str(text).expect("a value");
    lines.iter().map(|(name, text)| (HeaderName::from_static(name), value(text))).collect()
}

pub(super) fn lines(headers: &HeaderMap) -> Vec<(&str, &str)> {
    let mut lines: Vec<_> = headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.to_str().expect("ASCII")))
        .collect();
    lines.sort_unstable();
    lines
}

#[test]
fn traceparent_is_read_strictly() {
    let sampled =
        |sampled, random| Some(TraceContext { sampled: Some(sampled), random, ..CONTEXT });
    let table = [
        ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", sampled(true, false)),
        ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00", sampled(false, false)),
        ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-03", sampled(true, true)),
        ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-fe", sampled(false, true)),
        ("cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-03", sampled(true, false)),
        ("01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more", sampled(true, false)),
        ("01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01.more", None),
        ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-", None),
        ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more", None),
        ("ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", None),
        ("0g-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", None),
        ("FE-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", None),
        ("00-4BF92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", None),
        ("00-4bf92f3577b34da6a3ce929d0e0e4736-00F067aa0ba902b7-01", None),
        ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0A", None),
        ("00-00000000000000000000000000000000-00f067aa0ba902b7-01", None),
        ("00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01", None),
        ("00_4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", None),
        ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-1", None),
        ("00-+bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", None),
        ("", None),
    ];
    for (text, context) in table {
        assert_eq!(TraceContext::read(&headers(&[("traceparent", text)]), ALL), context, "{text}");
    }
    let twice = [("traceparent", table[0].0), ("traceparent", table[0].0)];
    assert_eq!(TraceContext::read(&headers(&twice), ALL), None);
}

#[test]
fn b3_single_is_read() {
    let ids = "4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7";
    let state = |sampled, debug| Some(TraceContext { sampled, debug, ..CONTEXT });
    let short = Some(TraceContext { trace_id: TRACE & u128::from(u64::MAX), ..CONTEXT });
    let table = [
        (ids.to_owned(), state(None, false), None),
        (format!("{ids}-0"), state(Some(false), false), None),
        (format!("{ids}-1"), state(Some(true), false), None),
        (format!("{ids}-d"), state(Some(true), true), None),
        (format!("{ids}-1-05e3ac9a4f6e3b90"), state(Some(true), false), None),
        (format!("{}-1", ids.to_uppercase()), state(Some(true), false), None),
        ("a3ce929d0e0e4736-00f067aa0ba902b7-1".to_owned(), short, None),
        ("0".to_owned(), None, Some(false)),
        ("1".to_owned(), None, Some(true)),
        ("d".to_owned(), None, Some(true)),
        (format!("{ids}-2"), None, None),
        (format!("{ids}-"), None, None),
        (format!("{ids}-1-05e3"), None, None),
        (format!("{ids}-1-0000000000000000"), None, None),
        (format!("{ids}-1-05e3ac9a4f6e3b90-"), None, None),
        ("0000000000000000-00f067aa0ba902b7-1".to_owned(), None, None),
        ("a3ce929d0e0e4736-0000000000000000-1".to_owned(), None, None),
        ("3ce929d0e0e4736-00f067aa0ba902b7-1".to_owned(), None, None),
        ("x3ce929d0e0e4736-00f067aa0ba902b7-1".to_owned(), None, None),
        (String::new(), None, None),
    ];
    for (text, context, decision) in table {
        let headers = headers(&[("b3", &text)]);
        assert_eq!(TraceContext::read(&headers, ALL), context, "{text}");
        assert_eq!(TraceContext::decision(&headers, ALL), decision, "{text}");
    }
}

#[test]
fn b3_multi_is_read() {
    type Lines = &'static [(&'static str, &'static str)];
    let state = |sampled, debug| Some(TraceContext { sampled, debug, ..CONTEXT });
    let table: [(Lines, Option<TraceContext>, Option<bool>); 12] = [
        (&[], state(None, false), None),
        (&[("x-b3-sampled", "1")], state(Some(true), false), Some(true)),
        (&[("x-b3-sampled", "true")], state(Some(true), false), Some(true)),
        (&[("x-b3-sampled", "0")], state(Some(false), false), Some(false)),
        (&[("x-b3-sampled", "false")], state(Some(false), false), Some(false)),
        (&[("x-b3-flags", "1")], state(Some(true), true), Some(true)),
        (&[("x-b3-flags", "0")], state(None, false), None),
        (&[("x-b3-parentspanid", "05e3ac9a4f6e3b90")], state(None, false), None),
        (&[("x-b3-parentspanid", "05e3")], None, None),
        (&[("x-b3-sampled", "d")], None, None),
        (&[("x-b3-sampled", "1"), ("x-b3-sampled", "0")], None, None),
        (&[("x-b3-spanid", "00f067aa0ba902b7")], None, None), // a second one
    ];
    let ids =
        [("x-b3-traceid", "4bf92f3577b34da6a3ce929d0e0e4736"), ("x-b3-spanid", "00f067aa0ba902b7")];
    for (more, context, decision) in table {
        let with_ids = headers(&[&ids, more].concat());
        assert_eq!(TraceContext::read(&with_ids, ALL), context, "{more:?}");
        assert_eq!(TraceContext::read(&headers(more), ALL), None, "{more:?}");
        assert_eq!(TraceContext::decision(&headers(more), ALL), decision, "{more:?}");
    }
}

#[test]
fn the_first_valid_format_of_the_order_wins() {
    let w3c = ("traceparent", "00-00000000000000000000000000000001-0000000000000001-00");
    let broken = ("traceparent", "00-1-1-00");
    let b3 = ("b3", "00000000000000000000000000000002-0000000000000002-1");
    let table: [(&[_], &[_], Option<u64>); 6] = [
        (&[w3c, b3], &[W3c, B3], Some(1)),
        (&[w3c, b3], &[B3, W3c], Some(2)),
        (&[broken, b3], &[W3c, B3], Some(2)),
        (&[broken], &[W3c, B3, B3Multi], None),
        (&[b3], &[W3c, B3Multi], None),
        (&[b3], &[], None),
    ];
    for (lines, order, span) in table {
        let found = TraceContext::read(&headers(lines), order).map(|context| context.span_id);
        assert_eq!(found, span, "{lines:?} {order:?}");
    }
}

#[test]
fn every_listed_format_is_written_and_nothing_stale_left() {
    let (trace, span) = ("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7");
    let table = [
        (Some(true), false, false, "01", "-1", Some(("x-b3-sampled", "1"))),
        (Some(false), false, false, "00", "-0", Some(("x-b3-sampled", "0"))),
        (None, false, true, "", "", None),
        (Some(true), true, true, "03", "-d", Some(("x-b3-flags", "1"))),
    ];
    for (sampled, debug, random, flags, state, line) in table {
        let context = TraceContext { sampled, debug, random, ..CONTEXT };
        let mut written = headers(&[
            ("traceparent", "old"),
            ("traceparent", "old"),
            ("b3", "old"),
            ("x-b3-parentspanid", "05e3ac9a4f6e3b90"),
            ("x-b3-sampled", "0"),
            ("x-b3-flags", "1"),
        ]);
        context.write(&mut written, ALL, &mut Values::default());
        let traceparent = format!("00-{trace}-{span}-{flags}");
        let b3 = format!("{trace}-{span}{state}");
        let mut expected = vec![("b3", &*b3), ("x-b3-traceid", trace), ("x-b3-spanid", span)];
        // It can't leave a decision open.
        expected.extend(sampled.map(|_| ("traceparent", &*traceparent)));
        expected.extend(line);
        expected.sort_unstable();
        assert_eq!(lines(&written), expected);
        for format in [B3, B3Multi] {
            let read = TraceContext::read(&written, &[format]);
            assert_eq!(read, Some(TraceContext { random: false, ..context }));
        }
    }
}

#[test]
fn formats_not_listed_are_left_alone() {
    let mut written = headers(&[("b3", "theirs")]);
    CONTEXT.write(&mut written, &[W3c], &mut Values::default());
    let traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    assert_eq!(lines(&written), [("b3", "theirs"), ("traceparent", traceparent)]);
}

#[test]
fn tracestate_stays_with_its_trace_only() {
    let ours = "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000001-00";
    let other = "00-00000000000000000000000000000001-0000000000000001-00";
    let table = [(Some(ours), true), (Some(other), false), (Some("broken"), false), (None, false)];
    for (traceparent, stays) in table {
        let mut map = headers(&[("tracestate", "a=1"), ("tracestate", "b=2")]);
        if let Some(text) = traceparent {
            map.insert("traceparent", HeaderValue::from_static(text));
        }
        CONTEXT.write(&mut map, ALL, &mut Values::default());
        let left: Vec<_> = map.get_all("tracestate").iter().collect();
        assert_eq!(left, if stays { vec!["a=1", "b=2"] } else { vec![] }, "{traceparent:?}");
    }
}

#[test]
fn new_ids_are_never_zero() {
    let zero = TraceContext::fresh(&mut || 0);
    assert_eq!((zero.trace_id, zero.span_id, zero.sampled, zero.random), (1, 1, None, true));
    let mut next = 0;
    let mut count = || {
        next += 1;
        next
    };
    let fresh = TraceContext::fresh(&mut count);
    assert_eq!((fresh.trace_id, fresh.span_id), (1 << 64 | 2, 3));
    assert_eq!(fresh.child(&mut count), TraceContext { span_id: 4, ..fresh });
}
