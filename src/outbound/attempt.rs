//! One attempt: an endpoint, its circuit's leave, a connection, the request, the head of an answer.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response, Version};
use tokio::time::timeout_at;

use super::backend::Backend;
use super::call::Limit;
use super::trial::Trial;
use super::verdict;
use super::worker::Outbound;
use crate::balance::{self, Ask};
use crate::circuit::Verdict;
use crate::dial::{DialError, Missed, SendError, Via};
use crate::http::headers::Seen;
use crate::http::respond::Failure;
use crate::http::{Body, carriage, classify};
use crate::model::{Endpoint, Protocol, Reason};
use crate::retry::Failed;
use crate::runtime::{clock, descriptors};
use crate::tls::PeerError;

/// An attempt that was not answered.
pub struct Unanswered {
    /// How it failed; `None`: nothing may follow, whatever the policy says.
    pub failed: Option<Failed>,
    pub failure: Failure,
}

impl From<Failure> for Unanswered {
    fn from(failure: Failure) -> Self {
        Self { failed: None, failure }
    }
}

/// An answer's head, and what it came over.
pub struct Answered {
    pub response: Response<Body>,
    /// Its headers that matter.
    pub seen: Seen,
    pub via: Via,
    pub trial: Trial,
    /// From sending to the head of the answer.
    pub took_us: u64,
    /// What the peer's sidecar said in the place of its app, and how the attempt failed there.
    pub said: Option<Reason>,
    pub failed: Option<Failed>,
    /// The circuit waits for the status in the trailers.
    pub unsettled: bool,
    /// When the rest must be through.
    pub until: Limit,
}

impl Answered {
    /// The gRPC status, where the head says it.
    pub fn grpc(&self) -> Option<u8> {
        let has_status = self.seen.has(Seen::GRPC_STATUS);
        has_status.then(|| classify::grpc_status(self.response.headers())).flatten()
    }
}

/// What an attempt sends, and how long it may take.
pub struct Sending<'a> {
    pub request: Request<Body>,
    /// Sending it twice does no harm.
    pub safe: bool,
    pub connect_timeout: Duration,
    pub begun_us: u64,
    /// For the answer's head.
    pub head_by: Limit,
    /// For all of the answer.
    pub until: Limit,
    /// Another copy of the request, if one can be made.
    pub again: &'a dyn Fn() -> Option<Request<Body>>,
}

/// Begins an attempt on the endpoint that the backend [chooses](Backend::choose).
///
/// # Errors
/// The service has no endpoint, or no circuit lets the attempt through.
pub fn choose(
    worker: &Outbound,
    backend: &Arc<Backend>,
    ask: Ask<'_>,
    twice: bool,
    only_lost: bool,
) -> Result<Trial, Failure> {
    let chosen = backend.choose(ask, twice, only_lost, &mut worker.rng.borrow_mut());
    let (endpoint, pass) = chosen.ok_or_else(|| backend.nobody())?;
    Ok(Trial::begin(backend, endpoint, pass))
}

/// Sends a request on the trial's endpoint, and waits for the head of its answer.
///
/// # Errors
/// [`Unanswered`], with the circuit already told.
pub async fn send(
    worker: &Outbound,
    mut trial: Trial,
    sending: Sending<'_>,
) -> Result<Answered, Unanswered> {
    let (begun_us, until, head_by) = (sending.begun_us, sending.until, sending.head_by);
    let (backend, endpoint) = (Arc::clone(&trial.backend), Arc::clone(&trial.endpoint));
    let sent = {
        let exchanging = pin!(exchange(worker, &backend, &endpoint, sending));
        match head_by {
            None => exchanging.await,
            Some((at, reason)) => timeout_at(at, exchanging)
                .await
                .unwrap_or_else(|_| Err(late(&backend, &endpoint, reason))),
        }
    };
    let now_us = clock::now_us();
    match sent {
        Ok((response, via)) => {
            let took_us = now_us - begun_us;
            let judged = verdict::of_answer(&backend, &endpoint, &response);
            // A limit of ours that the other sidecar saw pass first.
            if judged.said == Some(Reason::DeadlinePassed)
                && let Some((_, reason @ Reason::RequestTimeout)) = until
            {
                let (failed, failure) = late(&backend, &endpoint, reason);
                let verdict = verdict::of_failure(&backend, failed, reason);
                trial.settle(worker, verdict, Some(took_us), now_us);
                return Err(Unanswered { failed, failure });
            }
            // A probe's good beginning is enough: others wait for its word.
            let verdict = judged.verdict.or(trial.is_probe().then_some(Verdict::Success));
            if let Some(verdict) = verdict {
                trial.settle(worker, verdict, Some(took_us), now_us);
            }
            if judged.failed == Some(Failed::NeverSent) {
                let text = "the sidecar there could not reach its app";
                trial.note_error(Reason::ConnectFailure, text, now_us);
            }
            if judged.is_well {
                // Without making the connection: one slow handshake would starve a fast endpoint.
                let served_us = now_us - via.born_us().max(begun_us);
                balance::observe(&endpoint.health, served_us, now_us);
            }
            let (said, failed, unsettled) = (judged.said, judged.failed, verdict.is_none());
            let seen = judged.seen;
            Ok(Answered { response, seen, via, trial, took_us, said, failed, unsettled, until })
        }
        Err((failed, failure)) => {
            let took_us = (failed == Some(Failed::Timeout)).then(|| now_us - begun_us);
            trial.fail(worker, failed, &failure, took_us, now_us);
            Err(Unanswered { failed, failure })
        }
    }
}

/// The same over whatever protocol the endpoint takes.
async fn exchange(
    worker: &Outbound,
    backend: &Backend,
    endpoint: &Endpoint,
    sending: Sending<'_>,
) -> Result<(Response<Body>, Via), (Option<Failed>, Failure)> {
    let Sending { request, safe, connect_timeout, begun_us, again, .. } = sending;
    let pool = worker.dialer.pool(endpoint.slot);
    let far = backend.far(endpoint, connect_timeout);
    let meshed = far.identity.is_some();
    let bulkhead = Some(&*backend.bulkhead);
    let (mut parts, body) = request.into_parts();
    let sent = if speaks_http2(backend, meshed, parts.version) {
        if let Err(why) = carriage::to_http2(&mut parts, &backend.authority, meshed) {
            return Err((None, Failure::new(Reason::BadRequest, why)));
        }
        let request = Request::from_parts(parts, body);
        worker.dialer.http2(&pool, far, request, begun_us, bulkhead).await
    } else {
        if parts.version == Version::HTTP_2 {
            carriage::to_http1(&mut parts, carriage::Restored::http11());
        }
        let request = Request::from_parts(parts, body);
        worker.dialer.http1(&pool, far, request, safe, again, begun_us, bulkhead).await
    };
    sent.map_err(|missed| {
        let (failed, failure) = explain(backend, endpoint, missed);
        (Some(failed), failure)
    })
}

/// Between sidecars always, unless an HTTP/1 request has to keep its form; else as the service says,
/// or the request came.
fn speaks_http2(backend: &Backend, meshed: bool, version: Version) -> bool {
    let came_as_http2 = version == Version::HTTP_2;
    if meshed {
        return came_as_http2 || !backend.policy().keeps_header_case;
    }
    match backend.service.protocol {
        Protocol::Http => false,
        protocol => protocol.is_http2() || came_as_http2,
    }
}

fn late(backend: &Backend, endpoint: &Endpoint, reason: Reason) -> (Option<Failed>, Failure) {
    match reason {
        Reason::RequestTimeout => {
            let sentence =
                format!("{} did not answer in the time that the request may take", backend.label);
            (None, Failure::new(reason, sentence))
        }
        Reason::DeadlinePassed => (None, Failure::plain(reason)),
        _ => {
            let sentence = format!(
                "{} ({}, {}) did not begin its answer in the time that an attempt may take",
                backend.label, endpoint.workload, endpoint.address
            );
            (Some(Failed::Timeout), Failure::new(reason, sentence))
        }
    }
}

/// What is said of an attempt without an answer.
pub fn explain(backend: &Backend, endpoint: &Endpoint, missed: Missed) -> (Failed, Failure) {
    match missed {
        Missed::Dial(error) => not_dialled(backend, endpoint, &error),
        Missed::Send(error) => broke(backend, endpoint, error),
    }
}

/// The failure of an endpoint that could not be reached.
pub fn not_dialled(backend: &Backend, endpoint: &Endpoint, error: &DialError) -> (Failed, Failure) {
    let reason = error.reason();
    // Our own limits and settings say nothing about the endpoint.
    let ours = matches!(
        error,
        DialError::Limit(_)
            | DialError::Ended
            | DialError::Tls(PeerError::NoRoots(_) | PeerError::NoServerName)
    ) || matches!(error, DialError::Connect(error) if descriptors::are_exhausted(error));
    let failed = if ours { Failed::Other } else { Failed::Connect };
    let sentence = format!(
        "{} ({}, {}) could not be reached: {error}",
        backend.label, endpoint.workload, endpoint.address
    );
    (failed, Failure::new(reason, sentence))
}

fn broke(backend: &Backend, endpoint: &Endpoint, error: SendError) -> (Failed, Failure) {
    let sentence = match error.reason {
        Reason::ClientClosed => error.sentence,
        _ => format!(
            "{} ({}, {}) did not answer: {}",
            backend.label, endpoint.workload, endpoint.address, error.sentence
        ),
    };
    (error.failed, Failure::new(error.reason, sentence))
}
