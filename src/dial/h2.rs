//! HTTP/2 connections, shared by the requests of one worker.
//!
//! A body that is there already goes out with its head; one that is not gets a task, so that a caller
//! who does not read answers can still send.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;

use http::{Request, Response};
use tokio::task::AbortHandle;

use super::SendError;
use super::connect::{Secured, Stream};
use crate::http::Body;
use crate::http::http2::{self, Broken, Client, Code, Pump, Receiver};
use crate::limit::{Bulkhead, ConnectionTicket};
use crate::runtime::clock::{self, Rng};
use crate::runtime::rehearsal::{self, At};

/// Connections between sidecars are made anew after an hour, give or take six minutes.
const RENEW_US: u64 = 3_600_000_000;

/// One connection.
pub struct H2 {
    client: Client,
    secured: Secured,
    /// Held with the connection's own task.
    ticket: Option<Rc<ConnectionTicket>>,
    streams: Cell<u32>,
    served: Cell<u32>,
    born_us: u64,
    renew_at_us: u64,
    idle_since_us: Cell<u64>,
}

/// One stream under way. Dropped before its answer is through, it resets the stream.
pub struct StreamLease {
    h2: Rc<H2>,
    /// The rest of the request's body, where it was not there at once.
    upload: RefCell<Option<AbortHandle>>,
}

impl H2 {
    pub(super) fn start(
        stream: Stream,
        ticket: Option<ConnectionTicket>,
        secured: Secured,
        rng: &mut Rng,
    ) -> Rc<Self> {
        // Servers that are no sidecars take pings for an offence.
        let (client, connection) = http2::start(stream, secured == Secured::Mesh);
        let ticket = ticket.map(Rc::new);
        tokio::task::spawn_local(run(connection, ticket.clone()));
        let jitter_us = (RENEW_US as f64 * 0.2 * (rng.unit() - 0.5)) as i64;
        Rc::new(Self {
            client,
            secured,
            ticket,
            streams: Cell::new(0),
            served: Cell::new(0),
            born_us: clock::now_us(),
            renew_at_us: clock::now_us() + RENEW_US.saturating_add_signed(jitter_us),
            idle_since_us: Cell::new(clock::now_us()),
        })
    }

    /// True when it takes another stream now.
    pub(super) fn has_room(&self, secured: Secured, max_requests: u32, now_us: u64) -> bool {
        self.secured == secured && self.client.has_room() && self.may_stay(max_requests, now_us)
    }

    pub(super) fn may_stay(&self, max_requests: u32, now_us: u64) -> bool {
        self.client.is_open() && self.served.get() < max_requests && now_us < self.renew_at_us
    }

    /// Whether it takes no more requests, or its place is wanted and it has nothing to do.
    pub(super) fn should_leave(&self, max_requests: u32) -> bool {
        let is_wanted = || self.ticket.as_ref().is_some_and(|ticket| ticket.is_wanted());
        self.served.get() >= max_requests || self.is_idle() && is_wanted()
    }

    pub(super) fn is_idle(&self) -> bool {
        self.streams.get() == 0
    }

    pub(super) fn has_place(&self, bulkhead: &Bulkhead) -> bool {
        self.ticket.as_ref().is_some_and(|ticket| bulkhead.gave(ticket))
    }

    pub(super) fn is_idle_since(&self, now_us: u64, idle_us: u64) -> bool {
        self.streams.get() == 0 && now_us.saturating_sub(self.idle_since_us.get()) >= idle_us
    }

    pub(super) fn take_stream(self: &Rc<Self>) -> StreamLease {
        self.streams.set(self.streams.get() + 1);
        self.served.set(self.served.get() + 1);
        StreamLease { h2: Rc::clone(self), upload: RefCell::default() }
    }
}

/// Moves the connection until it ends.
async fn run(
    connection: impl Future<Output = Result<(), Broken>>,
    ticket: Option<Rc<ConnectionTicket>>,
) {
    rehearsal::pass(At::Upstream);
    // Its errors reach the streams on it; an idle connection just leaves the pool.
    if let Err(Broken::Silent) = connection.await {
        tracing::debug!("an HTTP/2 peer answered no ping for 5 s; its connection ends");
    }
    drop(ticket);
}

impl StreamLease {
    /// Sends a request and waits for the head of its answer.
    ///
    /// # Errors
    /// The stream or its connection is gone.
    pub async fn send(&self, request: Request<Body>) -> Result<Response<Body>, SendError> {
        let (parts, body) = request.into_parts();
        let handle = match self.h2.client.send(&parts, body.is_empty()) {
            Ok(handle) => handle,
            Err(broken) => {
                let request = Request::from_parts(parts, body);
                return Err(SendError::from_http2(&broken, Some(request)));
            }
        };
        if !body.is_empty() {
            let mut upload = Pump::new(Rc::clone(&handle), body, Code::CANCEL);
            let done = poll_fn(|cx| Poll::Ready(Pin::new(&mut upload).poll(cx).is_ready())).await;
            if !done {
                let upload = tokio::task::spawn_local(upload).abort_handle();
                self.upload.replace(Some(upload));
            }
        }
        let head = poll_fn(|cx| handle.poll_head(cx)).await;
        let head = head.map_err(|broken| SendError::from_http2(&broken, None))?;
        Ok(head.map(|()| Body::stream(Receiver::new(handle))))
    }
}

impl StreamLease {
    /// When the connection was made.
    pub fn born_us(&self) -> u64 {
        self.h2.born_us
    }

    /// The answer is through; what is left of the request may still go out.
    pub fn finish(&self) {
        self.upload.take();
    }

    /// Whether another request used the connection before this one.
    pub(super) fn was_used(&self) -> bool {
        self.h2.served.get() > 1
    }
}

impl Drop for StreamLease {
    fn drop(&mut self) {
        if let Some(upload) = self.upload.take() {
            upload.abort();
        }
        let left = self.h2.streams.get() - 1;
        self.h2.streams.set(left);
        if left == 0 {
            self.h2.idle_since_us.set(clock::now_us());
        }
    }
}

impl std::fmt::Debug for StreamLease {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StreamLease").finish_non_exhaustive()
    }
}
