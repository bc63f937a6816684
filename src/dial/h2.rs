//! HTTP/2 connections, shared by the requests of one worker.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::http2::{Builder, SendRequest};

use super::connect::Stream;
use super::{DialError, SendError};
use crate::http::Body;
use crate::http::hyper_io::{HyperIo, OnWorker, WorkerTimer};
use crate::limit::ConnectionTicket;
use crate::runtime::clock::{self, Rng};

/// Streams under way on one connection; more take a second one.
pub(super) const STREAMS: u32 = 256;
/// A stream may have this much on the way to us that nobody has read yet.
pub const STREAM_WINDOW: u32 = 64 * 1024;
/// Room for every stream to be stalled at once without stalling another.
pub const CONNECTION_WINDOW: u32 = STREAM_WINDOW * STREAMS;
/// A stream holds at most this much that the peer does not take.
const SEND_BUFFER: usize = 64 * 1024;
const PING: Duration = Duration::from_secs(10);
const PONG: Duration = Duration::from_secs(5);
/// Connections between sidecars are made anew after an hour, give or take six minutes.
const RENEW_US: u64 = 3_600_000_000;

/// One connection.
#[derive(Debug)]
pub struct H2 {
    sender: SendRequest<Body>,
    streams: Cell<u32>,
    served: Cell<u32>,
    renew_at_us: u64,
    idle_since_us: Cell<u64>,
}

/// One stream under way.
#[derive(Debug)]
pub struct StreamLease(Rc<H2>);

impl H2 {
    pub(super) async fn start(
        stream: Stream,
        ticket: Option<ConnectionTicket>,
        rng: &mut Rng,
    ) -> Result<Rc<Self>, DialError> {
        let (sender, connection) = Builder::new(OnWorker)
            .timer(WorkerTimer)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_send_buf_size(SEND_BUFFER)
            .max_header_list_size(64 * 1024)
            .keep_alive_interval(PING)
            .keep_alive_timeout(PONG)
            .keep_alive_while_idle(true)
            .handshake(HyperIo(stream))
            .await
            .map_err(DialError::Http2)?;
        tokio::task::spawn_local(async move {
            // Its errors reach the requests on it; an idle one just leaves the pool.
            let _ = connection.await;
            drop(ticket);
        });
        let jitter_us = (RENEW_US as f64 * 0.2 * (rng.unit() - 0.5)) as i64;
        Ok(Rc::new(Self {
            sender,
            streams: Cell::new(0),
            served: Cell::new(0),
            renew_at_us: clock::now_us() + RENEW_US.saturating_add_signed(jitter_us),
            idle_since_us: Cell::new(clock::now_us()),
        }))
    }

    /// True when it takes another stream now.
    pub(super) fn has_room(&self, max_requests: u32, now_us: u64) -> bool {
        self.streams.get() < STREAMS && self.may_stay(max_requests, now_us)
    }

    pub(super) fn may_stay(&self, max_requests: u32, now_us: u64) -> bool {
        !self.sender.is_closed() && self.served.get() < max_requests && now_us < self.renew_at_us
    }

    pub(super) fn is_idle_since(&self, now_us: u64, idle_us: u64) -> bool {
        self.streams.get() == 0 && now_us.saturating_sub(self.idle_since_us.get()) >= idle_us
    }

    pub(super) fn take_stream(self: &Rc<Self>) -> StreamLease {
        self.streams.set(self.streams.get() + 1);
        self.served.set(self.served.get() + 1);
        StreamLease(Rc::clone(self))
    }
}

impl StreamLease {
    /// Sends a request and waits for the head of its answer.
    ///
    /// # Errors
    /// The stream or its connection is gone; the error has the request where none of it was sent.
    pub async fn send(&self, request: Request<Body>) -> Result<Response<Incoming>, SendError> {
        let mut sender = self.0.sender.clone();
        sender.try_send_request(request).await.map_err(|mut error| {
            let unsent = error.take_message();
            SendError::from_hyper(&error.into_error(), unsent)
        })
    }
}

impl Drop for StreamLease {
    fn drop(&mut self) {
        let left = self.0.streams.get() - 1;
        self.0.streams.set(left);
        if left == 0 {
            self.0.idle_since_us.set(clock::now_us());
        }
    }
}
