//! The end that asks: one exchange at a time, moved by whoever has the connection.

use std::io;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes, BytesMut};
use http::{Method, Request, Response, StatusCode};
use tokio::io::{AsyncRead, AsyncWrite};

use super::HEAD;
use super::broken::Broken;
use super::channel::{Channel, Wish};
use super::coding::{self, Coding, is_bodiless};
use super::frame::Framing;
use super::head;
use super::out::Out;
use super::pump::{Pump, Pumped};
use crate::http::guard::{Progress, trailers};
use crate::http::{Body, spare};

/// A connection.
pub struct Client<IO> {
    io: IO,
    keeps_case: bool,
    buf: BytesMut,
    bulk: spare::Reads,
    out: Out,
    /// What is left of the request's body.
    pump: Option<Pump>,
    reads: Reads,
    is_head: bool,
    is_connect: bool,
    /// It may have another exchange after this one.
    keeps: bool,
    /// Why nothing more can be written: what came before is read still.
    cut: Option<Broken>,
}

/// What is read next.
enum Reads {
    Nothing,
    /// So much of the head is there already, which is not whole.
    Head(usize),
    Body(Coding, Channel),
}

impl<IO: AsyncRead + AsyncWrite + Unpin> Client<IO> {
    /// `keeps_case` keeps the letter case of names.
    pub fn new(io: IO, keeps_case: bool) -> Self {
        Self {
            io,
            keeps_case,
            buf: BytesMut::new(),
            bulk: spare::Reads::default(),
            out: Out::default(),
            pump: None,
            reads: Reads::Nothing,
            is_head: false,
            is_connect: false,
            keeps: true,
            cut: None,
        }
    }

    /// Whether it takes a request.
    pub fn is_ready(&self) -> bool {
        self.keeps
            && matches!(self.reads, Reads::Nothing)
            && self.pump.is_none()
            && self.out.is_flushed()
    }

    /// Whether its exchange is over.
    pub fn is_through(&self) -> bool {
        matches!(self.reads, Reads::Nothing)
    }

    /// What was read and not taken, and the stream.
    pub fn into_parts(self) -> (Bytes, IO) {
        (self.buf.freeze(), self.io)
    }

    /// Begins an exchange.
    ///
    /// # Errors
    /// The server has closed the connection, and nothing was sent: the request is returned.
    pub fn begin(
        &mut self,
        request: Request<Body>,
        cx: &mut Context<'_>,
    ) -> Result<(), Box<(Broken, Request<Body>)>> {
        let come = match self.poll_read(cx) {
            Ok(Poll::Pending) => None,
            Ok(Poll::Ready(0)) => Some(Broken::Closed),
            Ok(Poll::Ready(_)) => Some(Broken::Unasked),
            Err(error) => Some(error.into()),
        };
        if let Some(broken) = come {
            self.keeps = false;
            return Err(Box::new((broken, request)));
        }
        let (parts, body) = request.into_parts();
        self.is_head = parts.method == Method::HEAD;
        self.is_connect = parts.method == Method::CONNECT;
        let framing = head::write_request(parts, &body, self.out.bytes());
        self.pump = match framing {
            Framing::None => None,
            framing => Some(Pump::new(body, framing)),
        };
        self.reads = Reads::Head(0);
        self.bulk = spare::Reads::default();
        Ok(())
    }

    /// Moves the request out, and waits for the head of the answer.
    ///
    /// # Errors
    /// There will be none.
    pub fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<Response<Body>, Broken>> {
        self.write(cx)?;
        loop {
            let Reads::Head(seen) = self.reads else { return Poll::Ready(Err(Broken::Cut)) };
            if self.buf.len() > seen {
                match self.head(seen) {
                    Ok(None) => continue,
                    Ok(Some(response)) => return Poll::Ready(Ok(response)),
                    Err(broken) => {
                        self.keeps = false;
                        return Poll::Ready(Err(broken));
                    }
                }
            }
            match self.poll_read(cx) {
                Ok(Poll::Pending) => return Poll::Pending,
                Ok(Poll::Ready(0)) => return Poll::Ready(Err(self.why(Broken::Closed))),
                Ok(Poll::Ready(_)) => {}
                Err(error) => return Poll::Ready(Err(self.why(error.into()))),
            }
        }
    }

    /// What is to be said of it: that nothing could be written says least.
    fn why(&mut self, broken: Broken) -> Broken {
        self.keeps = false;
        match (broken, self.cut.take()) {
            (Broken::Closed, Some(cut)) => cut,
            (broken, _) => broken,
        }
    }

    /// Reads the head, of which `seen` bytes did not make a whole one.
    fn head(&mut self, seen: usize) -> Result<Option<Response<Body>>, Broken> {
        if seen > 0 && !has_end(&self.buf, seen) {
            return self.unfinished();
        }
        let Some((response, told, bytes)) = head::response(&self.buf, self.keeps_case)? else {
            return self.unfinished();
        };
        self.buf.advance(bytes);
        let status = response.status();
        let is_switch =
            status == StatusCode::SWITCHING_PROTOCOLS || self.is_connect && status.is_success();
        if status.is_informational() && !is_switch {
            self.reads = Reads::Head(0);
            return Ok(None);
        }
        self.keeps &= told.keeps && !is_switch;
        let (mut parts, ()) = response.into_parts();
        self.reads = Reads::Nothing;
        if is_switch {
            return Ok(Some(Response::from_parts(parts, Body::empty())));
        }
        let body = if is_bodiless(status, self.is_head) {
            let length = coding::length(&parts.headers).ok().flatten();
            coding::say_once(&mut parts.headers, length);
            Body::empty()
        } else {
            let coding = Coding::of(told.version, &mut parts.headers);
            let (coding, keeps) = coding.map_err(Broken::Malformed)?;
            self.keeps &= keeps;
            self.body(coding)
        };
        self.look_behind();
        Ok(Some(Response::from_parts(parts, body)))
    }

    fn unfinished(&mut self) -> Result<Option<Response<Body>>, Broken> {
        if self.buf.len() > HEAD {
            return Err(Broken::Malformed("its head has more than 128 KiB"));
        }
        self.reads = Reads::Head(self.buf.len());
        Ok(None)
    }

    fn body(&mut self, coding: Coding) -> Body {
        match coding {
            Coding::Length(0) => Body::empty(),
            Coding::Length(length) if length <= self.buf.len() as u64 => {
                Body::full(spare::split(&mut self.buf, length as usize))
            }
            coding => {
                let channel = Channel::default();
                let body = Body::message(channel.receiver(coding.length()));
                self.reads = Reads::Body(coding, channel);
                body
            }
        }
    }

    /// A server that says more than it was asked is not asked again.
    fn look_behind(&mut self) {
        if self.buf.is_empty() {
            spare::put_back(&mut self.buf);
        } else if self.is_through() {
            self.keeps = false;
        }
    }

    /// Moves the answer's body to whoever wants it, and what is left of the request's.
    pub fn poll(&mut self, cx: &mut Context<'_>) {
        if let Err(broken) = self.write(cx) {
            self.end(Err(broken), cx);
        }
        while let Reads::Body(coding, channel) = &mut self.reads {
            match channel.wish(cx) {
                Wish::Wanted => {}
                Wish::NotNow => return,
                Wish::Never => return self.end(Err(Broken::Cut), cx),
            }
            let progress = match self.buf.is_empty() {
                true => Ok(Progress::Wait),
                false => coding.read(&self.buf),
            };
            match progress {
                Ok(Progress::Data(bytes)) => {
                    channel.fill(spare::split(&mut self.buf, bytes), cx);
                    if coding.is_over() {
                        self.end(Ok(None), cx);
                    }
                }
                Ok(Progress::Frame(bytes)) => self.buf.advance(bytes),
                Ok(Progress::End(bytes)) => {
                    let fields = trailers(&self.buf[..bytes]);
                    self.buf.advance(bytes);
                    self.end(Ok(Some(fields)), cx);
                }
                Ok(Progress::Wait) => {
                    let is_until_close = matches!(coding, Coding::UntilClose);
                    match self.poll_read(cx) {
                        Ok(Poll::Pending) => return,
                        Ok(Poll::Ready(0)) if is_until_close => self.end(Ok(None), cx),
                        Ok(Poll::Ready(0)) => {
                            let broken = self.why(Broken::Closed);
                            self.end(Err(broken), cx);
                        }
                        Ok(Poll::Ready(_)) => {}
                        Err(error) => self.end(Err(error.into()), cx),
                    }
                }
                Err(why) => self.end(Err(Broken::Malformed(why)), cx),
            }
        }
    }

    /// The answer's body is over.
    fn end(&mut self, end: Result<Option<http::HeaderMap>, Broken>, cx: &mut Context<'_>) {
        self.keeps &= end.is_ok();
        if let Reads::Body(_, channel) = std::mem::replace(&mut self.reads, Reads::Nothing) {
            channel.end(end, cx);
        }
        self.look_behind();
    }

    /// Writes what there is of the request.
    ///
    /// # Errors
    /// The request's body broke off.
    fn write(&mut self, cx: &mut Context<'_>) -> Result<(), Broken> {
        while self.cut.is_none() {
            let pumped = match &mut self.pump {
                Some(pump) => pump.poll(cx, &mut self.out).inspect_err(|_| self.keeps = false)?,
                None => Pumped::All,
            };
            if pumped == Pumped::All {
                self.pump = None;
            }
            match self.out.poll_flush(&mut self.io, cx) {
                Poll::Ready(Ok(())) if pumped == Pumped::Full => {}
                Poll::Ready(Ok(())) | Poll::Pending => break,
                Poll::Ready(Err(broken)) => {
                    // The server may have answered before it stopped to listen.
                    self.keeps = false;
                    self.pump = None;
                    self.out.forget();
                    self.cut = Some(broken);
                }
            }
        }
        Ok(())
    }

    /// Reads once, behind what was read before.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> io::Result<Poll<usize>> {
        self.bulk.poll(&mut self.io, &mut self.buf, cx)
    }
}

/// Whether a head may end behind the first `seen` bytes, or up to three before.
fn has_end(buf: &[u8], seen: usize) -> bool {
    let new = &buf[seen.saturating_sub(3)..];
    memchr::memchr_iter(b'\n', new).any(|at| {
        let rest = &new[at + 1..];
        rest.starts_with(b"\n") || rest.starts_with(b"\r\n")
    })
}
