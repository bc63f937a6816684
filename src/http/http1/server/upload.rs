//! The body of the request under way, and what else a caller says before it has its answer.

use std::future::Future;
use std::task::{Context, Poll};

use bytes::Buf;
use http::{Request, Response};
use tokio::io::{AsyncRead, AsyncWrite};

use super::{At, Connection};
use crate::http::guard::{Part, Then, trailers};
use crate::http::http1::Broken;
use crate::http::http1::channel::{Channel, Wish};
use crate::http::{Body, spare};
use crate::runtime::turns;

/// Of a body that nobody wants, so much is read in one go.
const DROPPED: usize = 64 * 1024;

impl<IO, S, F, E> Connection<IO, S, F>
where
    IO: AsyncRead + AsyncWrite + Unpin,
    S: Fn(Request<Body>) -> F,
    F: Future<Output = Result<Response<Body>, E>> + Unpin,
{
    /// The body of the request whose head was taken.
    pub(super) fn body(&mut self) -> Body {
        let length = self.guard.length();
        match length {
            _ if !self.guard.in_body() => Body::empty(),
            Some(length) if length <= self.buf.len() as u64 => {
                let length = length as usize;
                self.guard.next(&self.buf[..length]);
                Body::full(spare::split(&mut self.buf, length))
            }
            length => {
                let channel = self.upload.insert(Channel::default());
                Body::message(channel.receiver(length))
            }
        }
    }

    /// While the service is busy: gives it of the body what it wants, or else hears whether the caller
    /// is still there. Whether the service may go on.
    pub(super) fn listen(&mut self, cx: &mut Context<'_>) -> Result<bool, Broken> {
        let flushed = self.out.poll_flush(&mut self.io, cx)?;
        match self.upload.as_ref().map(|upload| upload.wish(cx)) {
            Some(Wish::Wanted) => {}
            Some(Wish::NotNow) => return Ok(false),
            Some(Wish::Never) | None => {
                self.upload = None;
                return match flushed.is_ready() && self.is_gone(cx)? {
                    true => Err(Broken::Closed),
                    false => Ok(false),
                };
            }
        }
        if self.take_expects() {
            self.out.bytes().extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
        }
        let _ = self.out.poll_flush(&mut self.io, cx)?;
        self.feed(cx)
    }

    /// Whether the caller is to be told that its body is wanted (RFC 9110 section 10.1.1).
    fn take_expects(&mut self) -> bool {
        std::mem::take(&mut self.asked.expects)
            && matches!(self.at, At::Asked(_))
            && self.buf.is_empty()
    }

    /// Reads a piece of the request's body; false where none has come.
    fn feed(&mut self, cx: &mut Context<'_>) -> Result<bool, Broken> {
        loop {
            let end = match self.guard.next(&self.buf) {
                Part::Data(bytes) => {
                    let data = spare::split(&mut self.buf, bytes);
                    let Some(upload) = &self.upload else { return Ok(true) };
                    upload.fill(data, cx);
                    if self.guard.in_body() {
                        return Ok(true);
                    }
                    Ok(None)
                }
                Part::Frame(bytes) => {
                    self.buf.advance(bytes);
                    continue;
                }
                Part::Trailers(bytes) => {
                    let fields = trailers(&self.buf[..bytes]);
                    self.buf.advance(bytes);
                    Ok(Some(fields))
                }
                Part::Stop(Then::More) => match self.poll_read(cx) {
                    Ok(Poll::Pending) => return Ok(false),
                    Ok(Poll::Ready(0)) => Err(Broken::Closed),
                    Ok(Poll::Ready(_)) => continue,
                    Err(error) => Err(error.into()),
                },
                Part::Stop(Then::Refuse(violation)) => {
                    self.gate.refuse_body(violation);
                    Err(Broken::Refused(violation))
                }
                Part::Stop(Then::Hold) | Part::Head(..) | Part::Tunnel(_) => Ok(None),
            };
            self.is_deaf |= end.is_err();
            if let Some(upload) = self.upload.take() {
                upload.end(end, cx);
            }
            return Ok(true);
        }
    }

    /// Whether another request may come: all of the last one's body has, read or not.
    pub(super) fn is_next(&mut self, cx: &mut Context<'_>) -> Result<bool, Broken> {
        self.upload = None;
        Ok(self.is_past_body()
            || matches!(self.poll_read(cx)?, Poll::Ready(1..)) && self.is_past_body())
    }

    /// Whether the body is over; what has come of it is dropped.
    fn is_past_body(&mut self) -> bool {
        while self.guard.in_body() {
            match self.guard.next(&self.buf) {
                Part::Data(bytes) | Part::Frame(bytes) | Part::Trailers(bytes) => {
                    self.buf.advance(bytes);
                }
                Part::Stop(then) => {
                    self.is_deaf |= matches!(then, Then::Refuse(_));
                    return false;
                }
                Part::Head(..) | Part::Tunnel(_) => return false,
            }
        }
        true
    }

    /// Whether the caller has closed the connection, as far as its next request lets us see.
    pub(super) fn is_gone(&mut self, cx: &mut Context<'_>) -> Result<bool, Broken> {
        let mut dropped = 0;
        loop {
            let is_past_body = self.is_past_body();
            if self.is_deaf || is_past_body && !self.buf.is_empty() {
                return Ok(false);
            }
            if dropped >= DROPPED {
                turns::end(cx);
                return Ok(false);
            }
            match self.poll_read(cx)? {
                Poll::Pending => return Ok(false),
                Poll::Ready(0) => return Ok(true),
                Poll::Ready(read) => dropped += read,
            }
        }
    }
}
