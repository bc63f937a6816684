//! What an attempt's end says: to the endpoint's circuit, and to whoever may repeat it.

use http::Response;

use super::backend::Backend;
use crate::circuit::Verdict;
use crate::http::headers::{REASON, Seen};
use crate::http::{Body, classify};
use crate::model::{CircuitOn, Endpoint, Reason};
use crate::retry::Failed;

/// What an answer says.
#[derive(Default)]
pub struct Judged {
    /// Its headers that matter.
    pub seen: Seen,
    /// `None`: its end will say.
    pub verdict: Option<Verdict>,
    /// The other sidecar answered, not its app: why, and how the attempt failed there.
    pub said: Option<Reason>,
    pub failed: Option<Failed>,
    /// The time that it took speaks for the endpoint.
    pub is_well: bool,
}

/// How an answer counts, by its head.
pub fn of_answer(backend: &Backend, endpoint: &Endpoint, response: &Response<Body>) -> Judged {
    let on = &backend.policy().circuit.on;
    let headers = response.headers();
    let seen = Seen::scan(headers);
    if seen.has(Seen::REASON)
        && backend.meshes(endpoint)
        && let Some(reason) = headers.get(REASON)
        && let Some(reason) = Reason::parse(reason.as_bytes())
    {
        return Judged { seen, ..of_peer(on, reason) };
    }
    let status = response.status();
    let has_status = seen.has(Seen::GRPC_STATUS);
    let grpc = has_status.then(|| classify::grpc_status(headers)).flatten();
    let verdict = if classify::is_overload(status, grpc) {
        Verdict::Overload
    } else if on.gateway_error && classify::is_gateway_error(status)
        || on.server_error && status.is_server_error()
        || grpc.is_some_and(|code| on.grpc.has(code))
    {
        Verdict::Failure
    } else {
        Verdict::Success
    };
    let is_well = verdict == Verdict::Success;
    let pending = is_well && !response.body().is_empty();
    let verdict = (!pending).then_some(verdict);
    Judged { seen, verdict, said: None, failed: None, is_well }
}

/// How an answer counts that began well, by its end: what broke it, if anything did, and the gRPC
/// status of its trailers.
pub fn of_end(backend: &Backend, reason: Option<Reason>, grpc: Option<u8>) -> Verdict {
    let on = &backend.policy().circuit.on;
    match (reason, grpc) {
        (Some(Reason::UpstreamReset), _) if on.reset => Verdict::Failure,
        (Some(Reason::RequestTimeout | Reason::PerTryTimeout), _) if on.per_try_timeout => {
            Verdict::Failure
        }
        // The caller went away, or its own time was over.
        (Some(Reason::ClientClosed | Reason::DeadlinePassed | Reason::IdleTimeout), _) => {
            Verdict::Neither
        }
        (_, Some(8)) => Verdict::Overload,
        (_, Some(code)) if on.grpc.has(code) => Verdict::Failure,
        _ => Verdict::Success,
    }
}

/// The other sidecar's own answer: the same failures, one hop further.
fn of_peer(on: &CircuitOn, reason: Reason) -> Judged {
    let (failed, counts) = match reason {
        reason if reason.is_never_sent() => (Some(Failed::NeverSent), on.connect_failure),
        Reason::UpstreamReset => (Some(Failed::Reset), on.reset),
        Reason::UpstreamProtocolError => (None, on.gateway_error),
        Reason::ResponseTimeout => (Some(Failed::Timeout), on.per_try_timeout),
        Reason::Overloaded => {
            let verdict = Some(Verdict::Overload);
            return Judged { verdict, said: Some(reason), ..Judged::default() };
        }
        // It speaks of the caller, or of nobody.
        _ => (None, false),
    };
    let verdict = if counts { Verdict::Failure } else { Verdict::Neither };
    Judged { verdict: Some(verdict), said: Some(reason), failed, ..Judged::default() }
}

/// How an attempt without an answer counts.
pub fn of_failure(backend: &Backend, failed: Option<Failed>, reason: Reason) -> Verdict {
    let on = &backend.policy().circuit.on;
    let counts = match failed {
        Some(Failed::Connect | Failed::NeverSent) => {
            on.connect_failure && reason != Reason::NotReady
        }
        Some(Failed::Reset) => on.reset,
        Some(Failed::Timeout) => on.per_try_timeout,
        Some(Failed::Other) => on.gateway_error && reason == Reason::UpstreamProtocolError,
        Some(Failed::Refused) => false,
        // The caller's own deadline says little about the endpoint, the service's limit a lot.
        None => on.per_try_timeout && reason == Reason::RequestTimeout,
    };
    if counts { Verdict::Failure } else { Verdict::Neither }
}
