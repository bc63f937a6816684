//! What a connection becomes when it leaves HTTP.
//!
//! On HTTP/1 the whole connection turns into the tunnel once its answer is written; on HTTP/2 one
//! stream does, in a task of its own. Either way the places that the request took stay taken until
//! the tunnel is through, and what is cut short is a reset on both sides, never an end.

use std::any::Any;
use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::net::TcpStream;

use super::ledger::Speaks;
use super::trust::Trust;
use super::{Entry, Near};
use crate::http::Body;
use crate::http::pipe::{self, Duplex};
use crate::model::Reason;
use crate::runtime::{Open, Phase, Prefixed, socket};
use crate::tcp::{self, Counters};
use crate::telemetry::exchange::Exchange;
use crate::telemetry::exchange::roster::Seat;
use crate::tls::{ClientSession, OverSocket, Stream, relay_until};

/// A connection's way out of HTTP.
pub struct Tunnels {
    pub entry: Rc<Entry>,
    /// The far side of an HTTP/1 connection that was granted its switch.
    granted: RefCell<Option<Tunnel>>,
}

/// How long a tunnel may last, and why no longer.
pub type Until = Pin<Box<dyn Future<Output = Reason>>>;

/// The connection that a tunnel goes on with.
pub type Far = Prefixed<Stream<ClientSession<TcpStream>>>;

/// The far side, and what is held for as long as the tunnel lives.
pub struct Tunnel {
    pub far: Far,
    pub idle: Duration,
    pub exchange: Rc<Exchange>,
    pub held: Box<dyn Any>,
    pub until: Until,
    /// In whom: the one of both sides that is another sidecar.
    pub trust: Trust,
}

impl Tunnels {
    pub fn new(entry: Entry) -> Self {
        Self { entry: Rc::new(entry), granted: RefCell::default() }
    }

    /// Opens a tunnel, and gives the body of the answer that grants it. `stream` is the body of the
    /// request, where the near side is a stream of HTTP/2; else the connection follows when its answer
    /// is written. A stream has an [`Open`] of its own, since a task of its own waits for it; to be
    /// taken before the far side is asked, so that no news of the far side is missed.
    pub fn open(&self, stream: Option<(Body, Open)>, tunnel: Tunnel) -> Body {
        let Some((said, open)) = stream else {
            *self.granted.borrow_mut() = Some(tunnel);
            return Body::empty();
        };
        let (near, told) = pipe::duplex(said);
        let entry = Rc::clone(&self.entry);
        tokio::task::spawn_local(async move { tunnel.relay_stream(near, &entry, &open).await });
        told
    }

    /// True when this connection is to become a tunnel.
    pub fn is_open(&self) -> bool {
        self.granted.borrow().is_some()
    }

    /// Whether anything is under way on this connection, or it is to become a tunnel.
    pub(super) fn is_busy(&self) -> bool {
        self.entry.streams.load(Relaxed) > 0 || self.is_open()
    }

    pub(super) fn take(&self) -> Option<Tunnel> {
        self.granted.borrow_mut().take()
    }
}

impl Tunnel {
    pub(super) async fn relay(self, near: Near, tunnels: &Tunnels, open: &Open) {
        let Tunnel { far, idle, exchange, held, until, trust } = self;
        tunnels.entry.set_speaks(Speaks::Tcp);
        let (first, mut far) = far.into_parts();
        // The connection is nothing but this tunnel from now on.
        let bytes = &tunnels.entry.bytes;
        let before = bytes.read();
        let _seat = Seat::lasting(&exchange, tunnels.entry.whole());
        let until = is_over(until, &trust, open, bytes);
        let end = relay_until(near, &mut far, Ok(first), bytes, Some(idle), until).await;
        let after = bytes.read();
        let reason = end.map_or_else(Some, |end| end.reason());
        exchange.end_stream(after.0 - before.0, after.1 - before.1, reason);
        drop(held);
    }

    async fn relay_stream(self, mut near: Duplex, entry: &Entry, open: &Open) {
        let Tunnel { mut far, idle, exchange, held, until, trust } = self;
        // Those of the connection are of all its streams.
        let pipe = entry.stream();
        let bytes = &pipe.bytes;
        let _seat = Seat::lasting(&exchange, pipe.clone());
        let (is_cut, reason) = tokio::select! {
            biased;
            reason = is_over(until, &trust, open, bytes) => {
                (reason != Reason::IdleTimeout, Some(reason))
            }
            outcome = tcp::relay(&mut near, &mut far, bytes, Some(idle)) => {
                (outcome.end.is_broken(), outcome.end.reason())
            }
        };
        if is_cut {
            socket::reset_on_close(far.socket());
            near.cut();
        }
        let (sent, received) = bytes.read();
        exchange.end_stream(sent, received, reason);
        drop(held);
    }
}

/// Waits until a tunnel may last no longer, and says why.
async fn is_over(until: Until, trust: &Trust, open: &Open, moved: &Counters) -> Reason {
    tokio::select! {
        reason = until => reason,
        reason = trust.is_over(open, moved) => reason,
        () = open.reached(Phase::Closing) => Reason::DrainDeadline,
    }
}
