//! Opaque bytes inbound: TCP ports, TLS of the app's own, tunnels.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use bytes::Bytes;
use http::{Request, Response};
use tokio::net::TcpStream;
use tracing::debug;

use super::caller::Caller;
use super::connection::Conn;
use super::judge;
use super::port::AppPort;
use super::serve::{answer, clean_answer, explain};
use super::worker::Inbound;
use crate::access::{self, Credentials, Permit};
use crate::dial::{Stream, Switched, Via};
use crate::http::Body;
use crate::http::headers::CARRIED_HTTP;
use crate::http::respond::{Failure, chain};
use crate::http::switch::{self, Switch};
use crate::model::{Direction, Reason};
use crate::runtime::rehearsal::{self, At};
use crate::runtime::{Open, Phase, clock, socket};
use crate::serve::ledger::{Entry, Speaks, UnderWay};
use crate::serve::trust::Trust;
use crate::serve::tunnel::{Tunnel, Until};
use crate::serve::{Near, hear};
use crate::tcp::End;
use crate::telemetry::exchange::Exchange;
use crate::telemetry::exchange::roster::Seat;
use crate::telemetry::traffic::Spoken;
use crate::tls::{OverSocket, relay_until};

/// Connects to the app.
///
/// # Errors
/// [`Reason::ConnectFailure`], with what the system said.
pub async fn dial(worker: &Inbound, caller: &Caller) -> Result<Stream, Failure> {
    let port = &caller.port;
    worker.dialer.tcp(port.far(false)).await.map_err(|error| {
        let sentence = format!("the app of {} could not be reached: {error}", port.label);
        Failure::new(error.reason(), sentence)
    })
}

/// Shows the caller a reset, and says in the log and the metrics why.
pub fn refuse(worker: &Inbound, caller: &Caller, failure: &Failure, near: &Near) {
    note_refused(worker, caller, "connection refused", failure.reason, failure.sentence());
    socket::reset_on_close(near.socket());
}

/// Says in the log and the metrics why a caller was not let in.
pub fn note_refused(worker: &Inbound, caller: &Caller, what: &str, reason: Reason, sentence: &str) {
    let exchange = record(worker, caller);
    exchange.blame(reason);
    exchange.say(sentence.to_owned().into());
    worker.failures.tell(what, &caller.port.label, caller.client, reason, sentence);
}

/// The same of one on which nothing began that could be understood.
pub fn note_late(worker: &Inbound, caller: &Caller) {
    let why = "nothing that could be understood began within 10 s";
    note_refused(worker, caller, "connection closed", Reason::HeaderTimeout, why);
}

/// The same of a connection that was going to no port of the app.
pub fn note_stray(worker: &Inbound, client: SocketAddr, reason: Reason, sentence: &str) {
    let sinks = &worker.sinks;
    let exchange = Exchange::begin(sinks, Direction::Inbound, Spoken::Tcp, "none", clock::now_us);
    let meter = worker.stray_meter();
    worker.failures.tell("connection refused", &meter.service, client, reason, sentence);
    exchange.client.set(Some(client));
    exchange.join(None);
    exchange.set_meter(meter);
    exchange.blame(reason);
    exchange.say(sentence.to_owned().into());
}

/// Listens for as long as nobody need speak and the caller may stay. Whoever may not come in at all
/// is told so in what it speaks, and so is everybody in HTTP.
///
/// # Errors
/// Why the silence is over.
pub async fn patiently<T>(
    worker: &Inbound,
    caller: &Caller,
    entry: &Entry,
    open: &Open,
    listening: impl Future<Output = T>,
) -> Result<T, Reason> {
    let (access, held) = (&worker.shared.access, caller.held_stream());
    let is_let_in = !caller.port.protocol.is_http() && worker.admits_stream(caller);
    let trust = trust(worker, caller, entry);
    tokio::select! {
        biased;
        _ = access.withdrawn(&held), if is_let_in => Err(Reason::PermissionWithdrawn),
        reason = trust.is_over(open, &entry.bytes) => Err(reason),
        heard = hear::patiently(open, caller.idle(), listening) => heard,
    }
}

/// Ends a connection on which nobody has spoken yet.
pub fn give_up(worker: &Inbound, caller: &Caller, reason: Reason, near: &TcpStream) {
    record(worker, caller).blame(reason);
    debug!(client = %caller.client, %reason, "a connection ended before anybody spoke");
    if reason != Reason::IdleTimeout {
        socket::reset_on_close(near);
    }
}

fn record(worker: &Inbound, caller: &Caller) -> Rc<Exchange> {
    let (sinks, secured) = (&worker.sinks, caller.secured());
    let exchange = Exchange::begin(sinks, Direction::Inbound, Spoken::Tcp, secured, clock::now_us);
    exchange.set_meter(Rc::clone(&caller.meter));
    exchange.peer.replace(caller.peer.as_ref().map(|peer| peer.id.clone()));
    exchange.client.set(Some(caller.client));
    exchange.join(None);
    exchange
}

/// Relays an opaque stream to its end, if it may come in.
///
/// # Errors
/// None that the caller has not been shown.
pub async fn opaque(
    worker: &Inbound,
    caller: Caller,
    near: Near,
    far: Option<(Stream, std::io::Result<Bytes>)>,
    entry: Entry,
    open: Open,
) -> std::io::Result<()> {
    entry.set_speaks(Speaks::Tcp);
    rehearsal::pass(At::InboundStream);
    let (_permit, note): (Permit, _) = match judge::stream(worker, &caller) {
        Ok(admitted) => admitted,
        Err(failure) => {
            refuse(worker, &caller, &failure, &near);
            return Ok(());
        }
    };
    let dialled = match far {
        Some(far) => Ok(far),
        None => dial(worker, &caller).await.map(|far| (far, Ok(Bytes::new()))),
    };
    let (mut far, first) = match dialled {
        Ok(far) => far,
        Err(failure) => {
            refuse(worker, &caller, &failure, &near);
            return Ok(());
        }
    };
    let (total, active) =
        worker.shared.metrics.connection(Direction::Inbound, "tcp", caller.secured());
    total.inc();
    active.inc();
    let exchange = record(worker, &caller);
    note.into_iter().for_each(|note| exchange.keep_out(note));
    exchange.attempts.set(1);
    exchange.endpoint.set(Some(caller.port.app.address));
    let _seat = Seat::lasting(&exchange, entry.whole());
    let idle = Some(caller.idle());
    let trust = trust(worker, &caller, &entry);
    let held = caller.held_stream();
    let until = async {
        tokio::select! {
            reason = judge::withdrawn(worker, &caller.port, &held, &exchange) => reason,
            reason = trust.is_over(&open, &entry.bytes) => reason,
            () = open.reached(Phase::Closing) => Reason::DrainDeadline,
        }
    };
    let end = relay_until(near, &mut far, first, &entry.bytes, idle, until).await;
    note_end(&exchange, &entry, &end);
    active.dec();
    Ok(())
}

fn trust(worker: &Inbound, caller: &Caller, entry: &Entry) -> Trust {
    let newest = Arc::clone(&worker.shared.credentials);
    Trust { proof: caller.proof.clone(), newest, at: entry.client.port() }
}

fn note_end(exchange: &Exchange, entry: &Entry, end: &Result<End, Reason>) {
    let client = entry.client;
    let reason = match end {
        Ok(end) => end.reason(),
        Err(reason) => {
            debug!(%client, %reason, "opaque connection closed");
            Some(*reason)
        }
    };
    if let Ok(End::A(fault) | End::B(fault)) = end {
        debug!(%client, error = %chain(fault), "opaque connection broke");
    }
    let bytes = &entry.bytes;
    exchange.end_stream(bytes.a_to_b.load(Relaxed), bytes.b_to_a.load(Relaxed), reason);
}

/// Sends a request that asks to leave HTTP, and keeps the far side of the tunnel if it may.
///
/// # Errors
/// The app could not be reached, or did not answer.
pub async fn switching(
    worker: &Rc<Inbound>,
    conn: &Rc<Conn>,
    exchange: &Rc<Exchange>,
    (_permit, shown): (Permit, Credentials),
    request: Request<Body>,
    switch: &Switch,
    under_way: UnderWay,
) -> Result<Response<Body>, Failure> {
    let (mut parts, body) = request.into_parts();
    let near = (conn.spoken == Spoken::Http2).then(|| (body, worker.doorway.enter()));
    let key = {
        let mut rng = worker.rng.borrow_mut();
        (u128::from(rng.next_u64()) << 64 | u128::from(rng.next_u64())).to_be_bytes()
    };
    parts.headers.remove(CARRIED_HTTP);
    switch::write_request(&mut parts, switch, key);
    let port = &conn.caller.port;
    exchange.attempts.set(1);
    exchange.endpoint.set(Some(port.app.address));
    let begun_us = exchange.started_us;
    exchange.try_at(port.app.address, begun_us, None);
    let held = conn.caller.held_request(&parts, shown);
    let request = Request::from_parts(parts, Body::empty());
    let sent = worker.dialer.switching(port.far(true), request, switch, None).await;
    let sent = sent.map_err(|missed| explain(conn, missed));
    let (status, reason) = match &sent {
        Ok(switched) => (switched.status().as_u16(), None),
        Err(failure) => (0, Some(failure.reason)),
    };
    let now_us = clock::now_us();
    exchange.attempted(1, now_us, status, reason);
    let switched = sent?;
    exchange.upstream_us.set(Some(now_us - begun_us));
    let (head, tunnel) = match switched {
        // It is an answer like any other.
        Switched::Refused(response) => {
            return Ok(answer(conn, exchange, response, Via::Alone(begun_us), (under_way, None)));
        }
        Switched::Granted(head, tunnel) => (head, tunnel),
    };
    let (mut head, ()) = head.into_parts();
    exchange.status.set(head.status.as_u16());
    let protocol = head.headers.get(http::header::UPGRADE).cloned();
    clean_answer(exchange, &mut head.headers);
    switch::write_granted(&mut head.headers, &mut head.status, switch, protocol);
    head.extensions.clear();
    let tunnel = Tunnel {
        far: tunnel,
        idle: conn.caller.idle(),
        exchange: Rc::clone(exchange),
        held: Box::new(()),
        until: withdrawn(worker, &conn.caller.port, exchange, held),
        trust: trust(worker, &conn.caller, &conn.tunnels.entry),
    };
    Ok(Response::from_parts(head, conn.tunnels.open(near, tunnel)))
}

/// When whoever holds a tunnel may no longer ask for it.
fn withdrawn(
    worker: &Rc<Inbound>,
    port: &Arc<AppPort>,
    exchange: &Rc<Exchange>,
    held: access::Held,
) -> Until {
    let (worker, port, exchange) = (Rc::clone(worker), Arc::clone(port), Rc::clone(exchange));
    Box::pin(async move { judge::withdrawn(&worker, &port, &held, &exchange).await })
}
