//! What a connection becomes when it leaves HTTP.
//!
//! On HTTP/1 the whole connection turns into the tunnel once its answer is written; on HTTP/2 one
//! stream does, in a task of its own. Either way the places that the request took stay taken until
//! the tunnel is through.

use std::any::Any;
use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use hyper::upgrade::{OnUpgrade, Upgraded};
use tokio::io::{AsyncRead, AsyncWrite};

use super::Entry;
use super::ledger::Speaks;
use crate::runtime::hyper_io::Tokio;
use crate::runtime::{Open, Phase};
use crate::tcp;

/// A connection's way out of HTTP.
pub struct Tunnels {
    pub entry: Rc<Entry>,
    /// The far side of an HTTP/1 connection that was granted its switch.
    granted: RefCell<Option<Tunnel>>,
}

/// How long a tunnel may last; it is let go when this comes.
pub type Until = Pin<Box<dyn Future<Output = ()>>>;

/// The far side, and what is held for as long as the tunnel lives.
pub struct Tunnel {
    far: Tokio<Upgraded>,
    idle: Duration,
    held: Box<dyn Any>,
    until: Until,
}

impl Tunnels {
    pub fn new(entry: Entry) -> Self {
        Self { entry: Rc::new(entry), granted: RefCell::new(None) }
    }

    /// Opens a tunnel to `far`. `stream` is the near side's, where the near side is a stream of
    /// HTTP/2; else the connection follows when its answer is written.
    pub fn open(
        &self,
        stream: Option<OnUpgrade>,
        far: Tokio<Upgraded>,
        idle: Duration,
        held: Box<dyn Any>,
        until: Until,
    ) {
        let tunnel = Tunnel { far, idle, held, until };
        let Some(stream) = stream else {
            *self.granted.borrow_mut() = Some(tunnel);
            return;
        };
        let entry = Rc::clone(&self.entry);
        tokio::task::spawn_local(async move {
            // A near side that went away before the answer was written needs no tunnel.
            if let Ok(near) = stream.await {
                let idle = Some(tunnel.idle);
                tokio::select! {
                    _ = tcp::relay(Tokio(near), tunnel.far, &entry.bytes, idle) => {}
                    () = tunnel.until => {}
                }
            }
            drop(tunnel.held);
        });
    }

    /// True when this connection is to become a tunnel.
    pub fn is_open(&self) -> bool {
        self.granted.borrow().is_some()
    }

    pub(super) fn take(&self) -> Option<Tunnel> {
        self.granted.borrow_mut().take()
    }
}

impl Tunnel {
    pub(super) async fn relay<IO>(self, mut near: IO, tunnels: &Tunnels, open: &Open)
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        let Tunnel { mut far, idle, held, until } = self;
        tunnels.entry.set_speaks(Speaks::Tcp);
        tokio::select! {
            _ = tcp::relay(&mut near, &mut far, &tunnels.entry.bytes, Some(idle)) => {}
            () = open.reached(Phase::Closing) => {}
            () = until => {}
        }
        drop(held);
    }
}
