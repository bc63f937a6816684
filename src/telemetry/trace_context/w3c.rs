//! `traceparent`, <https://www.w3.org/TR/trace-context-2/>: version 00 exactly, later versions by
//! the part of them that is fixed forever. Upper case, zero ids and version ff are invalid.

use http::{HeaderMap, HeaderName};

use super::tracestate::{TRACESTATE, attempt, set_attempt};
use super::{TraceContext, only};
use crate::telemetry::hex;
use crate::telemetry::values::Values;

static TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// `00-<32>-<16>-<2>`
const LENGTH: usize = 55;
const SAMPLED: u8 = 1;
const RANDOM: u8 = 2;

pub(super) fn read(headers: &HeaderMap) -> Option<TraceContext> {
    parse(only(headers, &TRACEPARENT)?)
}

fn parse(text: &[u8]) -> Option<TraceContext> {
    let (fixed, rest) = text.split_at_checked(LENGTH)?;
    let version = hex::read_lower(&fixed[0..2])?;
    let end_fits = match version {
        0 => rest.is_empty(),
        0xff => false,
        _ => rest.is_empty() || rest[0] == b'-',
    };
    let dashes = [2, 35, 52].iter().all(|at| fixed[*at] == b'-');
    let trace_id = hex::read_lower(&fixed[3..35])?;
    let span_id = hex::read_lower(&fixed[36..52])? as u64;
    let flags = hex::read_lower(&fixed[53..55])? as u8;
    (end_fits && dashes && trace_id != 0 && span_id != 0).then_some(TraceContext {
        trace_id,
        span_id,
        sampled: Some(flags & SAMPLED != 0),
        debug: false,
        // Only the sampled flag is promised to mean the same in later versions.
        random: version == 0 && flags & RANDOM != 0,
    })
}

pub(super) fn write(context: &TraceContext, headers: &mut HeaderMap, values: &mut Values) {
    if headers.contains_key(&TRACESTATE)
        && read(headers).is_none_or(|caller| caller.trace_id != context.trace_id)
    {
        // That a caller repeats itself is true in any trace.
        let repeated = attempt(headers);
        headers.remove(&TRACESTATE);
        if let Some(n) = repeated {
            set_attempt(headers, n);
        }
    }
    // It has no word for a decision that is left open, and no flag would be taken for a no.
    let Some(sampled) = context.sampled.or(context.debug.then_some(true)) else {
        headers.remove(&TRACEPARENT);
        return;
    };
    let flags = (u8::from(sampled) * SAMPLED) | (u8::from(context.random) * RANDOM);
    let mut text = [b'-'; LENGTH];
    hex::write(&mut text[0..2], 0);
    hex::write(&mut text[3..35], context.trace_id);
    hex::write(&mut text[36..52], context.span_id.into());
    hex::write(&mut text[53..55], flags.into());
    headers.insert(&TRACEPARENT, values.value(&text));
}
