//! HTTP/2 connections, shared by the requests of one worker.
//!
//! The `h2` crate directly: hyper's client would send each request through a channel to a task of
//! its own and the answer back through another. A body that is there already goes out with its
//! head; one that is not gets a task, so that a caller who does not read answers can still send.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use h2::client::{Builder, Connection, SendRequest};
use h2::{Ping, PingPong, Reason, SendStream};
use http::{HeaderMap, Request, Response};
use http_body::Body as _;
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};

use super::connect::{Secured, Stream};
use super::{DialError, SendError};
use crate::http::Body;
use crate::http::headers::EVER_NEW;
use crate::limit::{Bulkhead, ConnectionTicket};
use crate::runtime::clock::{self, Rng};
use crate::runtime::rehearsal::{self, At};

/// Streams under way on one connection; more take a second one.
const STREAMS: u32 = 256;
/// A stream may have this much on the way to us that nobody has read yet.
const STREAM_WINDOW: u32 = 64 * 1024;
/// Room for every stream to be stalled at once without stalling another.
const CONNECTION_WINDOW: u32 = STREAM_WINDOW * STREAMS;
/// A stream holds at most this much that the peer does not take.
const SEND_BUFFER: usize = 64 * 1024;
const HEADER_LIST: u32 = 64 * 1024;
const PING: Duration = Duration::from_secs(10);
const PONG: Duration = Duration::from_secs(5);
/// Connections between sidecars are made anew after an hour, give or take six minutes.
const RENEW_US: u64 = 3_600_000_000;

/// One connection.
pub struct H2 {
    sender: SendRequest<Bytes>,
    closed: Rc<Cell<bool>>,
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
    pub(super) async fn start(
        stream: Stream,
        ticket: Option<ConnectionTicket>,
        secured: Secured,
        rng: &mut Rng,
    ) -> Result<Rc<Self>, DialError> {
        let (sender, connection) = Builder::new()
            .initial_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_send_buffer_size(SEND_BUFFER)
            .max_header_list_size(HEADER_LIST)
            .enable_push(false)
            .handshake(stream)
            .await
            .map_err(DialError::Http2)?;
        let closed = Rc::new(Cell::new(false));
        let ticket = ticket.map(Rc::new);
        tokio::task::spawn_local(run(connection, Rc::clone(&closed), ticket.clone()));
        let jitter_us = (RENEW_US as f64 * 0.2 * (rng.unit() - 0.5)) as i64;
        Ok(Rc::new(Self {
            sender,
            closed,
            secured,
            ticket,
            streams: Cell::new(0),
            served: Cell::new(0),
            born_us: clock::now_us(),
            renew_at_us: clock::now_us() + RENEW_US.saturating_add_signed(jitter_us),
            idle_since_us: Cell::new(clock::now_us()),
        }))
    }

    /// True when it takes another stream now.
    pub(super) fn has_room(&self, secured: Secured, max_requests: u32, now_us: u64) -> bool {
        let allowed = u32::try_from(self.sender.current_max_send_streams()).unwrap_or(STREAMS);
        self.secured == secured
            && self.streams.get() < allowed.clamp(1, STREAMS)
            && self.may_stay(max_requests, now_us)
    }

    pub(super) fn may_stay(&self, max_requests: u32, now_us: u64) -> bool {
        !self.closed.get() && self.served.get() < max_requests && now_us < self.renew_at_us
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

/// Moves the connection until it ends or its peer no longer answers pings.
async fn run(
    mut connection: Connection<Stream, Bytes>,
    closed: Rc<Cell<bool>>,
    ticket: Option<Rc<ConnectionTicket>>,
) {
    // However this ends: nobody takes it for one that lives.
    let _closed = Closing(closed);
    rehearsal::pass(At::Upstream);
    let pings = connection.ping_pong();
    let dead = async {
        match pings {
            Some(pings) => unanswered(pings).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        biased;
        // Its errors reach the streams on it; an idle connection just leaves the pool.
        _ = &mut connection => {}
        () = dead => tracing::debug!("an HTTP/2 peer answered no ping for 5 s; its connection ends"),
    }
    drop(ticket);
}

struct Closing(Rc<Cell<bool>>);

impl Drop for Closing {
    fn drop(&mut self) {
        self.0.set(true);
    }
}

async fn unanswered(mut pings: PingPong) {
    loop {
        sleep(PING).await;
        match timeout(PONG, pings.ping(Ping::opaque())).await {
            Ok(Ok(_)) => {}
            Ok(Err(_)) | Err(_) => return,
        }
    }
}

impl StreamLease {
    /// Sends a request and waits for the head of its answer.
    ///
    /// # Errors
    /// The stream or its connection is gone.
    pub async fn send(&self, request: Request<Body>) -> Result<Response<Body>, SendError> {
        let mut sender = self.h2.sender.clone();
        if let Err(error) = poll_fn(|cx| sender.poll_ready(cx)).await {
            self.h2.closed.set(true);
            return Err(SendError::from_h2(error, Some(request)));
        }
        let (mut parts, body) = request.into_parts();
        if !self.was_used() {
            tell_names(&mut parts.headers);
        }
        let head = Request::from_parts(parts, ());
        let sent = sender.send_request(head, body.is_empty());
        let (answer, stream) = sent.map_err(|error| SendError::from_h2(error, None))?;
        if !body.is_empty() {
            let mut upload = Upload { stream, body, waiting: None };
            let done = poll_fn(|cx| Poll::Ready(Pin::new(&mut upload).poll(cx).is_ready())).await;
            if !done {
                let upload = tokio::task::spawn_local(upload).abort_handle();
                self.upload.replace(Some(upload));
            }
        }
        let answer = answer.await.map_err(|error| SendError::from_h2(error, None))?;
        Ok(answer.map(Body::stream))
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

/// HPACK says a name by its number only where its table has an entry of that name, and makes one only
/// of a header that is not kept out of it: so a connection's first request puts [`EVER_NEW`] in. Only
/// the first: the table is searched entry by entry of a name. Measured: 4 % of a pair's instructions.
fn tell_names(headers: &mut HeaderMap) {
    for name in &EVER_NEW {
        if let Some(value) = headers.get_mut(name) {
            value.set_sensitive(false);
        }
    }
}

/// A request's body on its way, as fast as the peer takes it.
struct Upload {
    stream: SendStream<Bytes>,
    body: Body,
    /// Read, but there is no room for it yet.
    waiting: Option<Bytes>,
}

impl Future for Upload {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        // A peer that resets its side, or answers early and closes it, wants no more.
        if this.stream.poll_reset(cx).is_ready() {
            return Poll::Ready(());
        }
        match ready!(this.poll_all(cx)) {
            Ok(()) => {}
            // Never a clean end: the far side must not take half a body for a whole one.
            Err(()) => this.stream.send_reset(Reason::CANCEL),
        }
        Poll::Ready(())
    }
}

impl Upload {
    fn poll_all(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ()>> {
        loop {
            if let Some(data) = &mut self.waiting {
                let room = match self.stream.capacity() {
                    0 => match ready!(self.stream.poll_capacity(cx)) {
                        Some(Ok(room)) => room,
                        Some(Err(_)) | None => return Poll::Ready(Err(())),
                    },
                    room => room,
                };
                let piece = data.split_to(room.min(data.len()));
                let whole = data.is_empty();
                let last = whole && self.body.is_end_stream();
                if whole {
                    self.waiting = None;
                }
                self.stream.send_data(piece, last).map_err(drop)?;
                if last {
                    return Poll::Ready(Ok(()));
                }
                continue;
            }
            match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) if data.is_empty() => {
                        if self.body.is_end_stream() {
                            return Poll::Ready(self.end());
                        }
                    }
                    Ok(data) => {
                        self.stream.reserve_capacity(data.len());
                        self.waiting = Some(data);
                    }
                    Err(frame) => {
                        if let Ok(trailers) = frame.into_trailers() {
                            return Poll::Ready(self.stream.send_trailers(trailers).map_err(drop));
                        }
                    }
                },
                Some(Err(_)) => return Poll::Ready(Err(())),
                None => return Poll::Ready(self.end()),
            }
        }
    }

    fn end(&mut self) -> Result<(), ()> {
        self.stream.send_data(Bytes::new(), true).map_err(drop)
    }
}
