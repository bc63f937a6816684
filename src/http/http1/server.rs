//! The end that is asked.
//!
//! A request is read, answered and forgotten before the next is looked at. While it is answered the
//! connection is listened to, so that a caller who goes takes its request with it.

mod upload;

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use http::header::{self, HeaderValue};
use http::{Request, Response};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, Sleep, sleep, sleep_until};

use super::broken::Broken;
use super::channel::Channel;
use super::frame::Framing;
use super::head::{self, Asked};
use super::out::Out;
use super::pump::{Pump, Pumped};
use crate::http::gate::{Gate, Refusal};
use crate::http::guard::{Guard, Line, Part, Then};
use crate::http::{Body, spare};
use crate::runtime::turns;

/// From a head's first byte to its last.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// Turns of one poll, before others of the worker have theirs.
const TURNS: u32 = 32;
/// A caller that still sends what nobody will read has this long to read why.
const LINGER: Duration = Duration::from_secs(1);

/// A connection whose requests `service` answers.
pub struct Connection<IO, S, F> {
    io: IO,
    service: S,
    gate: Rc<Gate>,
    keeps_case: bool,
    guard: Guard,
    /// Read, but not taken.
    buf: BytesMut,
    reads: spare::Reads,
    out: Out,
    at: At<F>,
    asked: Asked,
    /// Where the rest of the request's body goes.
    upload: Option<Channel>,
    /// Nothing more that comes is of any use.
    is_deaf: bool,
    /// To close it says all that there is to say at its end.
    is_plain: bool,
    head_deadline: Option<Pin<Box<Sleep>>>,
}

/// What is to be done next.
enum At<F> {
    Head,
    Asked(F),
    Answered(Pump),
    /// The answer is to be written out.
    Written {
        keeps: bool,
    },
    Switched,
    Leaving(Option<Pin<Box<Sleep>>>),
}

/// Why a connection is no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Over {
    Closed,
    /// The answer that was written leads out of HTTP.
    Switched,
}

impl<IO, S, F, E> Connection<IO, S, F>
where
    IO: AsyncRead + AsyncWrite + Unpin,
    S: Fn(Request<Body>) -> F,
    F: Future<Output = Result<Response<Body>, E>> + Unpin,
{
    /// `heard` was already read from `io`; `keeps_case` keeps the letter case of names.
    pub fn new(heard: Bytes, io: IO, gate: Rc<Gate>, service: S, keeps_case: bool) -> Self {
        let mut buf = BytesMut::new();
        if !heard.is_empty() {
            spare::make_room(&mut buf);
            buf.extend_from_slice(&heard);
        }
        Self {
            io,
            service,
            gate,
            keeps_case,
            guard: Guard::new(),
            buf,
            reads: spare::Reads::default(),
            out: Out::default(),
            at: At::Head,
            asked: Asked::default(),
            upload: None,
            is_deaf: false,
            is_plain: false,
            head_deadline: None,
        }
    }

    /// The stream has no last words of its own, as TLS has: nothing is said where nothing is left to
    /// read, and whoever drops the connection closes it.
    pub fn in_plaintext(self, is_plain: bool) -> Self {
        Self { is_plain, ..self }
    }

    pub fn io(&self) -> &IO {
        &self.io
    }

    /// What was read and not taken, and the stream.
    pub fn into_parts(self) -> (Bytes, IO) {
        (self.buf.freeze(), self.io)
    }

    /// Moves all there is to move.
    ///
    /// # Errors
    /// What broke the connection; no more may be written to it.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Over, Broken>> {
        for _ in 0..TURNS {
            match &mut self.at {
                At::Head => {
                    if !ready!(self.poll_head(cx))? {
                        self.at = At::Leaving(None);
                    }
                }
                At::Asked(answer) => match Pin::new(answer).poll(cx) {
                    Poll::Ready(Ok(answer)) => self.answer(answer),
                    Poll::Ready(Err(_)) => return Poll::Ready(Err(Broken::Aborted)),
                    Poll::Pending => {
                        if !self.listen(cx)? {
                            return Poll::Pending;
                        }
                    }
                },
                At::Answered(_) => ready!(self.poll_answered(cx))?,
                At::Written { keeps } => {
                    let keeps = *keeps;
                    ready!(self.out.poll_flush(&mut self.io, cx))?;
                    self.at = match keeps && self.is_next(cx)? {
                        true => At::Head,
                        false => At::Leaving(None),
                    };
                }
                At::Switched => {
                    ready!(self.out.poll_flush(&mut self.io, cx))?;
                    return Poll::Ready(Ok(Over::Switched));
                }
                At::Leaving(_) => {
                    ready!(self.poll_leave(cx));
                    return Poll::Ready(Ok(Over::Closed));
                }
            }
        }
        turns::end(cx);
        Poll::Pending
    }

    /// Reads the next head, and asks the service; false where none comes.
    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool, Broken>> {
        loop {
            match self.guard.next(&self.buf) {
                Part::Head(bytes, line) => {
                    self.head_deadline = None;
                    self.ask(bytes, &line)?;
                    return Poll::Ready(Ok(true));
                }
                Part::Stop(Then::Refuse(violation)) => {
                    self.refuse(Refusal::Violation(violation));
                    return Poll::Ready(Ok(true));
                }
                // What was asked for was not granted.
                Part::Stop(Then::Hold) => {
                    self.guard.resume();
                    continue;
                }
                Part::Stop(Then::More) => {}
                Part::Data(_) | Part::Frame(_) | Part::Trailers(_) | Part::Tunnel(_) => {
                    unreachable!("a body is read to its end before the next head")
                }
            }
            match self.poll_read(cx)? {
                Poll::Ready(0) => return Poll::Ready(Ok(false)),
                Poll::Ready(_) => {}
                Poll::Pending => {
                    ready!(self.poll_head_deadline(cx));
                    self.refuse(Refusal::HeadTimeout);
                    return Poll::Ready(Ok(true));
                }
            }
        }
    }

    fn poll_head_deadline(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.guard.in_head() {
            return Poll::Pending;
        }
        let deadline = || Box::pin(sleep_until(Instant::now() + HEAD_TIMEOUT));
        self.head_deadline.get_or_insert_with(deadline).as_mut().poll(cx)
    }

    /// Hands the request on whose head is the first so many bytes.
    fn ask(&mut self, bytes: usize, line: &Line) -> Result<(), Broken> {
        let head = &self.buf[..bytes];
        let read = head::request(head, line, self.guard.fields(), self.keeps_case);
        let (request, asked) = read.map_err(|_| Broken::Malformed("its head can't be read"))?;
        self.buf.advance(bytes);
        self.reads = spare::Reads::default();
        self.asked = asked;
        let body = self.body();
        spare::put_back(&mut self.buf);
        self.at = At::Asked((self.service)(request.map(|()| body)));
        Ok(())
    }

    /// Has the service refuse what nobody but the guard has seen.
    fn refuse(&mut self, refusal: Refusal) {
        self.head_deadline = None;
        self.is_deaf = true;
        self.gate.refuse_next(refusal);
        self.asked = Asked::default();
        let mut request = Request::new(Body::empty());
        let host = HeaderValue::from_static("refused");
        request.headers_mut().insert(header::HOST, host);
        self.at = At::Asked((self.service)(request));
    }

    fn answer(&mut self, answer: Response<Body>) {
        let (parts, body) = answer.into_parts();
        self.asked.keeps &= !self.is_deaf;
        let is_switch = head::is_switch(parts.status, self.asked);
        let (framing, keeps) = head::write_response(parts, &body, self.asked, self.out.bytes());
        self.asked.keeps = keeps;
        self.at = match framing {
            _ if is_switch => At::Switched,
            Framing::None => At::Written { keeps },
            framing => At::Answered(Pump::new(body, framing)),
        };
    }

    fn poll_answered(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        let At::Answered(pump) = &mut self.at else { return Poll::Ready(Ok(())) };
        let pumped = match pump.poll(cx, &mut self.out) {
            Ok(pumped) => pumped,
            Err(broken) => {
                // A clean end would pass for the body's.
                if pump.is_until_close() {
                    self.gate.abort();
                }
                return Poll::Ready(Err(broken));
            }
        };
        if pumped == Pumped::All {
            self.at = At::Written { keeps: self.asked.keeps };
            return Poll::Ready(Ok(()));
        }
        // Part of the answer may wait for more of the request.
        let is_fed = self.upload.is_some() && self.listen(cx)?;
        let flushed = self.out.poll_flush(&mut self.io, cx)?;
        match pumped {
            _ if is_fed => Poll::Ready(Ok(())),
            Pumped::Full if flushed.is_ready() => Poll::Ready(Ok(())),
            Pumped::Full => Poll::Pending,
            Pumped::Waits if self.upload.is_none() && self.is_gone(cx)? => {
                Poll::Ready(Err(Broken::Closed))
            }
            _ => Poll::Pending,
        }
    }

    /// Takes leave: the caller reads the answer to its end before anything resets the connection.
    fn poll_leave(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let At::Leaving(linger) = &mut self.at else { return Poll::Ready(()) };
        if linger.is_none() {
            let is_read = !self.is_deaf && !self.guard.in_body() && self.buf.is_empty();
            if is_read && self.is_plain {
                return Poll::Ready(());
            }
            let shut = ready!(Pin::new(&mut self.io).poll_shutdown(cx));
            if shut.is_err() || is_read {
                return Poll::Ready(());
            }
            *linger = Some(Box::pin(sleep(LINGER)));
        }
        loop {
            self.buf.clear();
            match self.poll_read(cx) {
                Ok(Poll::Ready(1..)) => {}
                Ok(Poll::Pending) => break,
                Ok(Poll::Ready(0)) | Err(_) => return Poll::Ready(()),
            }
        }
        match &mut self.at {
            At::Leaving(Some(linger)) => linger.as_mut().poll(cx),
            _ => Poll::Ready(()),
        }
    }

    /// Reads once, behind what was read before.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> io::Result<Poll<usize>> {
        self.reads.poll(&mut self.io, &mut self.buf, cx)
    }
}
