//! An HTTP/1 connection, driven by the exchange that has it.
//!
//! No task of its own polls it, but the exchange does: while it waits for the answer, and through the
//! answer's body. That saves two wake-ups a request, lets an abort reach the far side at once (the
//! connection drops with the exchange), and leaves an idle connection as a plain value in the pool.

use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use http::{Request, Response};

use super::connect::{Far, Secured, Stream};
use super::{Pool, SendError};
use crate::http::Body;
use crate::http::http1::Client;
use crate::limit::{Bulkhead, ConnectionTicket};
use crate::runtime::{Prefixed, clock};

/// One connection and its place in the bulkhead.
pub struct H1 {
    client: Client<Stream>,
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
    pub(super) fn start(
        stream: Stream,
        ticket: Option<ConnectionTicket>,
        far: Far<'_>,
        generation: u32,
    ) -> Box<Self> {
        Box::new(Self {
            client: Client::new(stream, far.keeps_case),
            keeps_case: far.keeps_case,
            secured: far.secured(),
            generation,
            born_us: clock::now_us(),
            served: 0,
            idle_since_us: 0,
            ticket,
        })
    }

    /// True when it can take a request. That the far side has closed it meanwhile is found out by
    /// the request, which then was not sent and takes another connection.
    pub(super) fn is_ready(&self) -> bool {
        self.client.is_ready()
    }

    /// Whether somebody waits for the place that it has.
    pub(super) fn is_wanted(&self) -> bool {
        self.ticket.as_ref().is_some_and(ConnectionTicket::is_wanted)
    }

    pub(super) fn has_place(&self, bulkhead: &Bulkhead) -> bool {
        self.ticket.as_ref().is_some_and(|ticket| bulkhead.gave(ticket))
    }

    /// Sends a request and waits for the head of its answer.
    ///
    /// # Errors
    /// The connection is gone; the error has the request where none of it was sent.
    async fn ask(&mut self, request: Request<Body>) -> Result<Response<Body>, SendError> {
        let mut request = Some(request);
        let answered = poll_fn(|cx| {
            if let Some(request) = request.take()
                && let Err(unsent) = self.client.begin(request, cx)
            {
                let (broken, request) = *unsent;
                return Poll::Ready(Err((broken, Some(request))));
            }
            self.client.poll_head(cx).map_err(|broken| (broken, None))
        });
        let answered = answered.await;
        let is_fresh = self.served == 0;
        answered.map_err(|(broken, unsent)| SendError::from_http1(&broken, unsent, is_fresh))
    }

    /// The same; the answer's body comes with what moves it.
    ///
    /// # Errors
    /// See [`H1::ask`].
    pub async fn send(
        mut self: Box<Self>,
        request: Request<Body>,
        pool: &Rc<Pool>,
    ) -> Result<(Response<Body>, Lease), SendError> {
        let response = self.ask(request).await?;
        Ok((response, Lease { h1: Some(self), pool: Rc::clone(pool) }))
    }

    /// Sends a request that may leave HTTP. If `is_granted`, gives the connection that becomes the
    /// tunnel; else it has a task of its own until the answer is through.
    ///
    /// # Errors
    /// See [`H1::ask`].
    pub async fn send_switching(
        mut self: Box<Self>,
        request: Request<Body>,
        is_granted: impl FnOnce(&Response<Body>) -> bool,
    ) -> Result<(Response<Body>, Option<Prefixed<Stream>>), SendError> {
        let response = self.ask(request).await?;
        if is_granted(&response) {
            let (read, stream) = self.client.into_parts();
            return Ok((response, Some(Prefixed::new(read, stream))));
        }
        tokio::task::spawn_local(poll_fn(move |cx| {
            self.client.poll(cx);
            if self.client.is_through() { Poll::Ready(()) } else { Poll::Pending }
        }));
        Ok((response, None))
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
            h1.client.poll(cx);
        }
    }

    /// The answer is through: the connection goes back, unless it can't be used again.
    pub fn finish(&mut self, now_us: u64) {
        let Some(mut h1) = self.h1.take() else { return };
        // The last bytes may not have been taken in yet; no one needs to be woken for that.
        if !h1.is_ready() {
            h1.client.poll(&mut Context::from_waker(Waker::noop()));
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
