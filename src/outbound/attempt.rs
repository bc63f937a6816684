//! One attempt: an endpoint, its circuit's leave, a connection, the request, the head of an answer.

use std::sync::Arc;

use http::{Request, Response, Version};

use super::snapshot::Target;
use super::trial::Trial;
use super::worker::Outbound;
use crate::balance::{self, Candidates};
use crate::circuit::{self, Verdict};
use crate::dial::{DialError, Far, Missed, SendError, Via};
use crate::http::carriage;
use crate::http::headers::REASON;
use crate::http::respond::Failure;
use crate::http::{Body, classify};
use crate::model::{Endpoint, LastError, Protocol, Reason};
use crate::retry::Failed;
use crate::runtime::clock;

/// An attempt that was not answered.
pub struct Unanswered {
    pub failed: Failed,
    pub failure: Failure,
    pub slot: u32,
}

/// An answer's head, and what it came over.
pub struct Answered {
    pub response: Response<Body>,
    pub via: Via,
    pub trial: Trial,
    /// From sending to the head of the answer.
    pub took_us: u64,
    /// The peer's sidecar said that its app never saw the request.
    pub never_sent: bool,
}

/// Chooses an endpoint that is not among `tried`, if there is another.
///
/// # Errors
/// The service has no endpoint, or no circuit lets the attempt through.
pub fn choose(
    worker: &Outbound,
    target: &Arc<Target>,
    tried: &[u32],
    now_us: u64,
) -> Result<Trial, Failure> {
    target.touch();
    let service = &target.service;
    if service.endpoints.is_empty() {
        let sentence = format!("{} has no ready endpoint", target.label);
        return Err(Failure::new(Reason::NoEndpoints, sentence));
    }
    let policy = &service.policy.circuit;
    let candidates = Candidates { endpoints: &service.endpoints, local: &target.local, tried };
    // Between choice and admission another worker may take the last probe: choose again.
    for _ in 0..3 {
        let ready = |endpoint: &Endpoint| circuit::is_ready(&endpoint.health, policy, now_us);
        let rng = &mut worker.rng.borrow_mut();
        let Some(endpoint) = balance::pick(candidates, ready, now_us, rng) else {
            break;
        };
        if let Some(pass) = circuit::admit(&endpoint.health, policy, now_us) {
            return Ok(Trial::begin(target, endpoint, pass));
        }
    }
    if let Some(pass) = circuit::floor(&service.endpoints, policy) {
        let rng = &mut worker.rng.borrow_mut();
        if let Some(endpoint) = balance::pick(candidates, |_| true, now_us, rng) {
            return Ok(Trial::begin(target, endpoint, pass));
        }
    }
    let sentence = format!("the circuit of every endpoint of {} is open", target.label);
    Err(Failure::new(Reason::CircuitOpen, sentence))
}

/// Where a trial's endpoint is.
pub fn far<'a>(target: &Target, endpoint: &'a Endpoint) -> Far<'a> {
    Far {
        address: endpoint.address,
        identity: endpoint.identity.as_ref(),
        connect_timeout: target.service.policy.timeouts.connect,
    }
}

/// Sends the request on the trial's endpoint. `safe` requests may be sent twice; `again` makes
/// another copy of one, if it can.
///
/// # Errors
/// [`Unanswered`], with the circuit already told.
pub async fn send(
    worker: &Outbound,
    target: &Arc<Target>,
    mut trial: Trial,
    request: Request<Body>,
    safe: bool,
    again: impl FnOnce() -> Option<Request<Body>>,
    begun_us: u64,
) -> Result<Answered, Unanswered> {
    let endpoint = Arc::clone(&trial.endpoint);
    let pool = worker.dialer.pool(endpoint.slot);
    let far = far(target, &endpoint);
    let bulkhead = Some(&*target.bulkhead);
    let (mut parts, body) = request.into_parts();
    let sent = if endpoint.identity.is_some() || speaks_http2(target, parts.version) {
        match carriage::to_http2(&mut parts, &target.authority, endpoint.identity.is_some()) {
            Ok(()) => {
                let request = Request::from_parts(parts, body);
                let sent = worker.dialer.http2(&pool, far, request, begun_us, bulkhead).await;
                sent.map_err(|missed| explain(target, &endpoint, missed))
            }
            Err(why) => Err((Failed::Other, Failure::new(Reason::BadRequest, why))),
        }
    } else {
        if parts.version == Version::HTTP_2 {
            carriage::to_http1(&mut parts, carriage::Restored::http11());
        }
        let request = Request::from_parts(parts, body);
        let sent = worker.dialer.http1(&pool, far, request, safe, again, begun_us, bulkhead).await;
        sent.map_err(|missed| explain(target, &endpoint, missed))
    };
    match sent {
        Ok((response, via)) => {
            let now_us = clock::now_us();
            let took_us = now_us - begun_us;
            let (verdict, never_sent) = judge(target, &endpoint, &response);
            trial.settle(worker, verdict, now_us);
            if never_sent {
                let text = "the sidecar there could not reach its app".to_owned();
                let error = LastError { reason: Reason::ConnectFailure, text, at_us: now_us };
                endpoint.health.note_error(error);
            }
            if verdict == Verdict::Success {
                balance::observe(&endpoint.health, took_us, now_us);
            }
            Ok(Answered { response, via, trial, took_us, never_sent })
        }
        Err((failed, failure)) => {
            let now_us = clock::now_us();
            trial.settle(worker, verdict_of(target, failed, failure.reason), now_us);
            if failure.reason != Reason::ClientClosed {
                let text = failure.sentence().to_owned();
                let error = LastError { reason: failure.reason, text, at_us: now_us };
                endpoint.health.note_error(error);
            }
            Err(Unanswered { failed, failure, slot: endpoint.slot })
        }
    }
}

fn speaks_http2(target: &Target, version: Version) -> bool {
    match target.service.protocol {
        Protocol::Http => false,
        protocol => protocol.is_http2() || version == Version::HTTP_2,
    }
}

/// What is said of an attempt without an answer.
pub fn explain(target: &Target, endpoint: &Endpoint, missed: Missed) -> (Failed, Failure) {
    match missed {
        Missed::Dial(error) => not_dialled(target, endpoint, &error),
        Missed::Send(error) => broke(target, endpoint, error),
    }
}

/// The failure of an endpoint that could not be reached.
pub fn not_dialled(target: &Target, endpoint: &Endpoint, error: &DialError) -> (Failed, Failure) {
    let reason = error.reason();
    let failed = if matches!(error, DialError::Limit(_)) { Failed::Other } else { Failed::Connect };
    let sentence = format!(
        "{} ({}, {}) could not be reached: {error}",
        target.label, endpoint.workload, endpoint.address
    );
    (failed, Failure::new(reason, sentence))
}

fn broke(target: &Target, endpoint: &Endpoint, error: SendError) -> (Failed, Failure) {
    let sentence = match error.reason {
        Reason::ClientClosed => error.sentence,
        _ => format!(
            "{} ({}, {}) did not answer: {}",
            target.label, endpoint.workload, endpoint.address, error.sentence
        ),
    };
    (error.failed, Failure::new(error.reason, sentence))
}

/// How an answer counts, and whether the app never saw the request.
fn judge(target: &Target, endpoint: &Endpoint, response: &Response<Body>) -> (Verdict, bool) {
    let on = &target.service.policy.circuit.on;
    let status = response.status();
    if endpoint.identity.is_some()
        && let Some(reason) = response.headers().get(REASON)
        && let Some(reason) = Reason::parse(reason.as_bytes())
    {
        // The other sidecar answered, not its app.
        let never_sent = reason.is_never_sent();
        let failure =
            if never_sent { on.connect_failure } else { is_failure(on.gateway_error, reason) };
        return (if failure { Verdict::Failure } else { Verdict::Neither }, never_sent);
    }
    let verdict = if classify::is_overload(status, classify::grpc_status(response.headers())) {
        Verdict::Neither
    } else if on.gateway_error && classify::is_gateway_error(status) {
        Verdict::Failure
    } else {
        Verdict::Success
    };
    (verdict, false)
}

/// Reasons of the other sidecar that speak against its app, not against the caller.
fn is_failure(gateway_error: bool, reason: Reason) -> bool {
    let app_failed = matches!(
        reason,
        Reason::UpstreamReset | Reason::UpstreamProtocolError | Reason::ResponseTimeout
    );
    gateway_error && app_failed
}

fn verdict_of(target: &Target, failed: Failed, reason: Reason) -> Verdict {
    let on = &target.service.policy.circuit.on;
    let counts = match failed {
        Failed::Connect | Failed::NeverSent => on.connect_failure && reason != Reason::NotReady,
        Failed::Reset => on.reset,
        Failed::Refused => false,
        Failed::Other => on.gateway_error && reason == Reason::UpstreamProtocolError,
    };
    if counts { Verdict::Failure } else { Verdict::Neither }
}
