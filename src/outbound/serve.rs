//! The way of an outbound request, top to bottom.
//!
//! Check, find the target, route, take a place, prepare, then attempt until one is answered or none
//! may follow. Each step either goes on or ends in a [`Failure`], which becomes the caller's answer.

use std::convert::Infallible;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use http::header::{self, HeaderValue};
use http::request::Parts;
use http::{Method, Request, Response, StatusCode, Version};
use http_body::Body as _;
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use tokio::time::{Instant, sleep, timeout_at};

use super::attempt::{self, Answered, Unanswered};
use super::connection::{Conn, Destination};
use super::destination::{Miss, target, to_origin_form, unrouted};
use super::discovery;
use super::prepare::{Prepared, prepare};
use super::source::Source;
use super::stream;
use super::worker::{Outbound, Resolved};
use crate::agent::session::Want;
use crate::http::guarded::Refusal;
use crate::http::headers::{self, ATTEMPT, REASON, Seen};
use crate::http::patience::Patience;
use crate::http::respond::{Failure, Shape, respond};
use crate::http::switch::{self, Switch};
use crate::http::tail::ResponseTail;
use crate::http::{Body, Tail, classify, deadline};
use crate::limit::RequestTicket;
use crate::model::{Direction, Reason};
use crate::retry;
use crate::runtime::{Phase, clock};
use crate::serve::ledger::UnderWay;
use crate::telemetry::exchange::Exchange;
use crate::telemetry::trace_context;
use crate::telemetry::traffic::Spoken;

/// Attempts that one request may make; far above any policy, so that `tried` needs no heap.
const TRIED: usize = 8;

/// A request that may go out. Boxed, so that the futures that pass it on stay small.
struct Call {
    resolved: Rc<Resolved>,
    /// For the first attempt, with what hyper attached to it.
    head: Option<Parts>,
    /// For further attempts, where there may be any.
    spare: Option<Parts>,
    seen: Seen,
    body: Source,
    place: RequestTicket,
    under_way: UnderWay,
    safe: bool,
    max_retries: u32,
    switch: Option<Switch>,
    deadline: Option<Duration>,
}

/// Serves one request.
pub fn serve(
    worker: &Rc<Outbound>,
    conn: &Rc<Conn>,
    request: Request<Incoming>,
) -> Pin<Box<impl Future<Output = Result<Response<Body>, Infallible>> + use<>>> {
    let seen = Seen::scan(request.headers());
    let grpc = seen.has(Seen::CONTENT_TYPE) && classify::is_grpc(request.headers());
    let (spoken, shape) =
        if grpc { (Spoken::Grpc, Shape::Grpc) } else { (conn.spoken, Shape::Http) };
    let exchange =
        Exchange::begin(&worker.sinks, Direction::Outbound, spoken, "none", clock::now_us);
    let may_switch = seen.has(Seen::UPGRADE) || request.method() == Method::CONNECT;
    let begun = begin(worker, conn, &exchange, request, seen);
    let (worker, conn) = (Rc::clone(worker), Rc::clone(conn));
    // Boxed here, so that hyper and tokio move a pointer where they would move kilobytes.
    Box::pin(async move {
        let admitted = match begun {
            Begun::Decided(admitted) => admitted,
            Begun::Unanswered(held) => {
                let (want, request) = *held;
                match discovery::answered(&worker, &want).await {
                    Ok(()) => admit_answered(&worker, &conn, &exchange, request, seen),
                    Err(failure) => Err(failure),
                }
            }
        };
        let answered = match admitted {
            Ok(call) => forward(&worker, &conn, &exchange, call).await,
            Err(failure) => Err(failure),
        };
        let response = answered.unwrap_or_else(|f| refuse(&worker, &conn, &exchange, f, shape));
        Ok(leave(&worker, &conn, may_switch, response))
    })
}

/// A request that was looked at.
enum Begun {
    Decided(Result<Box<Call>, Failure>),
    /// It goes to something that nobody has spoken of yet.
    Unanswered(Box<(Want, Request<Incoming>)>),
}

/// Looks at a request; nothing of it waits.
fn begin(
    worker: &Outbound,
    conn: &Conn,
    exchange: &Rc<Exchange>,
    request: Request<Incoming>,
    seen: Seen,
) -> Begun {
    let (parts, incoming) = request.into_parts();
    let resolved = check(conn, &parts, seen)
        .map_err(Miss::Refused)
        .and_then(|()| target(worker, conn, &parts));
    match resolved {
        Ok(resolved) => {
            Begun::Decided(admit(worker, conn, exchange, parts, incoming, seen, resolved))
        }
        Err(Miss::Refused(failure)) => Begun::Decided(Err(failure)),
        Err(Miss::Unanswered(want)) => {
            Begun::Unanswered(Box::new((want, Request::from_parts(parts, incoming))))
        }
    }
}

/// A request that waited for the answer.
fn admit_answered(
    worker: &Outbound,
    conn: &Conn,
    exchange: &Rc<Exchange>,
    request: Request<Incoming>,
    seen: Seen,
) -> Result<Box<Call>, Failure> {
    let (parts, incoming) = request.into_parts();
    match target(worker, conn, &parts) {
        Ok(resolved) => admit(worker, conn, exchange, parts, incoming, seen, resolved),
        Err(Miss::Refused(failure)) => Err(failure),
        Err(Miss::Unanswered(_)) => Err(Failure::plain(Reason::NotReady)),
    }
}

/// Everything that is decided before the first byte goes out.
fn admit(
    worker: &Outbound,
    conn: &Conn,
    exchange: &Rc<Exchange>,
    mut parts: Parts,
    incoming: Incoming,
    seen: Seen,
    resolved: Rc<Resolved>,
) -> Result<Box<Call>, Failure> {
    if matches!(conn.destination, Destination::ByHost) {
        to_origin_form(&mut parts);
    }
    let rule = resolved.target.routes.resolve(&parts).map_err(Failure::plain)?;
    exchange.set_meter(Rc::clone(&resolved.meters[rule]));
    let place = resolved.target.bulkhead.try_admit().map_err(Failure::plain)?;
    let Prepared { upgrade, deadline, is_repeat } = prepare(worker, exchange, &mut parts, seen);
    if deadline == Some(Duration::ZERO) {
        return Err(Failure::plain(Reason::DeadlinePassed));
    }
    resolved.target.budget.deposit(exchange.started_us);
    let switch = switch::asked(&parts, upgrade);
    if switch.is_some() && !incoming.is_end_stream() {
        let sentence = "a request that asks to leave HTTP may not have a body";
        return Err(Failure::new(Reason::BadRequest, sentence).closing());
    }
    if switch.is_none() && seen.has(Seen::UPGRADE) {
        parts.extensions.remove::<OnUpgrade>();
    }
    let policy = &resolved.target.service.policy.retry;
    let max_retries = if is_repeat { 0 } else { policy.max_retries };
    let safe = classify::is_idempotent(&parts.method);
    let body =
        Source::new(exchange, &resolved, Body::incoming(incoming, parts.version), max_retries);
    let repeatable = switch.is_none() && (max_retries > 0 || safe);
    Ok(Box::new(Call {
        spare: repeatable.then(|| headers::copy(&parts)),
        head: Some(parts),
        resolved,
        seen,
        body,
        place,
        under_way: UnderWay::begin(&conn.tunnels.entry, exchange),
        safe,
        max_retries,
        switch,
        deadline,
    }))
}

/// Attempts within the caller's deadline, and makes the answer the caller's.
async fn forward(
    worker: &Rc<Outbound>,
    conn: &Rc<Conn>,
    exchange: &Rc<Exchange>,
    mut call: Box<Call>,
) -> Result<Response<Body>, Failure> {
    if let (Some(switch), Some(parts)) =
        (&call.switch, call.head.take_if(|_| call.switch.is_some()))
    {
        let place = call.place;
        let switching =
            stream::switching(worker, conn, exchange, &call.resolved, parts, switch, place);
        return Box::pin(switching).await;
    }
    let answered = match call.deadline {
        None => attempts(worker, exchange, &mut call, None).await,
        Some(left) => {
            let until = Instant::now() + left;
            timeout_at(until, Box::pin(attempts(worker, exchange, &mut call, Some(until))))
                .await
                .unwrap_or_else(|_| Err(Failure::plain(Reason::DeadlinePassed)))
        }
    }?;
    if answered.response.status() == StatusCode::SWITCHING_PROTOCOLS {
        let sentence = "the app switched protocols without being asked";
        return Err(Failure::new(Reason::UpstreamProtocolError, sentence));
    }
    Ok(answer(conn, exchange, *call, answered))
}

/// What every answer needs that leaves on an HTTP/1 connection.
fn leave(
    worker: &Outbound,
    conn: &Conn,
    may_switch: bool,
    mut response: Response<Body>,
) -> Response<Body> {
    if conn.spoken == Spoken::Http1 {
        if may_switch {
            if conn.tunnels.is_open() { conn.gate.tunnel() } else { conn.gate.resume() }
        }
        if worker.doorway.phase() > Phase::Serving && !response.status().is_informational() {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
    }
    response
}

/// What the guard, or the rules of HTTP/2, found wrong.
fn check(conn: &Conn, parts: &Parts, seen: Seen) -> Result<(), Failure> {
    match conn.spoken {
        Spoken::Http1 => conn.gate.next_request().map_or(Ok(()), |refusal| Err(refusal.failure())),
        _ => headers::check_http2(parts, seen).map_err(|why| Failure::new(Reason::BadRequest, why)),
    }
}

/// Attempts until one is answered, or none may follow.
async fn attempts(
    worker: &Outbound,
    exchange: &Exchange,
    call: &mut Call,
    until: Option<Instant>,
) -> Result<Answered, Failure> {
    let target = &call.resolved.target;
    let policy = &target.service.policy.retry;
    let (mut tried, mut count) = ([0u32; TRIED], 0usize);
    loop {
        let begun_us = if count == 0 { exchange.started_us } else { clock::now_us() };
        let trial = attempt::choose(worker, target, &tried[..count.min(TRIED)], begun_us)?;
        let may_follow = (count as u32) < call.max_retries && call.body.can_repeat();
        let Some(mut head) = call.head.take().or_else(|| call.spare.as_ref().map(headers::copy))
        else {
            return Err(Failure::plain(Reason::Internal));
        };
        write_attempt(&mut head, call.seen, count as u32 + 1, until);
        note(exchange, &trial.endpoint, count as u32 + 1);
        let request = Request::from_parts(head, call.body.attempt());
        let again = || {
            let repeated = call.spare.as_ref().filter(|_| matches!(call.body, Source::Empty));
            repeated.map(|parts| Request::from_parts(headers::copy(parts), Body::empty()))
        };
        let sent = attempt::send(worker, target, trial, request, call.safe, again, begun_us).await;
        let (failed, slot) = match &sent {
            Ok(answered) if answered.never_sent => {
                (retry::Failed::NeverSent, answered.trial.endpoint.slot)
            }
            Ok(_) => return sent.map_err(|unanswered| unanswered.failure),
            Err(Unanswered { failed, slot, .. }) => (*failed, *slot),
        };
        let refused = if !may_follow || !call.body.can_repeat() {
            exchange.meter().map(|meter| &meter.not_repeatable)
        } else if !retry::may_repeat(failed, call.safe, policy) {
            exchange.meter().map(|meter| &meter.not_allowed)
        } else if !target.budget.try_withdraw(clock::now_us()) {
            exchange.meter().map(|meter| &meter.over_budget)
        } else {
            None
        };
        if let Some(refused) = refused {
            refused.inc();
            return sent.map_err(|unanswered| unanswered.failure);
        }
        exchange.meter().inspect(|meter| meter.retried.inc());
        drop(sent);
        tried[count.min(TRIED - 1)] = slot;
        count += 1;
        let pause = retry::pause(count as u32, policy.backoff, &mut worker.rng.borrow_mut());
        sleep(pause).await;
        if !call.body.can_repeat() {
            return Err(Failure::plain(Reason::UpstreamReset));
        }
    }
}

fn note(exchange: &Exchange, endpoint: &crate::model::Endpoint, attempts: u32) {
    exchange.attempts.set(attempts);
    exchange.endpoint.set(Some(endpoint.address));
    exchange.peer.replace(endpoint.identity.clone());
}

/// What only this attempt says.
fn write_attempt(head: &mut Parts, seen: Seen, attempt: u32, until: Option<Instant>) {
    if attempt > 1 {
        head.headers.insert(ATTEMPT, HeaderValue::from(attempt));
        if head.headers.contains_key("traceparent") {
            trace_context::set_attempt(&mut head.headers, attempt);
        }
    }
    if let Some(until) = until {
        let left = until.saturating_duration_since(Instant::now());
        deadline::write(&mut head.headers, seen, left);
    }
}

/// Turns the upstream's answer into the caller's.
fn answer(conn: &Conn, exchange: &Rc<Exchange>, call: Call, answered: Answered) -> Response<Body> {
    call.body.settle();
    let Answered { response, via, trial, took_us, .. } = answered;
    let (mut parts, body) = response.into_parts();
    exchange.status.set(parts.status.as_u16());
    exchange.upstream_us.set(Some(took_us));
    clean_answer(exchange, &mut parts.headers, trial.endpoint.identity.is_some());
    parts.version = if conn.spoken == Spoken::Http2 { Version::HTTP_2 } else { Version::HTTP_11 };
    let patience = Patience::new(call.resolved.target.service.policy.timeouts.idle);
    let mut tail = ResponseTail::new(exchange, via, patience, (trial, call.place, call.under_way));
    if body.is_empty() {
        tail.end(None);
        return Response::from_parts(parts, body);
    }
    Response::from_parts(parts, body.with_tail(Box::new(tail)))
}

/// Removes what concerned the upstream connection, and takes in what the headers tell.
pub fn clean_answer(exchange: &Exchange, headers: &mut http::HeaderMap, meshed: bool) {
    let seen = Seen::scan(headers);
    headers::strip_hop_by_hop(headers, seen);
    if seen.has(Seen::GRPC_STATUS) {
        exchange.grpc.set(classify::grpc_status(headers));
    }
    if seen.has(Seen::REASON) {
        if !meshed {
            headers.remove(REASON);
        } else if let Some(reason) = headers.get(REASON).and_then(|r| Reason::parse(r.as_bytes())) {
            exchange.blame(reason);
        }
    }
}

/// The proxy's own answer.
fn refuse(
    worker: &Outbound,
    conn: &Conn,
    exchange: &Exchange,
    failure: Failure,
    shape: Shape,
) -> Response<Body> {
    if exchange.meter().is_none() {
        exchange.set_meter(unrouted(worker, &conn.destination));
    }
    let failure = match (conn.gate.body_violation(), exchange.reason.get()) {
        (Some(violation), _) => Refusal::Violation(violation).failure(),
        // The body broke first, and took the attempt with it.
        (None, Some(Reason::BodyTimeout)) => Failure::plain(Reason::BodyTimeout).closing(),
        _ => failure,
    };
    exchange.blame(failure.reason);
    let response = respond(&failure, shape);
    exchange.status.set(response.status().as_u16());
    exchange.grpc.set(classify::grpc_status(response.headers()));
    tracing::debug!(reason = %failure.reason, client = %conn.client, "{}", failure.sentence());
    response
}
