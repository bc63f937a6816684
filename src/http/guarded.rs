//! The guard's place on a connection: between the socket and hyper's HTTP/1 parser.
//!
//! Bytes are read straight into hyper's buffer and looked at there; only an unfinished head, or
//! what comes after an Upgrade whose answer is open, is held back in a buffer of our own. A head
//! that must be refused never reaches hyper: a harmless request stands in for it, and the service
//! finds at the [`Gate`] which of its requests that is and why it must answer with a refusal.

use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use hyper::rt::{Read, ReadBufCursor, Write};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

use super::gate::{Gate, Switch};
use super::guard::{Guard, Then, Verdict, Violation};
use super::respond::Failure;
use crate::model::Reason;
use crate::runtime::hyper_io::poll_write_few;

/// From a head's first byte to its last.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// Read at once while bytes are held back.
const CHUNK: usize = 4096;
/// Held back at most behind an Upgrade that is not answered yet.
const HOLD: usize = 16 * 1024;

/// What stands in for a refused request; the service never forwards it.
const STAND_IN: &[u8] = b"GET / HTTP/1.1\r\nhost: refused\r\nconnection: close\r\n\r\n";

/// Why a request never reached the parser.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    Violation(Violation),
    /// The head did not come to its end in ten seconds.
    HeadTimeout,
}

impl Refusal {
    /// What the caller is told; its connection closes.
    pub fn failure(self) -> Failure {
        match self {
            Refusal::Violation(violation) if violation.too_large() => {
                Failure::new(Reason::HeadersTooLarge, violation.sentence()).closing()
            }
            Refusal::Violation(violation) => {
                Failure::new(Reason::BadRequest, violation.sentence()).closing()
            }
            Refusal::HeadTimeout => Failure::plain(Reason::HeaderTimeout).closing(),
        }
    }
}

/// Nothing is answered: the connection, or the stream, is reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the request was aborted on purpose")]
pub struct Aborted;

/// A stream whose HTTP/1 requests are checked before hyper sees them.
#[derive(Debug)]
pub struct Guarded<IO> {
    io: IO,
    guard: Guard,
    gate: Rc<Gate>,
    /// Read but not handed on; the first `cleared` bytes may be.
    held: BytesMut,
    cleared: usize,
    state: State,
    head_deadline: Option<Pin<Box<Sleep>>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Checking,
    Holding,
    Tunnel,
    /// A refusal stands at the end of what is cleared; the stand-in follows, `usize` bytes of it sent.
    Refused(usize),
    /// Nothing more will ever be handed on.
    Over,
}

impl<IO> Guarded<IO> {
    /// `prefix` was already read from `io`.
    pub fn new(prefix: Bytes, io: IO, gate: Rc<Gate>) -> Self {
        let mut guarded = Self {
            io,
            guard: Guard::default(),
            gate,
            held: BytesMut::from(&prefix[..]),
            cleared: 0,
            state: State::Checking,
            head_deadline: None,
        };
        if !prefix.is_empty() {
            guarded.check_held();
        }
        guarded
    }

    /// The stream itself.
    pub fn io(&self) -> &IO {
        &self.io
    }

    /// The stream, and what was read from it but not handed on.
    pub fn into_parts(self) -> (Bytes, IO) {
        (self.held.freeze(), self.io)
    }

    fn check_held(&mut self) {
        let verdict = self.guard.check(&self.held[self.cleared..]);
        self.take(verdict);
    }

    /// Takes in a verdict on bytes that are, or were just put, in `held`.
    fn take(&mut self, verdict: Verdict) {
        self.cleared += verdict.pass;
        self.follow(verdict.then);
    }

    fn follow(&mut self, then: Then) {
        match then {
            Then::More => {}
            Then::Hold => self.state = State::Holding,
            Then::Refuse(violation) => self.refuse(Refusal::Violation(violation)),
        }
    }

    fn refuse(&mut self, refusal: Refusal) {
        self.held.truncate(self.cleared);
        match refusal {
            Refusal::Violation(violation) if violation.in_body() => {
                self.gate.body.set(Some(violation));
                self.state = State::Over;
            }
            refusal => {
                self.gate.refused.set(Some((self.guard.requests() + 1, refusal)));
                self.state = State::Refused(0);
            }
        }
    }

    fn obey_switch(&mut self) {
        let Some(switch) = self.gate.switch.take() else {
            return;
        };
        if self.state != State::Holding {
            return; // nothing was held back for an answer, or the guard has refused since
        }
        match switch {
            Switch::Tunnel => {
                self.guard.tunnel();
                self.state = State::Tunnel;
                self.cleared = self.held.len();
            }
            Switch::Resume => {
                self.guard.resume();
                self.state = State::Checking;
                self.check_held();
            }
        }
    }

    /// True while a head is under way, so that its time limit counts.
    fn waits_for_head(&self) -> bool {
        self.state == State::Checking && self.guard.in_head()
    }
}

impl<IO: AsyncRead + Unpin> Guarded<IO> {
    /// Reads into `held`; ready with the number of bytes read.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.held.reserve(CHUNK);
        // It keeps nothing between two polls, so a new one each time is the same read.
        pin!(self.io.read_buf(&mut self.held)).poll(cx)
    }

    fn poll_head_deadline(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.waits_for_head() {
            self.head_deadline = None;
            return Poll::Pending;
        }
        self.head_deadline
            .get_or_insert_with(|| Box::pin(sleep_until(Instant::now() + HEAD_TIMEOUT)))
            .as_mut()
            .poll(cx)
    }

    /// The common case: nothing held, so hyper's own buffer is read into and looked at in place.
    fn poll_direct(
        &mut self,
        cx: &mut Context<'_>,
        cursor: &mut ReadBufCursor<'_>,
    ) -> Poll<io::Result<Direct>> {
        // SAFETY: only bytes that the inner read initialised are looked at, and `advance` covers
        // no others.
        unsafe {
            let mut buf = ReadBuf::uninit(cursor.as_mut());
            ready!(Pin::new(&mut self.io).poll_read(cx, &mut buf))?;
            let filled = buf.filled();
            if filled.is_empty() {
                return Poll::Ready(Ok(Direct::Eof));
            }
            if self.state == State::Tunnel {
                let all = filled.len();
                cursor.advance(all);
                return Poll::Ready(Ok(Direct::Passed));
            }
            let verdict = self.guard.check(filled);
            let pass = verdict.pass;
            if !matches!(verdict.then, Then::Refuse(_)) {
                self.held.extend_from_slice(&filled[pass..]);
            }
            cursor.advance(pass);
            self.follow(verdict.then);
            Poll::Ready(Ok(if pass > 0 { Direct::Passed } else { Direct::Held }))
        }
    }

    fn hand_on(&mut self, cursor: &mut ReadBufCursor<'_>) {
        let n = self.cleared.min(cursor.remaining());
        cursor.put_slice(&self.held[..n]);
        self.held.advance(n);
        self.cleared -= n;
        if self.held.is_empty() {
            self.held = BytesMut::new(); // an idle connection holds no buffer
        }
    }
}

enum Direct {
    Passed,
    Held,
    Eof,
}

impl<IO: AsyncRead + Unpin> Read for Guarded<IO> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut cursor: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        loop {
            this.obey_switch();
            if this.cleared > 0 {
                this.hand_on(&mut cursor);
                return Poll::Ready(Ok(()));
            }
            match this.state {
                State::Over => return over(&this.gate),
                State::Refused(sent) => {
                    let n = (STAND_IN.len() - sent).min(cursor.remaining());
                    cursor.put_slice(&STAND_IN[sent..sent + n]);
                    let all = sent + n == STAND_IN.len();
                    this.state = if all { State::Over } else { State::Refused(sent + n) };
                    return Poll::Ready(Ok(()));
                }
                State::Holding if this.held.len() >= HOLD => {
                    *this.gate.waker.borrow_mut() = Some(cx.waker().clone());
                    return Poll::Pending;
                }
                State::Checking | State::Tunnel if this.held.is_empty() => {
                    let Poll::Ready(read) = this.poll_direct(cx, &mut cursor) else {
                        let awaits = this.state == State::Checking && this.guard.awaits_head();
                        this.gate.awaited.set(awaits.then(|| this.guard.requests()));
                        return Poll::Pending;
                    };
                    this.gate.awaited.set(None);
                    match read? {
                        Direct::Passed | Direct::Eof => return Poll::Ready(Ok(())),
                        Direct::Held => continue,
                    }
                }
                State::Checking | State::Holding | State::Tunnel => {}
            }
            if this.state == State::Holding {
                *this.gate.waker.borrow_mut() = Some(cx.waker().clone());
            }
            match this.poll_fill(cx)? {
                Poll::Ready(0) => return Poll::Ready(Ok(())),
                Poll::Ready(_) if this.state == State::Checking => this.check_held(),
                Poll::Ready(_) => {}
                Poll::Pending => {
                    ready!(this.poll_head_deadline(cx));
                    this.refuse(Refusal::HeadTimeout);
                }
            }
        }
    }
}

/// After a broken body the parser gets an error, so that it can't take the end for a clean one.
/// After a refused head it gets nothing: an end would look as if the caller had gone before it had
/// its answer, and that answer closes the connection anyway.
fn over(gate: &Gate) -> Poll<io::Result<()>> {
    match gate.body.get() {
        Some(violation) => {
            let kind = io::ErrorKind::InvalidData;
            Poll::Ready(Err(io::Error::new(kind, violation.sentence())))
        }
        None => Poll::Pending,
    }
}

impl<IO: AsyncWrite + Unpin> Write for Guarded<IO> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.gate.unsent.set(true);
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.io).poll_flush(cx))?;
        self.gate.unsent.set(false);
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.gate.unsent.set(true);
        poll_write_few(Pin::new(&mut self.io), cx, bufs)
    }
}
