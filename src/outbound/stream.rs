//! Opaque bytes outbound: TCP services, tunnels, destinations that the mesh does not know.

use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use rustls::pki_types::CertificateDer;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tracing::debug;

use super::attempt::{choose, not_dialled};
use super::trial::Trial;
use super::worker::{Outbound, Resolved};
use crate::balance::{self, Ask};
use crate::circuit::Verdict;
use crate::dial::{DialError, Far, Stream};
use crate::http::respond::{Failure, chain};
use crate::limit::ConnectionTicket;
use crate::model::{Direction, Endpoint, Reason};
use crate::runtime::rehearsal::{self, At};
use crate::runtime::{Open, Phase, clock, socket};
use crate::serve::Near;
use crate::serve::ledger::{Entry, Speaks};
use crate::serve::trust::Trust;
use crate::tcp::End;
use crate::telemetry::exchange::Exchange;
use crate::telemetry::exchange::roster::Seat;
use crate::telemetry::span::Circuit;
use crate::telemetry::traffic::{RouteMeter, Spoken};
use crate::tls::{OverSocket, Proof, relay_until};

/// A connection that lived this long was not refused.
const SETTLED: Duration = Duration::from_secs(1);

/// For what is unknown the mesh must not give up before the network: three lost SYNs. Arbitrary, as
/// Istio has it.
const PASS_CONNECT: Duration = Duration::from_secs(10);

/// Nor may it cut what both ends keep: keepalive finds the dead. As Envoy has it.
const PASS_IDLE: Duration = Duration::from_secs(3600);

/// A dialled endpoint for opaque bytes.
pub struct FarEnd {
    stream: Stream,
    trial: Trial,
    _place: ConnectionTicket,
    dials: Vec<Dial>,
}

/// One attempt to reach an endpoint, for a record that may begin only after it.
struct Dial {
    endpoint: Arc<Endpoint>,
    began_us: u64,
    ended_us: u64,
    circuit: Option<Circuit>,
    /// Why it was not reached.
    reason: Option<Reason>,
}

/// No endpoint was reached.
pub struct Unreached {
    failure: Failure,
    dials: Vec<Dial>,
}

impl From<Failure> for Unreached {
    /// None was tried.
    fn from(failure: Failure) -> Self {
        Self { failure, dials: Vec::new() }
    }
}

impl AsyncRead for FarEnd {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

/// An opaque connection, as far as it is known.
pub struct Opaque {
    pub near: Near,
    pub resolved: Option<Rc<Resolved>>,
    pub far: Option<FarEnd>,
    /// What the far side said first, or how it broke.
    pub first: io::Result<Bytes>,
}

impl Opaque {
    pub fn new(near: Near, resolved: Option<Rc<Resolved>>) -> Self {
        Self { near, resolved, far: None, first: Ok(Bytes::new()) }
    }
}

/// Connects to an endpoint of the service; another one where the first can't be reached, since
/// nothing was sent.
pub async fn dial(
    worker: &Outbound,
    resolved: &Resolved,
    client: SocketAddr,
) -> Result<FarEnd, Unreached> {
    let backend = &resolved.target.backend;
    resolved.target.touch();
    let place = backend.bulkhead.try_connect().map_err(Failure::plain)?;
    let hash = backend.balancer.hash_on().and_then(|on| balance::connection_key(on, client));
    let connect = backend.policy().timeouts.connect;
    let (mut tried, mut last, mut dials) = (Vec::new(), None, Vec::new());
    for _ in 0..=backend.policy().retry.max_retries {
        let began_us = clock::now_us();
        let ask = Ask { tried: &tried, hash, now_us: began_us };
        let mut trial = match choose(worker, backend, ask, true, true) {
            Ok(trial) => trial,
            Err(failure) => {
                return Err(Unreached { failure: last.unwrap_or(failure), dials });
            }
        };
        let dialled = worker.dialer.tcp(backend.far(&trial.endpoint, connect)).await;
        let reason = dialled.as_ref().err().map(DialError::reason);
        let (endpoint, circuit) = (Arc::clone(&trial.endpoint), trial.circuit());
        let ended_us = clock::now_us();
        dials.push(Dial { endpoint, began_us, ended_us, circuit, reason });
        match dialled {
            Ok(stream) => return Ok(FarEnd { stream, trial, _place: place, dials }),
            Err(error) => {
                let (failed, failure) = not_dialled(backend, &trial.endpoint, &error);
                trial.fail(worker, Some(failed), &failure, None, ended_us);
                last = Some(failure);
                tried.push(trial.endpoint.slot);
            }
        }
    }
    let failure = last.unwrap_or_else(|| Failure::plain(Reason::ConnectFailure));
    Err(Unreached { failure, dials })
}

/// The record of a connection whose endpoints were dialled so, which began with that.
fn record_of(worker: &Outbound, resolved: &Resolved, dials: &[Dial]) -> Rc<Exchange> {
    let started_us = dials.first().map_or_else(clock::now_us, |first| first.began_us);
    let exchange = begin(worker, started_us);
    exchange.join(None);
    if let Some(meter) = resolved.meters.first() {
        exchange.set_meter(Rc::clone(meter));
    }
    for (number, dial) in (1..).zip(dials) {
        exchange.attempt(&dial.endpoint, number, dial.began_us, dial.circuit);
        exchange.attempted(number, dial.ended_us, 0, dial.reason);
    }
    exchange
}

/// Shows the client a reset, and says in the log and the metrics why.
pub fn refuse(
    worker: &Outbound,
    resolved: &Resolved,
    unreached: &Unreached,
    client: SocketAddr,
    stream: &TcpStream,
) {
    let Unreached { failure, dials } = unreached;
    refuse_on(worker, record_of(worker, resolved, dials), failure, client, stream);
}

/// The same of a connection to what the mesh does not know, or that is not for `meter`'s service.
pub fn refuse_stray(
    worker: &Outbound,
    meter: Rc<RouteMeter>,
    failure: &Failure,
    client: SocketAddr,
    stream: &TcpStream,
) {
    refuse_on(worker, record_on(worker, meter), failure, client, stream);
}

fn refuse_on(
    worker: &Outbound,
    exchange: Rc<Exchange>,
    failure: &Failure,
    client: SocketAddr,
    stream: &TcpStream,
) {
    tell(worker, &exchange, "connection refused", failure, client);
    socket::reset_on_close(stream);
}

/// Says in the log and the metrics why a connection was ended, whatever was asked over it.
pub fn note_closed(
    worker: &Outbound,
    meter: Rc<RouteMeter>,
    what: &str,
    reason: Reason,
    client: SocketAddr,
    why: &'static str,
) {
    tell(worker, &record_on(worker, meter), what, &Failure::new(reason, why), client);
}

fn tell(worker: &Outbound, exchange: &Exchange, what: &str, failure: &Failure, client: SocketAddr) {
    exchange.blame(failure.reason);
    let service = exchange.meter().map_or("", |meter| &*meter.service);
    worker.failures.tell(what, service, client, failure.reason, failure.sentence());
    exchange.say(failure.clone().into_sentence());
}

/// Ends a connection on which nobody has spoken yet.
pub fn give_up(
    worker: &Outbound,
    resolved: Option<&Rc<Resolved>>,
    reason: Reason,
    near: &TcpStream,
) {
    record(worker, resolved.map(Rc::as_ref)).blame(reason);
    debug!(%reason, "a connection ended before anybody spoke");
    if reason != Reason::IdleTimeout {
        socket::reset_on_close(near);
    }
}

fn record_on(worker: &Outbound, meter: Rc<RouteMeter>) -> Rc<Exchange> {
    let exchange = record(worker, None);
    exchange.set_meter(meter);
    exchange
}

fn begin(worker: &Outbound, started_us: u64) -> Rc<Exchange> {
    let (sinks, direction) = (&worker.sinks, Direction::Outbound);
    Exchange::begun(sinks, direction, Spoken::Tcp, "none", clock::now_us, started_us)
}

fn record(worker: &Outbound, resolved: Option<&Resolved>) -> Rc<Exchange> {
    let exchange = begin(worker, clock::now_us());
    exchange.join(None);
    if let Some(meter) = resolved.and_then(|resolved| resolved.meters.first()) {
        exchange.set_meter(Rc::clone(meter));
    }
    exchange
}

/// Relays an opaque connection to its end.
///
/// # Errors
/// None that the client has not been shown; the type is the caller's.
pub async fn opaque(worker: &Outbound, opaque: Opaque, entry: Entry, open: Open) -> io::Result<()> {
    let Opaque { near, resolved, far, first } = opaque;
    entry.set_speaks(Speaks::Tcp);
    rehearsal::pass(At::OutboundStream);
    let Some(resolved) = resolved else {
        let failure = Failure::new(Reason::NoRoute, "the mesh has no such service");
        let meter = worker.stray_meter();
        refuse_stray(worker, meter, &failure, entry.client, near.socket());
        return Ok(());
    };
    let dialled = match far {
        Some(far) => Ok(far),
        None => dial(worker, &resolved, entry.client).await,
    };
    let mut far = match dialled {
        Ok(far) => far,
        Err(unreached) => {
            refuse(worker, &resolved, &unreached, entry.client, near.socket());
            return Ok(());
        }
    };
    let (total, active) = worker.shared.metrics.connection(Direction::Outbound, "tcp", "none");
    total.inc();
    active.inc();
    let exchange = record_of(worker, &resolved, &far.dials);
    let _seat = Seat::lasting(&exchange, entry.whole());
    let idle = Some(resolved.target.backend.policy().timeouts.idle);
    let trust = trust(worker, far.stream.chain(), &entry);
    let until = async {
        tokio::select! {
            reason = trust.is_over(&open, &entry.bytes) => reason,
            () = open.reached(Phase::Closing) => Reason::DrainDeadline,
        }
    };
    let end = {
        let relay = relay_until(near, &mut far.stream, first, &entry.bytes, idle, until);
        let mut relay = pin!(relay);
        // An endpoint whose app is gone resets at once; one that held the connection for a second
        // works, however long the connection then lives.
        match timeout(SETTLED, relay.as_mut()).await {
            Ok(end) => end,
            Err(_) => {
                far.trial.settle(worker, Verdict::Success, None, clock::now_us());
                relay.await
            }
        }
    };
    let silent = entry.bytes.b_to_a.load(Relaxed) == 0;
    let refused = silent && matches!(end, Ok(End::B(_)));
    let counts = refused && resolved.target.backend.policy().circuit.on.reset;
    let verdict = if counts { Verdict::Failure } else { Verdict::Success };
    far.trial.settle(worker, verdict, None, clock::now_us());
    note_end(&exchange, &entry, &end);
    active.dec();
    Ok(())
}

/// In the far side, where that is another sidecar.
pub fn trust(worker: &Outbound, chain: &[CertificateDer<'static>], entry: &Entry) -> Trust {
    let newest = Arc::clone(worker.dialer.credentials());
    let proof = Proof::of(chain, newest.load().as_deref()).map(Rc::new);
    Trust { proof, newest, at: entry.client.port() }
}

fn note_end(exchange: &Exchange, entry: &Entry, end: &Result<End, Reason>) {
    let reason = end.as_ref().map_or_else(|reason| Some(*reason), End::reason);
    if let Ok(End::A(fault) | End::B(fault)) = end {
        debug!(client = %entry.client, error = %chain(fault), "opaque connection broke");
    }
    let bytes = &entry.bytes;
    exchange.end_stream(bytes.a_to_b.load(Relaxed), bytes.b_to_a.load(Relaxed), reason);
}

/// Passes a connection on to a destination outside the mesh, untouched.
pub async fn pass(worker: &Outbound, near: Near, address: SocketAddr, entry: &Entry, open: Open) {
    let far = Far::plain(address, PASS_CONNECT, false);
    let exchange = record_on(worker, worker.meter(&"unknown".into(), &"pass".into()));
    exchange.attempts.set(1);
    exchange.endpoint.set(Some(address));
    exchange.try_at(address, exchange.started_us, None);
    let dialled = worker.dialer.tcp(far).await;
    exchange.attempted(1, clock::now_us(), 0, dialled.as_ref().err().map(DialError::reason));
    let mut stream = match dialled {
        Ok(stream) => stream,
        Err(error) => {
            let sentence = format!("{address} could not be reached: {error}");
            let failure = Failure::new(Reason::ConnectFailure, sentence);
            refuse_on(worker, exchange, &failure, entry.client, near.socket());
            return;
        }
    };
    let (total, active) = worker.shared.metrics.connection(Direction::Outbound, "tcp", "none");
    total.inc();
    active.inc();
    let _seat = Seat::lasting(&exchange, entry.whole());
    let until = async {
        open.reached(Phase::Closing).await;
        Reason::DrainDeadline
    };
    let (first, idle) = (Ok(Bytes::new()), Some(PASS_IDLE));
    let end = relay_until(near, &mut stream, first, &entry.bytes, idle, until).await;
    note_end(&exchange, entry, &end);
    active.dec();
}
