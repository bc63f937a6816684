//! An HTTP/1 connection, driven by the exchange that has it.
//!
//! hyper's connection is a future; here no task of its own polls it, but the exchange does: while it
//! waits for the answer, and through the answer's body. That saves two wake-ups a request, lets an
//! abort reach the far side at once (the connection drops with the exchange), and leaves an idle
//! connection as a plain value in the pool.

use std::future::Future;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Waker};

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::http1::{Builder, Connection, SendRequest};

use super::connect::{Far, Secured, Stream};
use super::{DialError, Pool, SendError};
use crate::http::Body;
use crate::limit::{Bulkhead, ConnectionTicket};
use crate::runtime::clock;
use crate::runtime::hyper_io::HyperIo;

/// Read ahead of a caller who does not take it, at most; and what an answer's head may have. hyper's own
/// 408 KiB, once here and once towards the caller, are close to a megabyte for each who reads slowly.
const BUFFER: usize = 128 * 1024;

/// One connection and its place in the bulkhead.
pub struct H1 {
    sender: SendRequest<Body>,
    /// `None` once it is over: what hyper still holds must come back to whoever waits for it.
    connection: Option<Connection<HyperIo<Stream>, Body>>,
    pub(super) keeps_case: bool,
    pub(super) secured: Secured,
    /// Of the credentials that it was made with.
    pub(super) generation: u32,
    born_us: u64,
    pub(super) served: u32,
    pub(super) idle_since_us: u64,
    ticket: Option<ConnectionTicket>,
}

/// A connection on which an answer is under way; goes back to its pool when the answer is through.
pub struct Lease {
    h1: Option<Box<H1>>,
    pool: Rc<Pool>,
}

impl H1 {
    pub(super) async fn start(
        stream: Stream,
        ticket: Option<ConnectionTicket>,
        far: Far<'_>,
        generation: u32,
    ) -> Result<Box<Self>, DialError> {
        let mut builder = Builder::new();
        builder.preserve_header_case(far.keeps_case).max_buf_size(BUFFER);
        let (sender, connection) =
            builder.handshake(HyperIo(stream)).await.map_err(DialError::Http1)?;
        Ok(Box::new(Self {
            sender,
            connection: Some(connection),
            keeps_case: far.keeps_case,
            secured: far.secured(),
            generation,
            born_us: clock::now_us(),
            served: 0,
            idle_since_us: 0,
            ticket,
        }))
    }

    /// True when it can take a request. That the far side has closed it meanwhile is found out by
    /// the request, which then was not sent and takes another connection.
    pub(super) fn is_ready(&self) -> bool {
        self.connection.is_some() && self.sender.is_ready()
    }

    /// Whether somebody waits for the place that it has.
    pub(super) fn is_wanted(&self) -> bool {
        self.ticket.as_ref().is_some_and(ConnectionTicket::is_wanted)
    }

    pub(super) fn has_place(&self, bulkhead: &Bulkhead) -> bool {
        self.ticket.as_ref().is_some_and(|ticket| bulkhead.gave(ticket))
    }

    fn poll(&mut self, cx: &mut Context<'_>) {
        if let Some(connection) = &mut self.connection
            && Pin::new(connection).poll(cx).is_ready()
        {
            self.connection = None;
        }
    }

    /// Sends a request and waits for the head of its answer.
    ///
    /// # Errors
    /// The connection is gone; the error has the request where none of it was sent.
    pub async fn send(
        mut self: Box<Self>,
        request: Request<Body>,
        pool: &Rc<Pool>,
    ) -> Result<(Response<Incoming>, Lease), SendError> {
        let mut answer = pin!(self.sender.try_send_request(request));
        let answered = std::future::poll_fn(|cx| {
            self.poll(cx);
            answer.as_mut().poll(cx)
        })
        .await;
        match answered {
            Ok(response) => Ok((response, Lease { h1: Some(self), pool: Rc::clone(pool) })),
            Err(mut error) => {
                let unsent = error.take_message();
                Err(SendError::from_hyper(&error.into_error(), unsent, self.served == 0))
            }
        }
    }
}

impl H1 {
    /// Sends a request that may leave HTTP; the connection gets a task of its own and lives on as
    /// the tunnel.
    ///
    /// # Errors
    /// See [`H1::send`].
    pub async fn send_switching(
        self: Box<Self>,
        request: Request<Body>,
    ) -> Result<Response<Incoming>, SendError> {
        let Self { mut sender, connection, ticket, .. } = *self;
        tokio::task::spawn_local(async move {
            // Its errors reach the exchange or the tunnel, which report them.
            if let Some(connection) = connection {
                let _ = connection.with_upgrades().await;
            }
            drop(ticket);
        });
        sender
            .send_request(request)
            .await
            .map_err(|error| SendError::from_hyper(&error, None, true))
    }
}

impl Lease {
    /// When the connection was made.
    pub fn born_us(&self) -> u64 {
        self.h1.as_ref().map_or(0, |h1| h1.born_us)
    }

    /// Moves the answer's body, and what is left of the request's.
    pub fn drive(&mut self, cx: &mut Context<'_>) {
        if let Some(h1) = &mut self.h1 {
            h1.poll(cx);
        }
    }

    /// The answer is through: the connection goes back, unless it can't be used again.
    pub fn finish(&mut self, now_us: u64) {
        let Some(mut h1) = self.h1.take() else { return };
        // The last bytes may not have been taken in yet; no one needs to be woken for that.
        if !h1.is_ready() {
            h1.poll(&mut Context::from_waker(Waker::noop()));
        }
        if h1.is_ready() {
            h1.served += 1;
            h1.idle_since_us = now_us;
            self.pool.give_back(h1);
        }
    }
}

impl std::fmt::Debug for Lease {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lease").finish_non_exhaustive()
    }
}
