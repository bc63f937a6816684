//! Opaque bytes outbound: TCP services, tunnels, destinations that the mesh does not know.

use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tracing::{debug, warn};

use super::attempt::{choose, not_dialled};
use super::trial::Trial;
use super::worker::{Outbound, Resolved};
use crate::balance::{self, Ask};
use crate::circuit::Verdict;
use crate::dial::{Far, Stream};
use crate::http::respond::{Failure, chain};
use crate::limit::ConnectionTicket;
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
) -> Result<FarEnd, Failure> {
    let backend = &resolved.target.backend;
    resolved.target.touch();
    let place = backend.bulkhead.try_connect().map_err(Failure::plain)?;
    let hash = backend.balancer.hash_on().and_then(|on| balance::connection_key(on, client));
    let connect = backend.policy().timeouts.connect;
    let (mut tried, mut last) = (Vec::new(), None);
    for _ in 0..=backend.policy().retry.max_retries {
        let ask = Ask { tried: &tried, hash, now_us: clock::now_us() };
        let mut trial = match choose(worker, backend, ask, true, true) {
            Ok(trial) => trial,
            Err(failure) => return Err(last.unwrap_or(failure)),
        };
        match worker.dialer.tcp(backend.far(&trial.endpoint, connect)).await {
            Ok(stream) => {
                return Ok(FarEnd { stream, trial, _place: place });
            }
            Err(error) => {
                let (failed, failure) = not_dialled(backend, &trial.endpoint, &error);
                trial.fail(worker, Some(failed), &failure, None, clock::now_us());
                last = Some(failure);
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
    warn!(reason = %failure.reason, service = %resolved.target.backend.label, "connection refused: {}", failure.sentence());
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
) -> io::Result<()> {
    let Opaque { near, resolved, far, first } = opaque;
    entry.set_speaks(Speaks::Tcp);
    let Some(resolved) = resolved else {
        warn!(client = %entry.client, reason = %Reason::NoRoute, "connection refused: the mesh has no such service");
        socket::reset_on_close(near.socket());
        return Ok(());
    };
    let dialled = match far {
        Some(far) => Ok(far),
        None => dial(worker, &resolved, entry.client).await,
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
    exchange.attempt(&far.trial.endpoint, 1);
    let idle = Some(resolved.target.backend.policy().timeouts.idle);
    let end = {
        let mut relay = pin!(relay(near, &mut far.stream, first, &entry.bytes, idle));
        // An endpoint whose app is gone resets at once; one that held the connection for a second
        // works, however long the connection then lives.
        match timeout(SETTLED, relay.as_mut()).await {
            Ok(end) => Some(end),
            Err(_) => {
                far.trial.settle(worker, Verdict::Success, None, clock::now_us());
                tokio::select! {
                    end = relay => Some(end),
                    () = open.reached(Phase::Closing) => None,
                }
            }
        }
    };
    let silent = entry.bytes.b_to_a.load(Relaxed) == 0;
    let refused = silent && matches!(end, Some(End::B(_)));
    let counts = refused && resolved.target.backend.policy().circuit.on.reset;
    let verdict = if counts { Verdict::Failure } else { Verdict::Success };
    far.trial.settle(worker, verdict, None, clock::now_us());
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
    let far = Far::plain(address, PASS_CONNECT, false);
    let mut stream = match worker.dialer.tcp(far).await {
        Ok(stream) => stream,
        Err(error) => {
            warn!(destination = %address, %error, reason = %Reason::ConnectFailure, "connection refused: the destination could not be reached");
            socket::reset_on_close(near.socket());
            return;
        }
    };
    let (total, active) = worker.shared.metrics.connection(Direction::Outbound, "tcp", "none");
    total.inc();
    active.inc();
    let exchange =
        Exchange::begin(&worker.sinks, Direction::Outbound, Spoken::Tcp, "none", clock::now_us);
    exchange.set_meter(worker.meter(&"unknown".into(), &"pass".into()));
    exchange.endpoint.set(Some(address));
    let end = tokio::select! {
        end = relay(near, &mut stream, Ok(Bytes::new()), &entry.bytes, Some(PASS_IDLE)) => Some(end),
        () = open.reached(Phase::Closing) => None,
    };
    note_end(&exchange, entry, end.as_ref());
    active.dec();
}
