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
use crate::telemetry::exchange::roster::{Pipe, Seat};

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

    /// All that it carries from now on is one exchange.
    pub fn whole(&self) -> Rc<Whole> {
        let before = self.bytes.read();
        Rc::new(Whole { connection: Arc::clone(&self.connection), before })
    }

    /// One of its streams becomes a tunnel.
    pub fn stream(&self) -> Rc<Stream> {
        Rc::new(Stream { connection: Arc::clone(&self.connection), bytes: Counters::default() })
    }
}

/// A request under way on a connection: one of its streams. Its bytes are the connection's when it
/// ends, and meanwhile as often as the roster is looked through.
pub struct UnderWay {
    entry: Rc<Entry>,
    seat: Seat,
}

impl UnderWay {
    pub fn begin(entry: &Rc<Entry>, exchange: &Rc<Exchange>) -> Self {
        let streams = entry.streams.load(Ordering::Relaxed);
        entry.streams.store(streams + 1, Ordering::Relaxed);
        let pipe: Rc<Entry> = Rc::clone(entry);
        Self { entry: Rc::clone(entry), seat: Seat::take(exchange, pipe) }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        if let Some(reason) = self.entry.cut.get() {
            self.seat.exchange().cut(reason);
        }
        let streams = self.entry.streams.load(Ordering::Relaxed);
        self.entry.streams.store(streams - 1, Ordering::Relaxed);
    }
}

/// Requests of a connection, which count their bytes themselves.
impl Pipe for Entry {
    fn carried(&self) -> Option<(u64, u64)> {
        None
    }

    fn count(&self, bytes_in: u64, bytes_out: u64) {
        self.connection.add(bytes_in, bytes_out);
    }
}

/// A connection from some moment on, when it became nothing but one exchange.
pub struct Whole {
    connection: Arc<Connection>,
    before: (u64, u64),
}

impl Pipe for Whole {
    fn carried(&self) -> Option<(u64, u64)> {
        let (bytes_in, bytes_out) = self.connection.bytes.read();
        Some((bytes_in - self.before.0, bytes_out - self.before.1))
    }

    /// The connection has them already.
    fn count(&self, _bytes_in: u64, _bytes_out: u64) {}
}

/// A tunnel on one stream of a connection.
pub struct Stream {
    connection: Arc<Connection>,
    /// `a` is the client.
    pub bytes: Counters,
}

impl Pipe for Stream {
    fn carried(&self) -> Option<(u64, u64)> {
        Some(self.bytes.read())
    }

    fn count(&self, bytes_in: u64, bytes_out: u64) {
        self.connection.add(bytes_in, bytes_out);
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
    /// Only the worker whose connection it is writes these numbers: nobody has to be kept out.
    fn add(&self, bytes_in: u64, bytes_out: u64) {
        let (a_to_b, b_to_a) = self.bytes.read();
        self.bytes.a_to_b.store(a_to_b + bytes_in, Ordering::Relaxed);
        self.bytes.b_to_a.store(b_to_a + bytes_out, Ordering::Relaxed);
    }

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
