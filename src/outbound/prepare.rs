//! What a request's headers become before it leaves.

use std::time::Duration;

use http::header::{self, HeaderValue};
use http::request::Parts;

use super::worker::Outbound;
use crate::http::deadline;
use crate::http::headers::{self, Seen};
use crate::runtime::clock;
use crate::telemetry::exchange::Exchange;
use crate::telemetry::trace_context;

/// What preparing found out.
pub struct Prepared {
    /// The protocol of an Upgrade.
    pub upgrade: Option<HeaderValue>,
    /// What the caller allows.
    pub deadline: Option<Duration>,
    /// A hop before us already repeated this request.
    pub is_repeat: bool,
}

/// Headers that a request usually gets on its way: its id, its trace in two forms, a deadline, what a
/// filter sets. Room for them is made at once, where a small map would grow twice.
const ADDED: usize = 6;

/// Cleans the head, and carries request id and trace context on.
pub fn prepare(worker: &Outbound, exchange: &Exchange, parts: &mut Parts, seen: Seen) -> Prepared {
    let upgrade = headers::strip_hop_by_hop(&mut parts.headers, seen);
    strip_ours(parts, seen);
    parts.headers.reserve(ADDED);
    let is_repeat = seen.has(Seen::ATTEMPT)
        || seen.has(Seen::TRACE_STATE) && trace_context::attempt(&parts.headers).is_some();
    ensure_id(worker, exchange, parts);
    exchange.carry(&mut parts.headers);
    let deadline = deadline::read(&parts.headers, seen);
    Prepared { upgrade, deadline, is_repeat }
}

/// Names that only sidecars may write.
pub fn strip_ours(parts: &mut Parts, seen: Seen) {
    if seen.has(Seen::CARRIED_HTTP) {
        parts.headers.remove(headers::CARRIED_HTTP);
    }
    if seen.has(Seen::PEER) {
        parts.headers.remove(headers::PEER);
    }
    if seen.has(Seen::ALIAS) {
        headers::strip_aliases(&mut parts.headers);
    }
    if seen.has(Seen::EXPECT) {
        // Answered by this sidecar, which asks for the body as soon as it forwards the request.
        parts.headers.remove(header::EXPECT);
    }
}

fn ensure_id(worker: &Outbound, exchange: &Exchange, parts: &mut Parts) {
    let rng = &mut worker.rng.borrow_mut();
    let now = clock::wall_at(exchange.started_us);
    exchange.identify(&mut parts.headers, now, &mut || rng.next_u64());
}
