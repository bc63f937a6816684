//! The way of an outbound request, top to bottom.
//!
//! Check, find the target, admit (route, filters, limits: see `admit`), then faults, attempts until
//! one is answered or none may follow, and what stands in where none was. Each step either goes on or
//! ends in a [`Failure`], which becomes the caller's answer.

use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;

use http::header::{self, HeaderValue};
use http::request::Parts;
use http::{Method, Request, Response, StatusCode, Version};
use tokio::time::{sleep, sleep_until};

use super::admit::{Admitted, admit};
use super::attempt::Answered;
use super::attempts::attempts;
use super::call::Call;
use super::connection::Conn;
use super::destination::{Miss, target, unrouted};
use super::discovery;
use super::fault;
use super::stand_in;
use super::switching;
use super::tail::Held;
use super::worker::Outbound;
use crate::agent::session::Want;
use crate::http::gate::Refusal;
use crate::http::headers::{self, REASON, Seen};
use crate::http::patience::Patience;
use crate::http::respond::{Failure, Shape, respond, without_body};
use crate::http::tail::ResponseTail;
use crate::http::{Aborted, Body, Tail, classify};
use crate::model::{Direction, Reason};
use crate::runtime::rehearsal::{self, At};
use crate::runtime::{Phase, clock};
use crate::serve::ledger::UnderWay;
use crate::telemetry::exchange::Exchange;
use crate::telemetry::traffic::Spoken;

/// Serves one request.
pub fn serve(
    worker: &Rc<Outbound>,
    conn: &Rc<Conn>,
    request: Request<Body>,
) -> Pin<Box<impl Future<Output = Result<Response<Body>, Aborted>> + use<>>> {
    rehearsal::pass(At::OutboundRequest);
    let seen = Seen::scan(request.headers());
    let grpc = seen.has(Seen::CONTENT_TYPE) && classify::is_grpc(request.headers());
    let (spoken, shape) =
        if grpc { (Spoken::Grpc, Shape::Grpc) } else { (conn.spoken, Shape::Http) };
    let exchange =
        Exchange::begin(&worker.sinks, Direction::Outbound, spoken, "none", clock::now_us);
    if conn.gate.refuses_next() {
        exchange.join(None);
    } else {
        let began = clock::wall_at(exchange.started_us);
        exchange.note(&request, seen.has(Seen::TRACE), began, &[]);
    }
    let is_head = request.method() == Method::HEAD;
    let begun = begin(worker, conn, &exchange, request, seen);
    let (worker, conn) = (Rc::clone(worker), Rc::clone(conn));
    // Boxed here, so that the connection moves a pointer where it would move kilobytes.
    Box::pin(async move {
        let admitted = match begun {
            Begun::Decided(admitted) => admitted,
            Begun::Unanswered(held) => {
                let (want, request) = *held;
                // Who cuts the connection meanwhile cuts this.
                let waiting = UnderWay::begin(&conn.tunnels.entry, &exchange);
                let answered = discovery::answered(&worker, &want).await;
                drop(waiting);
                match answered {
                    Ok(()) => admit_answered(&worker, &conn, &exchange, request, seen),
                    Err(failure) => Err(failure),
                }
            }
        };
        let answered = match admitted {
            Ok(Admitted::Call(call)) => forward(&worker, &conn, &exchange, call).await,
            Ok(Admitted::Answer(answer)) => Ok(answer),
            Err(failure) => Err(failure),
        };
        let mut response = match answered {
            Ok(response) => response,
            Err(failure) => refuse(&worker, &conn, &exchange, failure, shape)?,
        };
        if is_head {
            without_body(&mut response);
        }
        Ok(leave(&worker, &conn, response))
    })
}

/// A request that was looked at.
enum Begun {
    Decided(Result<Admitted, Failure>),
    /// It goes to something that nobody has spoken of yet.
    Unanswered(Box<(Want, Request<Body>)>),
}

/// Looks at a request; nothing of it waits.
fn begin(
    worker: &Rc<Outbound>,
    conn: &Conn,
    exchange: &Rc<Exchange>,
    request: Request<Body>,
    seen: Seen,
) -> Begun {
    let (mut parts, body) = request.into_parts();
    let resolved = check(conn, &mut parts, seen)
        .map_err(Miss::Refused)
        .and_then(|()| target(worker, conn, &parts));
    match resolved {
        Ok(resolved) => Begun::Decided(admit(worker, conn, exchange, parts, body, seen, resolved)),
        Err(Miss::Refused(failure)) => Begun::Decided(Err(failure)),
        Err(Miss::Unanswered(want)) => {
            Begun::Unanswered(Box::new((want, Request::from_parts(parts, body))))
        }
    }
}

/// A request that waited for the answer.
fn admit_answered(
    worker: &Rc<Outbound>,
    conn: &Conn,
    exchange: &Rc<Exchange>,
    request: Request<Body>,
    seen: Seen,
) -> Result<Admitted, Failure> {
    let (parts, body) = request.into_parts();
    match target(worker, conn, &parts) {
        Ok(resolved) => admit(worker, conn, exchange, parts, body, seen, resolved),
        Err(Miss::Refused(failure)) => Err(failure),
        Err(Miss::Unanswered(_)) => Err(Failure::plain(Reason::NotReady)),
    }
}

/// What the guard, or the rules of HTTP/2, found wrong.
fn check(conn: &Conn, parts: &mut Parts, seen: Seen) -> Result<(), Failure> {
    if conn.spoken == Spoken::Http1 {
        return conn.gate.next_request().map_or(Ok(()), |refusal| Err(refusal.failure()));
    }
    headers::bound_http2(parts, 0).map_err(|why| Failure::new(Reason::HeadersTooLarge, why))?;
    headers::check_http2(parts, seen).map_err(|why| Failure::new(Reason::BadRequest, why))
}

/// Sends the request, and makes the answer the caller's.
async fn forward(
    worker: &Rc<Outbound>,
    conn: &Rc<Conn>,
    exchange: &Rc<Exchange>,
    mut call: Box<Call>,
) -> Result<Response<Body>, Failure> {
    if call.plan.delay.is_some() || call.plan.abort.is_some() {
        Box::pin(inject(&call)).await?;
    }
    if call.switch.is_some() {
        return Box::pin(switching::switching(worker, conn, exchange, *call)).await;
    }
    let attempted = send(worker, exchange, &mut call).await;
    let answered = if call.rule().fallback.is_some() && stand_in::is_needed(&attempted) {
        let stood_in = stand_in::answer(worker, exchange, &mut call, attempted);
        match Box::pin(stood_in).await? {
            stand_in::Stood::Answered(answered) => answered,
            stand_in::Stood::Fixed(mut response) => {
                change_answer(&call, response.headers_mut());
                return Ok(response);
            }
        }
    } else {
        attempted?
    };
    if answered.response.status() == StatusCode::SWITCHING_PROTOCOLS {
        let sentence = "the app switched protocols without being asked";
        return Err(Failure::new(Reason::UpstreamProtocolError, sentence));
    }
    Ok(answer(worker, conn, exchange, *call, answered))
}

/// Failures on purpose: waits, then goes on or not.
async fn inject(call: &Call) -> Result<(), Failure> {
    if let Some(delay) = call.plan.delay {
        match call.plan.until {
            None => sleep(delay).await,
            Some((until, reason)) => {
                tokio::select! {
                    () = sleep(delay) => {}
                    () = sleep_until(until) => return Err(Failure::plain(reason)),
                }
            }
        }
    }
    call.plan.abort.map_or(Ok(()), |abort| Err(fault::failure(abort)))
}

/// Takes a place, where that was left for now, and attempts.
async fn send(
    worker: &Outbound,
    exchange: &Exchange,
    call: &mut Call,
) -> Result<Answered, Failure> {
    let Some(backend) = call.backend().map(Arc::clone) else {
        let rule = call.rule();
        return Err(call.taker().map_or_else(|| rule.no_backend(), |taker| rule.no_service(taker)));
    };
    if call.place.is_none() {
        call.place = Some(backend.admit()?);
    }
    attempts(worker, exchange, call, &backend).await
}

/// Turns the upstream's answer into the caller's.
pub fn answer(
    worker: &Rc<Outbound>,
    conn: &Conn,
    exchange: &Rc<Exchange>,
    call: Call,
    answered: Answered,
) -> Response<Body> {
    call.body.settle();
    let Answered { response, seen, via, trial, took_us, unsettled, until, .. } = answered;
    let (mut parts, body) = response.into_parts();
    exchange.status.set(parts.status.as_u16());
    exchange.upstream_us.set(Some(took_us));
    let meshed = trial.backend.meshes(&trial.endpoint);
    clean_answer(exchange, &mut parts.headers, seen, meshed);
    change_answer(&call, &mut parts.headers);
    parts.version = if conn.spoken == Spoken::Http2 { Version::HTTP_2 } else { Version::HTTP_11 };
    let patience = Patience::new(call.policy().timeouts.idle).until(until);
    let held = Held::new(worker, exchange, trial, unsettled, took_us, call.place, call.under_way);
    let mut tail = ResponseTail::new(exchange, via, patience, held);
    if body.is_empty() {
        tail.end(None);
        return Response::from_parts(parts, body);
    }
    Response::from_parts(parts, body.with_tail(Box::new(tail)))
}

/// Removes what concerned the upstream connection, and takes in what the headers tell.
pub fn clean_answer(exchange: &Exchange, headers: &mut http::HeaderMap, seen: Seen, meshed: bool) {
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

/// What the rule, its backend and the balancer change in an answer.
pub fn change_answer(call: &Call, headers: &mut http::HeaderMap) {
    if let Some(taker) = call.taker() {
        taker.filters.response(headers, None);
    }
    call.rule().filters.response(headers, call.plan.cors.as_ref());
    if let Some(cookie) = &call.plan.cookie {
        headers.append(header::SET_COOKIE, cookie.clone());
    }
}

/// What every answer needs that leaves on an HTTP/1 connection.
fn leave(worker: &Outbound, conn: &Conn, mut response: Response<Body>) -> Response<Body> {
    let may_close = conn.spoken == Spoken::Http1 && !response.status().is_informational();
    if may_close && worker.doorway.phase() > Phase::Serving {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// The proxy's own answer, or none at all.
fn refuse(
    worker: &Outbound,
    conn: &Conn,
    exchange: &Exchange,
    failure: Failure,
    shape: Shape,
) -> Result<Response<Body>, Aborted> {
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
    let service = exchange.meter().map_or("", |meter| &*meter.service);
    let (client, reason) = (conn.client, failure.reason);
    worker.failures.tell("request refused", service, client, reason, failure.sentence());
    if failure.reset {
        exchange.status.set(http::StatusCode::SERVICE_UNAVAILABLE.as_u16());
        exchange.say(failure.into_sentence());
        conn.gate.abort();
        return Err(Aborted);
    }
    let response = respond(&failure, shape);
    exchange.say(failure.into_sentence());
    exchange.status.set(response.status().as_u16());
    exchange.grpc.set(classify::grpc_status(response.headers()));
    Ok(response)
}
