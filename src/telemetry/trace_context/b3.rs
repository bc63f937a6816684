//! B3, <https://github.com/openzipkin/b3-propagation>: one header `b3`, or several `x-b3-*`.
//! Trace ids of 64 and 128 bits are read, in either case of hex, since older senders write upper
//! case; 128 bits in lower case are written. A parent span id is checked and not passed on: the
//! hop that writes is the parent.

use http::{HeaderMap, HeaderName};

use super::{TraceContext, only};
use crate::telemetry::hex;
use crate::telemetry::values::Values;

static B3: HeaderName = HeaderName::from_static("b3");
static TRACE_ID: HeaderName = HeaderName::from_static("x-b3-traceid");
static SPAN_ID: HeaderName = HeaderName::from_static("x-b3-spanid");
static PARENT_SPAN_ID: HeaderName = HeaderName::from_static("x-b3-parentspanid");
static SAMPLED: HeaderName = HeaderName::from_static("x-b3-sampled");
static FLAGS: HeaderName = HeaderName::from_static("x-b3-flags");

/// Whether to sample; `Open` where the header leaves it to us.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    No,
    Yes,
    Debug,
}

impl State {
    fn parse(text: &[u8]) -> Option<Self> {
        match text {
            b"0" => Some(Self::No),
            b"1" => Some(Self::Yes),
            b"d" => Some(Self::Debug),
            _ => None,
        }
    }

    fn of(context: &TraceContext) -> Self {
        match context.sampled {
            _ if context.debug => Self::Debug,
            None => Self::Open,
            Some(false) => Self::No,
            Some(true) => Self::Yes,
        }
    }

    fn sampled(self) -> Option<bool> {
        (self != Self::Open).then_some(self != Self::No)
    }

    fn context(self, trace_id: &[u8], span_id: &[u8]) -> Option<TraceContext> {
        Some(TraceContext {
            trace_id: id(trace_id, &[16, 32])?,
            span_id: id(span_id, &[16])? as u64,
            sampled: self.sampled(),
            debug: self == Self::Debug,
            random: false,
        })
    }
}

/// An id of one of these widths; zero is none.
fn id(text: &[u8], widths: &[usize]) -> Option<u128> {
    if !widths.contains(&text.len()) {
        return None;
    }
    hex::read_any(text).filter(|id| *id != 0)
}

/// `<trace>-<span>[-<state>[-<parent>]]`
pub(super) fn read_single(headers: &HeaderMap) -> Option<TraceContext> {
    let mut parts = only(headers, &B3)?.split(|byte| *byte == b'-');
    let (trace_id, span_id) = (parts.next()?, parts.next()?);
    let state = parts.next().map_or(Some(State::Open), State::parse)?;
    if let Some(parent) = parts.next() {
        id(parent, &[16])?;
    }
    if parts.next().is_some() {
        return None;
    }
    state.context(trace_id, span_id)
}

pub(super) fn read_multi(headers: &HeaderMap) -> Option<TraceContext> {
    let state = state_multi(headers)?;
    if headers.contains_key(&PARENT_SPAN_ID) {
        id(only(headers, &PARENT_SPAN_ID)?, &[16])?;
    }
    state.context(only(headers, &TRACE_ID)?, only(headers, &SPAN_ID)?)
}

/// `b3: 0`
pub(super) fn decision_single(headers: &HeaderMap) -> Option<bool> {
    State::parse(only(headers, &B3)?)?.sampled()
}

pub(super) fn decision_multi(headers: &HeaderMap) -> Option<bool> {
    state_multi(headers)?.sampled()
}

/// None where a header is invalid. `true` and `false` are what early tracers sent.
fn state_multi(headers: &HeaderMap) -> Option<State> {
    if only(headers, &FLAGS) == Some(b"1") {
        return Some(State::Debug);
    }
    if !headers.contains_key(&SAMPLED) {
        return Some(State::Open);
    }
    match only(headers, &SAMPLED)? {
        b"1" | b"true" => Some(State::Yes),
        b"0" | b"false" => Some(State::No),
        _ => None,
    }
}

pub(super) fn write_single(context: &TraceContext, headers: &mut HeaderMap, values: &mut Values) {
    let mut text = [b'-'; 51];
    hex::write(&mut text[0..32], context.trace_id);
    hex::write(&mut text[33..49], context.span_id.into());
    let state = match State::of(context) {
        State::Open => None,
        State::No => Some(b'0'),
        State::Yes => Some(b'1'),
        State::Debug => Some(b'd'),
    };
    text[50] = state.unwrap_or(b'-');
    let length = if state.is_some() { 51 } else { 49 };
    headers.insert(&B3, values.value(&text[..length]));
}

pub(super) fn write_multi(context: &TraceContext, headers: &mut HeaderMap, values: &mut Values) {
    let mut text = [0; 32];
    hex::write(&mut text, context.trace_id);
    headers.insert(&TRACE_ID, values.value(&text));
    hex::write(&mut text[..16], context.span_id.into());
    headers.insert(&SPAN_ID, values.value(&text[..16]));
    for stale in [&PARENT_SPAN_ID, &SAMPLED, &FLAGS] {
        headers.remove(stale);
    }
    // Debug implies sampled, which is then not sent.
    let (name, state) = match State::of(context) {
        State::Open => return,
        State::No => (&SAMPLED, "0"),
        State::Yes => (&SAMPLED, "1"),
        State::Debug => (&FLAGS, "1"),
    };
    headers.insert(name, http::HeaderValue::from_static(state));
}
