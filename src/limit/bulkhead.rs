//! One service's bulkhead: requests under way, connections, and a bounded queue for connections.

use std::sync::Arc;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};
use std::sync::atomic::{AtomicU32, AtomicU64};
use std::time::Duration;

use tokio::time::timeout;

use super::places::{ConnectionTicket, Places};
use crate::model::{Limits, Reason};
use crate::runtime::clock::as_us;

/// The places of one service in this sidecar.
#[derive(Debug)]
pub struct Bulkhead {
    requests: Counter,
    pending: Counter,
    connections: Arc<Places>,
    max_connections: AtomicU32,
    queue_timeout_us: AtomicU64,
    max_requests_per_connection: AtomicU32,
}

/// What is taken, of how much.
#[derive(Clone, Debug, PartialEq)]
pub struct Facts {
    pub requests: u32,
    /// Requests that wait for a connection.
    pub pending: u32,
    pub connections: u32,
    pub limits: Limits,
}

/// A request's place; dropped when its answer is through.
#[derive(Debug)]
pub struct RequestTicket(Arc<Bulkhead>);

impl Bulkhead {
    pub fn new(limits: Limits) -> Arc<Self> {
        Arc::new(Self {
            requests: Counter::new(limits.max_requests),
            pending: Counter::new(limits.max_pending_requests),
            connections: Places::new(limits.max_connections),
            max_connections: AtomicU32::new(limits.max_connections),
            queue_timeout_us: AtomicU64::new(as_us(limits.queue_timeout)),
            max_requests_per_connection: AtomicU32::new(limits.max_requests_per_connection),
        })
    }

    /// From now on other limits hold. What is under way stays; what is too much of it is not
    /// replaced when it ends.
    pub fn retune(&self, limits: &Limits) {
        let Limits {
            max_connections,
            max_requests,
            max_pending_requests,
            queue_timeout,
            max_requests_per_connection,
        } = *limits;
        self.requests.most.store(max_requests, Relaxed);
        self.pending.most.store(max_pending_requests, Relaxed);
        self.queue_timeout_us.store(as_us(queue_timeout), Relaxed);
        self.max_requests_per_connection.store(max_requests_per_connection, Relaxed);
        self.max_connections.store(max_connections, Relaxed);
        self.connections.retune(max_connections);
    }

    /// The limits in force.
    pub fn limits(&self) -> Limits {
        Limits {
            max_connections: self.max_connections.load(Relaxed),
            max_requests: self.requests.most.load(Relaxed),
            max_pending_requests: self.pending.most.load(Relaxed),
            queue_timeout: self.queue_timeout(),
            max_requests_per_connection: self.max_requests_per_connection(),
        }
    }

    /// After so many requests a connection takes no more.
    pub fn max_requests_per_connection(&self) -> u32 {
        self.max_requests_per_connection.load(Relaxed)
    }

    fn queue_timeout(&self) -> Duration {
        Duration::from_micros(self.queue_timeout_us.load(Relaxed))
    }

    /// A place for one request.
    ///
    /// # Errors
    /// [`Reason::OverflowRequests`] when all are taken.
    pub fn try_admit(self: &Arc<Self>) -> Result<RequestTicket, Reason> {
        let is_in = self.requests.try_enter();
        is_in.then(|| RequestTicket(Arc::clone(self))).ok_or(Reason::OverflowRequests)
    }

    /// A place for a connection, at once or not at all.
    ///
    /// # Errors
    /// [`Reason::OverflowConnections`] when all are taken.
    pub fn try_connect(&self) -> Result<ConnectionTicket, Reason> {
        self.connections.try_take().ok_or(Reason::OverflowConnections)
    }

    /// A place for a connection, waited for in the bounded queue.
    ///
    /// # Errors
    /// [`Reason::OverflowPending`] when the queue is full, [`Reason::QueueTimeout`] when no place
    /// came free in time.
    pub async fn connect(&self) -> Result<ConnectionTicket, Reason> {
        if let Some(ticket) = self.connections.try_take() {
            return Ok(ticket);
        }
        let _place = Pending::enter(&self.pending)?;
        let ticket = timeout(self.queue_timeout(), self.connections.take()).await;
        ticket.map_err(|_| Reason::QueueTimeout)
    }

    /// Whether every place for a connection is taken.
    pub fn is_full(&self) -> bool {
        self.connections.taken() >= self.max_connections.load(Relaxed)
    }

    /// Whether a connection has its place here.
    pub fn gave(&self, ticket: &ConnectionTicket) -> bool {
        ticket.is_of(&self.connections)
    }

    /// Requests under way now.
    pub fn requests(&self) -> u32 {
        self.requests.taken.load(Relaxed)
    }

    /// Everything, for pages.
    pub fn facts(&self) -> Facts {
        Facts {
            requests: self.requests(),
            pending: self.pending.taken.load(Relaxed),
            connections: self.connections.taken(),
            limits: self.limits(),
        }
    }
}

impl Drop for RequestTicket {
    fn drop(&mut self) {
        self.0.requests.leave();
    }
}

/// How many are in, and how many may be.
#[derive(Debug)]
struct Counter {
    taken: AtomicU32,
    most: AtomicU32,
}

impl Counter {
    fn new(most: u32) -> Self {
        Self { taken: AtomicU32::new(0), most: AtomicU32::new(most) }
    }

    fn try_enter(&self) -> bool {
        let enter = |taken| (taken < self.most.load(Relaxed)).then(|| taken + 1);
        self.taken.fetch_update(AcqRel, Acquire, enter).is_ok()
    }

    fn leave(&self) {
        self.taken.fetch_sub(1, AcqRel);
    }
}

struct Pending<'a>(&'a Counter);

impl<'a> Pending<'a> {
    fn enter(counter: &'a Counter) -> Result<Self, Reason> {
        counter.try_enter().then(|| Self(counter)).ok_or(Reason::OverflowPending)
    }
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        self.0.leave();
    }
}
