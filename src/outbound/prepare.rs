//! What a request's headers become before it leaves.

use std::time::Duration;

use http::header::{self, HeaderValue};
use http::request::Parts;

use super::worker::Outbound;
use crate::http::deadline;
use crate::http::headers::{self, Seen};
use crate::runtime::clock;
use crate::telemetry::exchange::{Detail, Exchange};
use crate::telemetry::request_id;
use crate::telemetry::trace_context::{self, TraceContext};

/// What preparing found out.
pub struct Prepared {
    /// The protocol of an Upgrade.
    pub upgrade: Option<HeaderValue>,
    /// What the caller allows.
    pub deadline: Option<Duration>,
    /// A hop before us already repeated this request.
    pub is_repeat: bool,
}

/// Headers that a request usually gets on its way: its id, a deadline, what a filter sets. Room for
/// them is made at once, where a small map would grow twice.
const ADDED: usize = 4;

/// Cleans the head, carries request id and trace context on, and notes what the log wants.
pub fn prepare(worker: &Outbound, exchange: &Exchange, parts: &mut Parts, seen: Seen) -> Prepared {
    let logged = exchange.is_logged().then(|| Detail {
        time: clock::wall_at(exchange.started_us),
        method: parts.method.clone(),
        uri: parts.uri.clone(),
        host: parts.headers.get(header::HOST).cloned(),
        request_id: None,
        trace_id: None,
        user_agent: parts.headers.get(header::USER_AGENT).cloned(),
    });
    let upgrade = headers::strip_hop_by_hop(&mut parts.headers, seen);
    strip_ours(parts, seen);
    parts.headers.reserve(ADDED);
    let is_repeat = seen.has(Seen::ATTEMPT)
        || seen.has(Seen::TRACE_STATE) && trace_context::attempt(&parts.headers).is_some();
    let request_id = ensure_id(worker, exchange, parts);
    let trace = carry_trace(worker, parts, seen);
    if let Some(mut detail) = logged {
        detail.request_id = Some(request_id);
        detail.trace_id = trace;
        let _ = exchange.detail.set(Box::new(detail));
    }
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
    if seen.has(Seen::EXPECT) {
        // Answered by this sidecar, which asks for the body as soon as it forwards the request.
        parts.headers.remove(header::EXPECT);
    }
}

fn ensure_id(worker: &Outbound, exchange: &Exchange, parts: &mut Parts) -> HeaderValue {
    let rng = &mut worker.rng.borrow_mut();
    let now = clock::wall_at(exchange.started_us);
    let id = request_id::ensure(&mut parts.headers, now, &mut || rng.next_u64());
    if let Some(id) = parts.headers.get_mut(headers::REQUEST_ID) {
        // Another one in every request: not worth a place in HPACK's tables, which this keeps it
        // out of. Measured: a tenth of what sending a request over HTTP/2 costs.
        id.set_sensitive(true);
    }
    id
}

fn carry_trace(worker: &Outbound, parts: &mut Parts, seen: Seen) -> Option<u128> {
    if !seen.has(Seen::TRACE) {
        return None;
    }
    let formats = &worker.shared.propagation;
    let context = TraceContext::read(&parts.headers, formats)?;
    context.write(&mut parts.headers, formats);
    Some(context.trace_id)
}
