//! Opaque bytes outbound: TCP services, tunnels, destinations that the mesh does not know.

use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use http::{Request, Response};
use hyper::upgrade::OnUpgrade;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tracing::{debug, warn};

use super::attempt::{self, choose, far, not_dialled};
use super::connection::Conn;
use super::serve::clean_answer;
use super::trial::Trial;
use super::worker::{Outbound, Resolved};
use crate::circuit::Verdict;
use crate::dial::{Stream, Switched};
use crate::http::Body;
use crate::http::respond::{Failure, chain};
use crate::http::switch::{self, Switch};
use crate::limit::{ConnectionTicket, RequestTicket};
use crate::model::{Direction, Reason};
use crate::runtime::{Open, Phase, clock, socket};
use crate::serve::Near;
use crate::serve::ledger::{Entry, Speaks};
use crate::tcp::End;
use crate::telemetry::exchange::Exchange;
use crate::telemetry::traffic::Spoken;
use crate::tls::{OverSocket, relay};

/// A connection that lived this long was not refused.
const SETTLED: Duration = Duration::from_secs(1);

/// A dialled endpoint for opaque bytes.
pub struct FarEnd {
    stream: Stream,
    trial: Trial,
    _place: ConnectionTicket,
}

impl AsyncRead for FarEnd {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

/// An opaque connection, as far as it is known.
pub struct Opaque {
    pub near: Near,
    pub resolved: Option<Rc<Resolved>>,
    pub far: Option<FarEnd>,
    /// What the far side said first.
    pub first: Bytes,
}

impl Opaque {
    pub fn new(near: Near, resolved: Option<Rc<Resolved>>) -> Self {
        Self { near, resolved, far: None, first: Bytes::new() }
    }
}

/// Connects to an endpoint of the service; another one where the first can't be reached, since
/// nothing was sent.
pub async fn dial(worker: &Outbound, resolved: &Resolved) -> Result<FarEnd, Failure> {
    let target = &resolved.target;
    let place = target.bulkhead.try_connect().map_err(Failure::plain)?;
    let (mut tried, mut last) = (Vec::new(), None);
    for _ in 0..=target.service.policy.retry.max_retries {
        let mut trial = match choose(worker, target, &tried, clock::now_us()) {
            Ok(trial) => trial,
            Err(failure) => return Err(last.unwrap_or(failure)),
        };
        match worker.dialer.tcp(far(target, &trial.endpoint)).await {
            Ok(stream) => {
                return Ok(FarEnd { stream, trial, _place: place });
            }
            Err(error) => {
                trial.settle(worker, Verdict::Failure, clock::now_us());
                last = Some(not_dialled(target, &trial.endpoint, &error).1);
                tried.push(trial.endpoint.slot);
            }
        }
    }
    Err(last.unwrap_or_else(|| Failure::plain(Reason::ConnectFailure)))
}

/// Shows the client a reset, and says in the log and the metrics why.
pub fn refuse(worker: &Outbound, resolved: &Resolved, failure: Failure, stream: &TcpStream) {
    let exchange = record(worker, resolved);
    exchange.blame(failure.reason);
    warn!(reason = %failure.reason, service = %resolved.target.label, "connection refused: {}", failure.sentence());
    socket::reset_on_close(stream);
}

fn record(worker: &Outbound, resolved: &Resolved) -> Rc<Exchange> {
    let exchange =
        Exchange::begin(&worker.sinks, Direction::Outbound, Spoken::Tcp, "none", clock::now_us);
    if let Some(meter) = resolved.meters.first() {
        exchange.set_meter(Rc::clone(meter));
    }
    exchange
}

/// Relays an opaque connection to its end.
///
/// # Errors
/// None that the client has not been shown; the type is the caller's.
pub async fn opaque(
    worker: &Outbound,
    opaque: Opaque,
    entry: &Entry,
    open: Open,
) -> std::io::Result<()> {
    let Opaque { near, resolved, far, first } = opaque;
    entry.set_speaks(Speaks::Tcp);
    let Some(resolved) = resolved else {
        warn!(client = %entry.client, reason = %Reason::NoRoute, "connection refused: the mesh has no such service");
        socket::reset_on_close(near.socket());
        return Ok(());
    };
    let dialled = match far {
        Some(far) => Ok(far),
        None => dial(worker, &resolved).await,
    };
    let mut far = match dialled {
        Ok(far) => far,
        Err(failure) => {
            refuse(worker, &resolved, failure, near.socket());
            return Ok(());
        }
    };
    let (total, active) = worker.shared.metrics.connection(Direction::Outbound, "tcp", "none");
    total.inc();
    active.inc();
    let exchange = record(worker, &resolved);
    exchange.attempts.set(1);
    exchange.endpoint.set(Some(far.trial.endpoint.address));
    exchange.peer.replace(far.trial.endpoint.identity.clone());
    let idle = Some(resolved.target.service.policy.timeouts.idle);
    let end = {
        let mut relay = pin!(relay(near, &mut far.stream, first, &entry.bytes, idle));
        // An endpoint whose app is gone resets at once; one that held the connection for a second
        // works, however long the connection then lives.
        match timeout(SETTLED, relay.as_mut()).await {
            Ok(end) => Some(end),
            Err(_) => {
                far.trial.settle(worker, Verdict::Success, clock::now_us());
                tokio::select! {
                    end = relay => Some(end),
                    () = open.reached(Phase::Closing) => None,
                }
            }
        }
    };
    let silent = entry.bytes.b_to_a.load(Relaxed) == 0;
    let refused = silent && matches!(end, Some(End::B(_)));
    let verdict = if refused { Verdict::Failure } else { Verdict::Success };
    far.trial.settle(worker, verdict, clock::now_us());
    note_end(&exchange, entry, end.as_ref());
    active.dec();
    Ok(())
}

fn note_end(exchange: &Exchange, entry: &Entry, end: Option<&End>) {
    let reason = end.map_or(Some(Reason::DrainDeadline), End::reason);
    if let Some(End::A(fault) | End::B(fault)) = end {
        debug!(client = %entry.client, error = %chain(fault), "opaque connection broke");
    }
    let bytes = &entry.bytes;
    exchange.end_stream(bytes.a_to_b.load(Relaxed), bytes.b_to_a.load(Relaxed), reason);
}

/// Passes a connection on to a destination outside the mesh, untouched.
pub async fn pass(worker: &Outbound, near: Near, address: SocketAddr, entry: &Entry, open: Open) {
    let timeout = crate::model::Timeouts::default();
    let far = crate::dial::Far { address, identity: None, connect_timeout: timeout.connect };
    let mut stream = match worker.dialer.tcp(far).await {
        Ok(stream) => stream,
        Err(error) => {
            warn!(destination = %address, %error, reason = %Reason::ConnectFailure, "connection refused: the destination could not be reached");
            socket::reset_on_close(near.socket());
            return;
        }
    };
    let exchange =
        Exchange::begin(&worker.sinks, Direction::Outbound, Spoken::Tcp, "none", clock::now_us);
    exchange.set_meter(worker.meter(&"unknown".into(), &"pass".into()));
    exchange.endpoint.set(Some(address));
    let end = tokio::select! {
        end = relay(near, &mut stream, Bytes::new(), &entry.bytes, Some(timeout.idle)) => Some(end),
        () = open.reached(Phase::Closing) => None,
    };
    note_end(&exchange, entry, end.as_ref());
}

/// Sends a request that asks to leave HTTP, and keeps the far side of the tunnel if it may.
pub async fn switching(
    worker: &Rc<Outbound>,
    conn: &Rc<Conn>,
    exchange: &Rc<Exchange>,
    resolved: &Rc<Resolved>,
    mut parts: Parts,
    switch: &Switch,
    place: RequestTicket,
) -> Result<Response<Body>, Failure> {
    let target = &resolved.target;
    let near_upgrade = parts.extensions.remove::<OnUpgrade>();
    let near_upgrade = near_upgrade.filter(|_| conn.spoken == Spoken::Http2);
    let key = {
        let mut rng = worker.rng.borrow_mut();
        (u128::from(rng.next_u64()) << 64 | u128::from(rng.next_u64())).to_be_bytes()
    };
    switch::write_request(&mut parts, switch, key);
    let mut trial = choose(worker, target, &[], exchange.started_us)?;
    let endpoint = std::sync::Arc::clone(&trial.endpoint);
    exchange.attempts.set(1);
    exchange.endpoint.set(Some(endpoint.address));
    exchange.peer.replace(endpoint.identity.clone());
    let request = Request::from_parts(parts, Body::empty());
    let far = far(target, &endpoint);
    let sent = worker.dialer.switching(far, request, switch, Some(&target.bulkhead)).await;
    let meshed = endpoint.identity.is_some();
    let (head, tunnel) = match sent {
        Err(missed) => {
            trial.settle(worker, Verdict::Failure, clock::now_us());
            return Err(attempt::explain(target, &endpoint, missed).1);
        }
        Ok(Switched::Refused(response)) => {
            trial.settle(worker, Verdict::Success, clock::now_us());
            exchange.status.set(response.status().as_u16());
            let (mut head, body) = response.into_parts();
            clean_answer(exchange, &mut head.headers, meshed);
            let held = Held { _trial: trial, _place: place, exchange: Rc::clone(exchange) };
            let body = body.with_tail(Box::new(held));
            return Ok(Response::from_parts(head, body));
        }
        Ok(Switched::Granted(head, tunnel)) => (head, tunnel),
    };
    trial.settle(worker, Verdict::Success, clock::now_us());
    let (mut head, ()) = head.into_parts();
    exchange.status.set(head.status.as_u16());
    let protocol = head.headers.get(http::header::UPGRADE).cloned();
    clean_answer(exchange, &mut head.headers, meshed);
    switch::write_granted(&mut head.headers, &mut head.status, switch, protocol);
    head.extensions.clear();
    let held = Held { _trial: trial, _place: place, exchange: Rc::clone(exchange) };
    conn.tunnels.open(near_upgrade, tunnel, Box::new(held));
    Ok(Response::from_parts(head, Body::empty()))
}

/// Keeps the places of a refused switch while its answer goes by.
struct Held {
    _trial: Trial,
    _place: RequestTicket,
    exchange: Rc<Exchange>,
}

impl crate::http::Tail for Held {
    fn data(&mut self, bytes: usize) {
        self.exchange.count_out(bytes);
    }
}
