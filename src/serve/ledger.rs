//! Every open connection, for the page that lists them.
//!
//! A connection writes itself in when it opens and its entry leaves with it; the numbers in between
//! are atomics that only the page reads. One lock a process, taken twice in a connection's life.

use std::cell::Cell;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::model::{Direction, Reason, SpiffeId};
use crate::runtime::clock;
use crate::tcp::Counters;
use crate::telemetry::exchange::Exchange;

/// What a connection turned out to speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Speaks {
    /// Nothing yet.
    Unknown,
    Http1,
    Http2,
    Tcp,
}

impl Speaks {
    const ALL: [Speaks; 4] = [Speaks::Unknown, Speaks::Http1, Speaks::Http2, Speaks::Tcp];

    /// The metric label and field.
    pub fn as_str(self) -> &'static str {
        match self {
            Speaks::Unknown => "unknown",
            Speaks::Http1 => "http1",
            Speaks::Http2 => "http2",
            Speaks::Tcp => "tcp",
        }
    }
}

/// One open connection.
#[derive(Debug)]
pub struct Connection {
    pub direction: Direction,
    pub client: SocketAddr,
    /// The listener's own address, as configured.
    pub listener: SocketAddr,
    pub opened_us: u64,
    peer: Mutex<Option<SpiffeId>>,
    speaks: AtomicU8,
    pub streams: AtomicU32,
    /// `a` is the client.
    pub bytes: Counters,
}

/// All open connections of the process; cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    next: Arc<AtomicU64>,
    open: Arc<Mutex<HashMap<u64, Arc<Connection>>>>,
}

/// A connection's place in the ledger; leaves on drop.
#[derive(Debug)]
pub struct Entry {
    key: u64,
    connection: Arc<Connection>,
    ledger: Ledger,
    /// Why what is still under way ends without its end.
    cut: Cell<Option<Reason>>,
}

impl Entry {
    /// The connection is about to be dropped with all that is under way on it.
    pub fn cut(&self, reason: Reason) {
        self.cut.set(Some(reason));
    }
}

/// A request under way on a connection: one of its streams, whose bytes count when it ends.
pub struct UnderWay {
    entry: Rc<Entry>,
    exchange: Rc<Exchange>,
}

impl UnderWay {
    pub fn begin(entry: &Rc<Entry>, exchange: &Rc<Exchange>) -> Self {
        entry.streams.fetch_add(1, Ordering::Relaxed);
        Self { entry: Rc::clone(entry), exchange: Rc::clone(exchange) }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        if let Some(reason) = self.entry.cut.get() {
            self.exchange.cut(reason);
        }
        let (bytes_in, bytes_out) = self.exchange.bytes();
        self.entry.streams.fetch_sub(1, Ordering::Relaxed);
        self.entry.bytes.a_to_b.fetch_add(bytes_in, Ordering::Relaxed);
        self.entry.bytes.b_to_a.fetch_add(bytes_out, Ordering::Relaxed);
    }
}

impl Ledger {
    pub fn open(&self, direction: Direction, client: SocketAddr, listener: SocketAddr) -> Entry {
        let connection = Arc::new(Connection {
            direction,
            client,
            listener,
            opened_us: clock::now_us(),
            peer: Mutex::new(None),
            speaks: AtomicU8::new(Speaks::Unknown as u8),
            streams: AtomicU32::new(0),
            bytes: Counters::default(),
        });
        let key = self.next.fetch_add(1, Ordering::Relaxed);
        self.lock().insert(key, Arc::clone(&connection));
        Entry { key, connection, ledger: self.clone(), cut: Cell::new(None) }
    }

    /// The connections open now, oldest first.
    pub fn connections(&self) -> Vec<Arc<Connection>> {
        let mut all: Vec<_> = self.lock().values().cloned().collect();
        all.sort_by_key(|connection| connection.opened_us);
        all
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<u64, Arc<Connection>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Connection {
    pub fn peer(&self) -> Option<SpiffeId> {
        self.peer.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn speaks(&self) -> Speaks {
        let at = usize::from(self.speaks.load(Ordering::Relaxed));
        Speaks::ALL.get(at).copied().unwrap_or(Speaks::Unknown)
    }

    pub fn set_peer(&self, peer: SpiffeId) {
        *self.peer.lock().unwrap_or_else(PoisonError::into_inner) = Some(peer);
    }

    pub fn set_speaks(&self, speaks: Speaks) {
        self.speaks.store(speaks as u8, Ordering::Relaxed);
    }
}

impl std::ops::Deref for Entry {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.connection
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.ledger.lock().remove(&self.key);
    }
}
