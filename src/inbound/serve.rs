//! The way of an inbound request, top to bottom.
//!
//! Check, watch the deadline, decide on access, take from the limits, prepare, forward to the app. Each step either goes
//! on or ends in a [`Failure`], which becomes the caller's answer.

use std::convert::Infallible;
use std::pin::Pin;
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use http::header::{self, HeaderValue};
use http::request::Parts;
use http::{Method, Request, Response, StatusCode, Version};
use http_body::Body as _;
use tokio::time::timeout;

use super::connection::Conn;
use super::entry::{Come, Entered, enter, patiently};
use super::judge::Admitted;
use super::limits;
use super::stream;
use super::worker::Inbound;
use crate::access::tokens::Intake;
use crate::access::{Credentials, Permit};
use crate::dial::{DialError, Missed, Via};
use crate::http::gate::Refusal;
use crate::http::headers::{self, PEER, REASON, Seen};
use crate::http::patience::Patience;
use crate::http::respond::{Failure, Shape, respond, without_body};
use crate::http::switch::{self, Switch};
use crate::http::tail::{RequestTail, ResponseTail};
use crate::http::{Body, Tail, carriage, classify, deadline};
use crate::limit::load::Ticket;
use crate::limit::rate::Quota;
use crate::model::{Direction, Reason};
use crate::retry::Failed;
use crate::runtime::rehearsal::{self, At};
use crate::runtime::{Phase, clock};
use crate::serve::ledger::UnderWay;
use crate::telemetry::exchange::Exchange;
use crate::telemetry::traffic::Spoken;
use crate::tls::Proof;

/// A request that may go to the app. Boxed, so that the futures that pass it on stay small.
pub(super) struct Call {
    permit: Permit,
    credentials: Credentials,
    parts: Parts,
    seen: Seen,
    body: Body,
    under_way: UnderWay,
    switch: Option<Switch>,
    deadline: Option<Duration>,
}

/// Serves one request.
pub fn serve(
    worker: &Rc<Inbound>,
    conn: &Rc<Conn>,
    request: Request<Body>,
) -> Pin<Box<impl Future<Output = Result<Response<Body>, Infallible>> + use<>>> {
    rehearsal::pass(At::InboundRequest);
    let seen = Seen::scan(request.headers());
    let grpc = seen.has(Seen::CONTENT_TYPE) && classify::is_grpc(request.headers());
    let (spoken, shape) =
        if grpc { (Spoken::Grpc, Shape::Grpc) } else { (conn.spoken, Shape::Http) };
    let secured = conn.caller.secured();
    let exchange =
        Exchange::begin(&worker.sinks, Direction::Inbound, spoken, secured, clock::now_us);
    exchange.set_meter(Rc::clone(&conn.caller.meter));
    exchange.peer.replace(conn.caller.peer.as_ref().map(|peer| peer.id.clone()));
    exchange.client.set(Some(conn.caller.client));
    if conn.gate.refuses_next() {
        exchange.join(None);
    } else {
        let newest = worker.shared.access.newest();
        let intake = newest.at(conn.caller.port.number()).intake();
        let secrets = intake.map_or(&[][..], Intake::queries);
        let began = clock::wall_at(exchange.started_us);
        exchange.note(&request, seen.has(Seen::TRACE), began, secrets);
    }
    let is_head = request.method() == Method::HEAD;
    let mut quota = None;
    let entered = enter(worker, conn, &exchange, request, seen, &mut quota);
    let (worker, conn) = (Rc::clone(worker), Rc::clone(conn));
    // Boxed here, so that the connection moves a pointer where it would move kilobytes.
    Box::pin(async move {
        let admitted = match entered {
            Entered::Judged(admitted) => admitted,
            Entered::Waits(come) => {
                Box::pin(patiently(&worker, &conn, &exchange, come, &mut quota)).await
            }
        };
        let answered = match admitted {
            Ok(call) => forward(&worker, &conn, &exchange, call).await,
            Err(failure) => Err(failure),
        };
        let mut response = answered.unwrap_or_else(|f| refuse(&worker, &conn, &exchange, f, shape));
        if let Some(quota) = quota {
            quota.write(response.headers_mut());
        }
        if is_head {
            without_body(&mut response);
        }
        Ok(leave(&worker, &conn, response))
    })
}

/// Makes what was let in ready for the app.
pub(super) fn admit(
    worker: &Inbound,
    conn: &Conn,
    exchange: &Rc<Exchange>,
    Come { mut parts, body, seen, deadline }: Come,
    admitted: Admitted,
    quota: &mut Option<Quota>,
) -> Result<Box<Call>, Failure> {
    limits::rate(worker, &conn.caller, &admitted.credentials, &parts, quota)?;
    let upgrade = prepare(worker, conn, exchange, &mut parts, seen, &admitted);
    let Admitted { permit, credentials, cleared: _ } = admitted;
    let switch = switch::asked(&parts, upgrade);
    let is_stream = parts.version == Version::HTTP_2;
    if switch.is_some() && !is_stream && !body.is_end_stream() {
        let sentence = "a request that asks to leave HTTP may not have a body";
        return Err(Failure::new(Reason::BadRequest, sentence).closing());
    }
    let body = if switch.is_some() { body } else { request_body(conn, exchange, body) };
    let under_way = UnderWay::begin(&conn.tunnels.entry, exchange);
    Ok(Box::new(Call { permit, credentials, parts, seen, body, under_way, switch, deadline }))
}

/// Forwards within the caller's deadline.
async fn forward(
    worker: &Rc<Inbound>,
    conn: &Rc<Conn>,
    exchange: &Rc<Exchange>,
    mut call: Box<Call>,
) -> Result<Response<Body>, Failure> {
    if let Some(switch) = call.switch {
        let Call { permit, credentials, parts, body, under_way, .. } = *call;
        // Until the app has answered: a tunnel lasts as long as people talk.
        let _place = limits::place(worker, &conn.caller, &parts).await?;
        let shown = (permit, credentials);
        let asked = Request::from_parts(parts, body);
        let switching = stream::switching(worker, conn, exchange, shown, asked, &switch, under_way);
        return Box::pin(switching).await;
    }
    let Some(left) = call.deadline else {
        return to_app(worker, conn, exchange, call).await;
    };
    let spent = Duration::from_micros(clock::now_us().saturating_sub(exchange.started_us));
    let left = left.saturating_sub(spent);
    deadline::write(&mut call.parts.headers, call.seen, left);
    timeout(left, Box::pin(to_app(worker, conn, exchange, call)))
        .await
        .unwrap_or_else(|_| Err(Failure::plain(Reason::DeadlinePassed)))
}

/// What every answer needs that leaves on an HTTP/1 connection.
fn leave(worker: &Inbound, conn: &Conn, mut response: Response<Body>) -> Response<Body> {
    let may_close = conn.spoken == Spoken::Http1 && !response.status().is_informational();
    if may_close && is_leaving(worker, conn) {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// The process drains, or what the peer was proven by has ended: the connection goes with this
/// answer.
fn is_leaving(worker: &Inbound, conn: &Conn) -> bool {
    let has_ended = |proof: &Rc<Proof>| proof.ends <= SystemTime::now();
    worker.doorway.phase() > Phase::Serving
        || conn.is_old.get()
        || conn.caller.proof.as_ref().is_some_and(has_ended)
}

/// What the guard, or the rules of HTTP/2, found wrong.
pub(super) fn check(conn: &Conn, parts: &mut Parts, seen: Seen) -> Result<(), Failure> {
    if conn.spoken == Spoken::Http1 {
        return conn.gate.next_request().map_or(Ok(()), |refusal| Err(refusal.failure()));
    }
    let added = if conn.caller.peer.is_some() { headers::ADDED } else { 0 };
    headers::bound_http2(parts, added).map_err(|why| Failure::new(Reason::HeadersTooLarge, why))?;
    headers::check_http2(parts, seen).map_err(|why| Failure::new(Reason::BadRequest, why))
}

/// Cleans the head, says who called and what tokens say of it, and carries request id and trace
/// context on. Returns the protocol of an Upgrade.
fn prepare(
    worker: &Inbound,
    conn: &Conn,
    exchange: &Exchange,
    parts: &mut Parts,
    seen: Seen,
    admitted: &Admitted,
) -> Option<HeaderValue> {
    let upgrade = headers::strip_hop_by_hop(&mut parts.headers, seen);
    if let Some(cleared) = &admitted.cleared {
        admitted.credentials.dress(cleared, &mut parts.headers);
    }
    match &conn.caller.peer_header {
        Some(peer) => {
            parts.headers.insert(PEER, peer.clone());
        }
        None if seen.has(Seen::PEER) => {
            parts.headers.remove(PEER);
        }
        None => {}
    }
    if seen.has(Seen::ALIAS) {
        headers::strip_aliases(&mut parts.headers);
    }
    if seen.has(Seen::EXPECT) {
        parts.headers.remove(header::EXPECT);
    }
    let mut rng = worker.rng.borrow_mut();
    let now = clock::wall_at(exchange.started_us);
    exchange.identify(&mut parts.headers, now, &mut || rng.next_u64());
    exchange.carry(&mut parts.headers);
    upgrade
}

fn request_body(conn: &Conn, exchange: &Rc<Exchange>, body: Body) -> Body {
    if body.is_empty() {
        return body;
    }
    let patience = Patience::new(conn.caller.idle());
    body.with_tail(Box::new(RequestTail { exchange: Rc::clone(exchange), patience }))
}

/// Forwards to the app, in the version that the caller spoke or the port declares.
async fn to_app(
    worker: &Inbound,
    conn: &Conn,
    exchange: &Rc<Exchange>,
    call: Box<Call>,
) -> Result<Response<Body>, Failure> {
    let Call { permit: _permit, mut parts, seen, body, under_way, .. } = *call;
    let port = &conn.caller.port;
    let place = limits::place(worker, &conn.caller, &parts).await?;
    let safe = classify::is_idempotent(&parts.method);
    exchange.attempts.set(1);
    exchange.endpoint.set(Some(port.app.address));
    let came_as = parts.version;
    let trusted = conn.caller.peer.is_some();
    let restored = carriage::restored(&mut parts.headers, seen, came_as, port.protocol, trusted);
    let pool = worker.dialer.pool(port.app.slot);
    let far = port.far(conn.spoken == Spoken::Http1);
    let begun_us = if place.is_some() { clock::now_us() } else { exchange.started_us };
    exchange.try_at(port.app.address, begun_us, None);
    let sent = if restored.version == Version::HTTP_2 {
        carriage::to_http2(&mut parts, &port.authority, false)
            .map_err(|why| Failure::new(Reason::BadRequest, why))?;
        worker.dialer.http2(&pool, far, Request::from_parts(parts, body), begun_us, None).await
    } else {
        carriage::to_http1(&mut parts, restored);
        let spare = (safe && body.is_empty()).then(|| headers::copy(&parts));
        let again = || spare.map(|parts| Request::from_parts(parts, Body::empty()));
        let request = Request::from_parts(parts, body);
        worker.dialer.http1(&pool, far, request, safe, again, begun_us, None).await
    };
    let sent = sent.map_err(|missed| explain(conn, missed));
    let now_us = clock::now_us();
    match &sent {
        Ok((response, _)) => exchange.attempted(1, now_us, response.status().as_u16(), None),
        Err(failure) => exchange.attempted(1, now_us, 0, Some(failure.reason)),
    }
    let (response, via) = sent?;
    exchange.upstream_us.set(Some(now_us - begun_us));
    // An app that fails fast would make its sound answers look slow.
    if let Some(place) = place.as_ref().filter(|_| !response.status().is_server_error()) {
        place.answered(now_us);
    }
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        let sentence = "the app switched protocols without being asked";
        return Err(Failure::new(Reason::UpstreamProtocolError, sentence));
    }
    Ok(answer(conn, exchange, response, via, (under_way, place)))
}

/// What is said of an app that did not answer.
pub fn explain(conn: &Conn, missed: Missed) -> Failure {
    let port = &conn.caller.port;
    match missed {
        Missed::Dial(DialError::Connect(error)) => Failure::new(
            Reason::ConnectFailure,
            format!("the app of {} could not be reached: {error}", port.label),
        ),
        Missed::Dial(error) => Failure::new(
            error.reason(),
            format!("the app of {} could not be reached: {error}", port.label),
        ),
        // The caller's sidecar may ask another for what this one surely has not begun.
        Missed::Send(error) if error.failed == Failed::Refused => Failure::new(
            Reason::ConnectFailure,
            format!("the app of {} did not take the request: {}", port.label, error.sentence),
        ),
        Missed::Send(error) => Failure::new(
            error.reason,
            format!("the app of {} did not answer: {}", port.label, error.sentence),
        ),
    }
}

/// Turns the app's answer into the caller's.
pub fn answer(
    conn: &Conn,
    exchange: &Rc<Exchange>,
    response: Response<Body>,
    via: Via,
    held: (UnderWay, Option<Ticket>),
) -> Response<Body> {
    let (mut parts, body) = response.into_parts();
    exchange.status.set(parts.status.as_u16());
    clean_answer(exchange, &mut parts.headers);
    parts.version = if conn.spoken == Spoken::Http2 { Version::HTTP_2 } else { Version::HTTP_11 };
    let patience = Patience::new(conn.caller.idle());
    let mut tail = ResponseTail::new(exchange, via, patience, held);
    if body.is_empty() {
        tail.end(None);
        return Response::from_parts(parts, body);
    }
    Response::from_parts(parts, body.with_tail(Box::new(tail)))
}

/// Removes what concerned the app's connection, and what only sidecars may say.
pub fn clean_answer(exchange: &Exchange, headers: &mut http::HeaderMap) {
    let seen = Seen::scan(headers);
    headers::strip_hop_by_hop(headers, seen);
    if seen.has(Seen::REASON) {
        headers.remove(REASON);
    }
    if seen.has(Seen::GRPC_STATUS) {
        exchange.grpc.set(classify::grpc_status(headers));
    }
}

/// The proxy's own answer.
fn refuse(
    worker: &Inbound,
    conn: &Conn,
    exchange: &Exchange,
    failure: Failure,
    shape: Shape,
) -> Response<Body> {
    let failure = match (conn.gate.body_violation(), exchange.reason.get()) {
        (Some(violation), _) => Refusal::Violation(violation).failure(),
        // The body broke first, and took the forwarding with it.
        (None, Some(Reason::BodyTimeout)) => Failure::plain(Reason::BodyTimeout).closing(),
        _ => failure,
    };
    exchange.blame(failure.reason);
    let response = respond(&failure, shape);
    exchange.status.set(response.status().as_u16());
    exchange.grpc.set(classify::grpc_status(response.headers()));
    let (caller, reason) = (&conn.caller, failure.reason);
    let (service, client) = (&caller.port.label, caller.client);
    worker.failures.tell("request refused", service, client, reason, failure.sentence());
    exchange.say(failure.into_sentence());
    response
}
