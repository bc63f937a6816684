//! Requests that ask to leave HTTP: an Upgrade, or CONNECT.
//!
//! Each has a connection of its own, which becomes the tunnel if the far side grants it. An endpoint
//! that can't be reached is left for another, since nothing was sent.

use std::future::pending;
use std::rc::Rc;
use std::sync::Arc;

use http::request::Parts;
use http::{Request, Response};
use tokio::time::{sleep, timeout_at};

use super::attempt::{self, Answered, choose};
use super::backend::Backend;
use super::call::{Call, Limit};
use super::connection::Conn;
use super::serve::{answer, change_answer, clean_answer};
use super::stream;
use super::trial::Trial;
use super::verdict;
use super::worker::Outbound;
use crate::balance::Ask;
use crate::circuit::Verdict;
use crate::dial::{Switched, Via};
use crate::http::Body;
use crate::http::headers::{self, Seen};
use crate::http::respond::Failure;
use crate::http::switch::{self, Switch};
use crate::model::Reason;
use crate::retry::{self, Failed};
use crate::runtime::clock;
use crate::serve::tunnel::Tunnel;
use crate::telemetry::exchange::Exchange;
use crate::telemetry::traffic::Spoken;
use crate::tls::OverSocket;

/// Sends the request, and keeps the far side of the tunnel if it may.
pub async fn switching(
    worker: &Rc<Outbound>,
    conn: &Rc<Conn>,
    exchange: &Rc<Exchange>,
    mut call: Call,
) -> Result<Response<Body>, Failure> {
    let (Some((switch, body)), Some(mut parts), Some(backend)) =
        (call.switch.take(), call.head.take(), call.backend().map(Arc::clone))
    else {
        return Err(Failure::plain(Reason::NoBackends));
    };
    let place = match call.place.take() {
        Some(place) => place,
        None => backend.admit()?,
    };
    let near = (conn.spoken == Spoken::Http2).then(|| (body, worker.doorway.enter()));
    let key = {
        let mut rng = worker.rng.borrow_mut();
        (u128::from(rng.next_u64()) << 64 | u128::from(rng.next_u64())).to_be_bytes()
    };
    switch::write_request(&mut parts, &switch, key);
    let Asked { trial, switched, took_us, until } =
        ask(worker, exchange, &call, &backend, &parts, &switch).await?;
    exchange.upstream_us.set(Some(took_us));
    let meshed = backend.meshes(&trial.endpoint);
    let idle = call.policy().timeouts.idle;
    let (head, tunnel) = match switched {
        Switched::Refused(response) => {
            // It is an answer like any other.
            call.place = Some(place);
            let answered = Answered {
                seen: Seen::scan(response.headers()),
                response,
                via: Via::Alone(clock::now_us() - took_us),
                trial,
                took_us,
                said: None,
                failed: None,
                unsettled: false,
                until,
            };
            return Ok(answer(worker, conn, exchange, call, answered));
        }
        Switched::Granted(head, tunnel) => (head, tunnel),
    };
    let (mut head, ()) = head.into_parts();
    exchange.status.set(head.status.as_u16());
    let protocol = head.headers.get(http::header::UPGRADE).cloned();
    let seen = Seen::scan(&head.headers);
    clean_answer(exchange, &mut head.headers, seen, meshed);
    change_answer(&call, &mut head.headers);
    switch::write_granted(&mut head.headers, &mut head.status, &switch, protocol);
    head.extensions.clear();
    let trust = stream::trust(worker, tunnel.chain(), &conn.tunnels.entry);
    let tunnel = Tunnel {
        far: tunnel,
        idle,
        exchange: Rc::clone(exchange),
        held: Box::new((trial, place)),
        until: Box::pin(pending()),
        trust,
    };
    Ok(Response::from_parts(head, conn.tunnels.open(near, tunnel)))
}

/// What an endpoint said.
struct Asked {
    trial: Trial,
    switched: Switched,
    /// From sending to the head of the answer.
    took_us: u64,
    /// When an answer must be through.
    until: Limit,
}

/// Asks one endpoint after another until one was reached.
async fn ask(
    worker: &Outbound,
    exchange: &Exchange,
    call: &Call,
    backend: &Arc<Backend>,
    parts: &Parts,
    switch: &Switch,
) -> Result<Asked, Failure> {
    loop {
        let tried = call.tried();
        let ask = Ask { tried: tried.slots(), hash: call.plan.hash, now_us: clock::now_us() };
        let mut trial = choose(worker, backend, ask, call.plan.safe || call.plan.twice, false)?;
        let number = call.try_on(trial.endpoint.slot);
        exchange.attempt(&trial.endpoint, number, clock::now_us(), trial.circuit());
        let mut head = headers::copy(parts);
        call.write_attempt(&mut head, number);
        let request = Request::from_parts(head, Body::empty());
        // No attempt of its own time: another may follow only where nothing was sent.
        let (head_by, until) = call.limits(false);
        let endpoint = Arc::clone(&trial.endpoint);
        let far = backend.far(&endpoint, call.policy().timeouts.connect);
        let begun_us = clock::now_us();
        let sent = worker.dialer.switching(far, request, switch, Some(&backend.bulkhead));
        let sent = match head_by {
            None => sent.await.map_err(|missed| attempt::explain(backend, &endpoint, missed)),
            Some((at, reason)) => match timeout_at(at, sent).await {
                Ok(sent) => sent.map_err(|missed| attempt::explain(backend, &endpoint, missed)),
                Err(_) => Err((Failed::Timeout, Failure::plain(reason))),
            },
        };
        let now_us = clock::now_us();
        let (status, reason) = match &sent {
            Ok(switched) => (switched.status().as_u16(), None),
            Err((_, failure)) => (0, Some(failure.reason)),
        };
        exchange.attempted(number, now_us, status, reason);
        let took_us = now_us - begun_us;
        let (failed, failure) = match sent {
            Ok(Switched::Refused(response)) => {
                let judged = verdict::of_answer(backend, &endpoint, &response);
                let verdict = judged.verdict.unwrap_or(Verdict::Success);
                trial.settle(worker, verdict, Some(took_us), now_us);
                if judged.failed != Some(Failed::NeverSent) || !repeats(call, Failed::NeverSent) {
                    let switched = Switched::Refused(response);
                    return Ok(Asked { trial, switched, took_us, until });
                }
                (Failed::NeverSent, None)
            }
            Ok(granted) => {
                trial.settle(worker, Verdict::Success, Some(took_us), now_us);
                return Ok(Asked { trial, switched: granted, took_us, until });
            }
            Err((failed, failure)) => {
                trial.fail(worker, Some(failed), &failure, None, now_us);
                (failed, Some(failure))
            }
        };
        let unsent = matches!(failed, Failed::Connect | Failed::NeverSent);
        let may_follow = unsent && repeats(call, failed) && number <= call.plan.max_retries;
        if !may_follow || !call.rule().budget.try_withdraw(now_us) {
            return Err(failure.unwrap_or_else(|| Failure::plain(Reason::ConnectFailure)));
        }
        exchange.meter().inspect(|meter| meter.retried.inc());
        let backoff = call.policy().retry.backoff;
        let pause = retry::pause(number, backoff, &mut worker.rng.borrow_mut());
        sleep(pause).await;
    }
}

fn repeats(call: &Call, failed: Failed) -> bool {
    retry::repeats_failure(failed, call.plan.twice, &call.policy().retry)
}
