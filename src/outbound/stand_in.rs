//! What answers when a rule's backends can't: another service, or a fixed answer.
//!
//! Needed when no endpoint answered, or a gateway error came back after the last attempt. What the
//! caller brought upon itself (its deadline, its own abort, a bad request) is not covered up.

use std::rc::Rc;

use http::{HeaderValue, Response, StatusCode};

use super::attempt::Answered;
use super::attempts::attempts;
use super::call::Call;
use super::target::Fallback;
use super::worker::Outbound;
use crate::http::headers::REASON;
use crate::http::respond::Failure;
use crate::http::{Body, classify};
use crate::model::{self, Reason};
use crate::retry::Failed;
use crate::telemetry::exchange::Exchange;

/// gRPC's code for a service that can't be reached.
const UNAVAILABLE: u8 = 14;

/// What stood in.
pub enum Stood {
    Answered(Answered),
    Fixed(Response<Body>),
}

/// Whether what came of the attempts calls for the fallback.
pub fn is_needed(attempted: &Result<Answered, Failure>) -> bool {
    match attempted {
        Ok(answered) => {
            answered.failed.is_some()
                || classify::is_gateway_error(answered.response.status())
                || answered.grpc() == Some(UNAVAILABLE)
        }
        Err(failure) => !matches!(
            failure.reason,
            Reason::BadRequest
                | Reason::BodyTimeout
                | Reason::ClientClosed
                | Reason::DeadlinePassed
                | Reason::RequestTimeout
                | Reason::Internal
        ),
    }
}

/// Whether another service may be asked: sending the request again does no harm, or no app saw it.
fn may_ask(call: &Call, attempted: &Result<Answered, Failure>) -> bool {
    use Reason::{
        CircuitOpen, ConnectFailure, NoBackends, NoEndpoints, NotReady, OverflowConnections,
        OverflowPending, OverflowRequests, PeerIdentityRefused, QueueTimeout, UpstreamTlsFailure,
    };
    let never_sent = match attempted {
        Ok(answered) => answered.failed == Some(Failed::NeverSent),
        Err(failure) => matches!(
            failure.reason,
            CircuitOpen
                | ConnectFailure
                | NoBackends
                | NoEndpoints
                | NotReady
                | OverflowConnections
                | OverflowPending
                | OverflowRequests
                | PeerIdentityRefused
                | QueueTimeout
                | UpstreamTlsFailure
        ),
    };
    // What the last attempt ended with says nothing about those before it.
    call.body.can_repeat() && (call.plan.twice || never_sent && call.has_only_unsent())
}

/// Answers in the place of the backends, after what came of the attempts.
///
/// # Errors
/// The fallback can't answer either: what went wrong first.
pub async fn answer(
    worker: &Outbound,
    exchange: &Exchange,
    call: &mut Call,
    attempted: Result<Answered, Failure>,
) -> Result<Stood, Failure> {
    let resolved = Rc::clone(&call.resolved);
    let backend = match &resolved.target.rules[call.plan.rule].fallback {
        Some(Fallback::Response(fixed)) => {
            return Ok(Stood::Fixed(response(exchange, fixed, reason(&attempted))));
        }
        Some(Fallback::Service(Some(backend))) if may_ask(call, &attempted) => backend,
        _ => return attempted.map(Stood::Answered),
    };
    let Ok(place) = backend.admit() else {
        return attempted.map(Stood::Answered);
    };
    call.place = Some(place);
    call.forget_tried();
    let stood = attempts(worker, exchange, call, backend).await;
    stood.or(attempted).map(Stood::Answered)
}

/// Why there was no answer: ours, or the other sidecar's.
fn reason(attempted: &Result<Answered, Failure>) -> Option<Reason> {
    match attempted {
        Err(failure) => Some(failure.reason),
        Ok(answered) => answered.said,
    }
}

/// The fixed answer; it says why it stands in, where a reason of ours was why.
fn response(
    exchange: &Exchange,
    fixed: &model::Fallback,
    reason: Option<Reason>,
) -> Response<Body> {
    let model::Fallback::Response { status, headers, body } = fixed else {
        return Response::new(Body::empty());
    };
    let mut response = Response::new(Body::full(body.clone()));
    *response.status_mut() = *status;
    for (name, value) in headers.iter() {
        response.headers_mut().append(name, value.clone());
    }
    response.headers_mut().remove(REASON);
    if let Some(reason) = reason {
        exchange.blame(reason);
        response.headers_mut().insert(REASON, HeaderValue::from_static(reason.as_str()));
    }
    if *status == StatusCode::NO_CONTENT || *status == StatusCode::NOT_MODIFIED {
        *response.body_mut() = Body::empty();
    }
    exchange.status.set(status.as_u16());
    response
}
