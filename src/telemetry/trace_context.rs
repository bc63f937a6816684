//! Trace headers: which trace a request belongs to, read in any format, the configured
//! ones first, and written in all of those. What does not follow its specification is ignored, never repaired: a wrong id joins
//! strangers' traces. `inbound` and `outbound` read once per request, and write before forwarding;
//! retries mark themselves in `tracestate` by [`set_attempt`].

mod b3;
#[cfg(test)]
mod tests;
mod tracestate;
mod w3c;

use http::{HeaderMap, HeaderName};

use super::Propagation;
use super::values::Values;

pub use tracestate::{attempt, set_attempt};

/// A position in a trace: as read, the caller's; as written, ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceContext {
    /// Never zero. B3 ids of 64 bits have zeros in front, and keep them when written.
    pub trace_id: u128,
    /// The span that called; never zero.
    pub span_id: u64,
    /// Whether the caller records its span; `None` leaves it to us (B3 only).
    pub sampled: Option<bool>,
    /// B3's debug flag: record whatever the ratio says. Implies `sampled`.
    pub debug: bool,
    /// The trace id is known to be random in its last 56 bits (W3C level 2).
    pub random: bool,
}

impl TraceContext {
    /// The context that `headers` carry, in the first format of `order` that is there and valid.
    pub fn read(headers: &HeaderMap, order: &[Propagation]) -> Option<Self> {
        order.iter().find_map(|format| match format {
            Propagation::W3c => w3c::read(headers),
            Propagation::B3 => b3::read_single(headers),
            Propagation::B3Multi => b3::read_multi(headers),
        })
    }

    /// The decision that B3 headers may carry without any ids: `b3: 0`, `x-b3-sampled: 1`. To be
    /// asked where [`Self::read`] found nothing.
    pub fn decision(headers: &HeaderMap, order: &[Propagation]) -> Option<bool> {
        order.iter().find_map(|format| match format {
            Propagation::W3c => None,
            Propagation::B3 => b3::decision_single(headers),
            Propagation::B3Multi => b3::decision_multi(headers),
        })
    }

    /// A new trace, with the decision still open.
    pub fn fresh(random: &mut impl FnMut() -> u64) -> Self {
        let trace_id = u128::from(random()) << 64 | u128::from(random());
        let span_id = random().max(1);
        Self { trace_id: trace_id.max(1), span_id, sampled: None, debug: false, random: true }
    }

    /// The same trace with a new span id: what goes upstream when this hop is a span of its own.
    pub fn child(&self, random: &mut impl FnMut() -> u64) -> Self {
        Self { span_id: random().max(1), ..*self }
    }

    /// The trace id where the trace is recorded, else zero.
    pub fn sampled_id(&self) -> u128 {
        if self.debug || self.sampled == Some(true) { self.trace_id } else { 0 }
    }

    /// Writes this context in every format listed, replacing what was there. A `tracestate` that
    /// belongs to no trace or to another one is removed, as W3C asks; other formats' headers stay.
    pub fn write(&self, headers: &mut HeaderMap, formats: &[Propagation], values: &mut Values) {
        for format in formats {
            match format {
                Propagation::W3c => w3c::write(self, headers, values),
                Propagation::B3 => b3::write_single(self, headers, values),
                Propagation::B3Multi => b3::write_multi(self, headers, values),
            }
        }
    }
}

/// The value of a header that is there exactly once: of two, neither is to be believed.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a [u8]> {
    let mut values = headers.get_all(name).iter();
    let first = values.next()?;
    values.next().is_none().then_some(first.as_bytes())
}
