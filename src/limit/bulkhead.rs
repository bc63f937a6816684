//! One service's bulkhead: requests under way, connections, and a bounded queue for connections.

use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::{AcqRel, Relaxed};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::model::{Limits, Reason};

/// The places of one service in this sidecar.
#[derive(Debug)]
pub struct Bulkhead {
    limits: Limits,
    requests: AtomicU32,
    pending: AtomicU32,
    connections: Arc<Semaphore>,
}

/// A request's place; dropped when its answer is through.
#[derive(Debug)]
pub struct RequestTicket(Arc<Bulkhead>);

/// A connection's place; dropped when it closes.
#[derive(Debug)]
pub struct ConnectionTicket(#[allow(dead_code, reason = "held for its drop")] OwnedSemaphorePermit);

impl Bulkhead {
    pub fn new(limits: Limits) -> Arc<Self> {
        let connections = Arc::new(Semaphore::new(limits.max_connections as usize));
        Arc::new(Self {
            limits,
            requests: AtomicU32::new(0),
            pending: AtomicU32::new(0),
            connections,
        })
    }

    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// A place for one request.
    ///
    /// # Errors
    /// [`Reason::OverflowRequests`] when all are taken.
    pub fn try_admit(self: &Arc<Self>) -> Result<RequestTicket, Reason> {
        if self.requests.fetch_add(1, AcqRel) >= self.limits.max_requests {
            self.requests.fetch_sub(1, AcqRel);
            return Err(Reason::OverflowRequests);
        }
        Ok(RequestTicket(Arc::clone(self)))
    }

    /// A place for a connection, at once or not at all.
    ///
    /// # Errors
    /// [`Reason::OverflowConnections`] when all are taken.
    pub fn try_connect(&self) -> Result<ConnectionTicket, Reason> {
        let permit = Arc::clone(&self.connections).try_acquire_owned();
        permit.map(ConnectionTicket).map_err(|_| Reason::OverflowConnections)
    }

    /// A place for a connection, waited for in the bounded queue.
    ///
    /// # Errors
    /// [`Reason::OverflowPending`] when the queue is full, [`Reason::QueueTimeout`] when no place
    /// came free in time.
    pub async fn connect(&self) -> Result<ConnectionTicket, Reason> {
        if let Ok(ticket) = self.try_connect() {
            return Ok(ticket);
        }
        let _place = Pending::enter(self)?;
        let permit = Arc::clone(&self.connections).acquire_owned();
        match timeout(self.limits.queue_timeout, permit).await {
            Ok(Ok(permit)) => Ok(ConnectionTicket(permit)),
            Ok(Err(_)) | Err(_) => Err(Reason::QueueTimeout),
        }
    }

    /// Requests under way now.
    pub fn requests(&self) -> u32 {
        self.requests.load(Relaxed)
    }
}

impl Drop for RequestTicket {
    fn drop(&mut self) {
        self.0.requests.fetch_sub(1, AcqRel);
    }
}

struct Pending<'a>(&'a Bulkhead);

impl<'a> Pending<'a> {
    fn enter(bulkhead: &'a Bulkhead) -> Result<Self, Reason> {
        if bulkhead.pending.fetch_add(1, AcqRel) >= bulkhead.limits.max_pending_requests {
            bulkhead.pending.fetch_sub(1, AcqRel);
            return Err(Reason::OverflowPending);
        }
        Ok(Self(bulkhead))
    }
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        self.0.pending.fetch_sub(1, AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn bulkhead() -> Arc<Bulkhead> {
        Bulkhead::new(Limits {
            max_connections: 1,
            max_requests: 2,
            max_pending_requests: 1,
            queue_timeout: Duration::from_secs(1),
            ..Limits::default()
        })
    }

    #[test]
    fn a_dropped_ticket_gives_its_place_back() {
        let bulkhead = bulkhead();
        let first = bulkhead.try_admit().expect("a place");
        let _second = bulkhead.try_admit().expect("a place");
        assert_eq!(bulkhead.try_admit().err(), Some(Reason::OverflowRequests));
        drop(first);
        assert!(bulkhead.try_admit().is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn the_queue_for_connections_is_bounded_in_length_and_time() {
        let bulkhead = bulkhead();
        let held = bulkhead.connect().await.expect("a place");
        let (waiting, refused) = tokio::join!(bulkhead.connect(), bulkhead.connect());
        assert_eq!(waiting.err(), Some(Reason::QueueTimeout));
        assert_eq!(refused.err(), Some(Reason::OverflowPending));
        drop(held);
        assert!(bulkhead.connect().await.is_ok());
    }
}
