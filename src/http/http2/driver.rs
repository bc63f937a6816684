//! Moves the bytes of a connection, at either end.

use std::cell::{Cell, RefCell};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};

use super::core::Core;
use super::error::Broken;
use super::frame::{self, Code, PREFACE, setting};
use super::pulse::{Beat, Pulse};
use super::reader::Reader;
use super::{CONNECTION_WINDOW, HEADER_LIST, STREAMS, UNWRITTEN, WINDOW};

/// Read at once: a record of TLS, and a frame with its head.
const READ: usize = 16 * 1024 + 512;
/// With less than this left of it, a buffer is not read into any more.
const LEAST: usize = 4 * 1024;
/// Turns of one poll, before others of the worker have theirs.
const TURNS: u32 = 32;
/// What our first GOAWAY is asked to be answered by: whatever the peer began before it knew is here.
const LEAVING: [u8; 8] = *b"leaving?";
const ALIVE: [u8; 8] = *b"alive???";

thread_local! {
    /// What some connection of this worker has read empty, for the next that reads.
    static SPARE: Cell<Option<BytesMut>> = const { Cell::new(None) };
}

/// A connection's bytes, in and out.
pub struct Driver<IO> {
    io: IO,
    pub core: Rc<RefCell<Core>>,
    reader: Reader,
    pulse: Option<Pulse>,
    /// Leave was taken; whether the peer has said that it knows.
    leave: Option<bool>,
    is_closing: bool,
}

impl<IO: AsyncRead + AsyncWrite + Unpin> Driver<IO> {
    pub fn new(io: IO, is_server: bool, pulse: Option<Pulse>) -> Self {
        let mut core = Core::new(is_server);
        let out = core.out();
        if is_server {
            frame::settings(
                out,
                &[
                    (setting::MAX_CONCURRENT_STREAMS, STREAMS),
                    (setting::INITIAL_WINDOW_SIZE, WINDOW),
                    (setting::MAX_HEADER_LIST_SIZE, HEADER_LIST as u32),
                    (setting::ENABLE_CONNECT_PROTOCOL, 1),
                ],
            );
        } else {
            out.extend_from_slice(PREFACE);
            frame::settings(
                out,
                &[
                    (setting::ENABLE_PUSH, 0),
                    (setting::INITIAL_WINDOW_SIZE, WINDOW),
                    (setting::MAX_HEADER_LIST_SIZE, HEADER_LIST as u32),
                ],
            );
        }
        frame::window_update(out, 0, CONNECTION_WINDOW - frame::WINDOW);
        let reader = Reader::new(is_server);
        let core = Rc::new(RefCell::new(core));
        Self { io, core, reader, pulse, leave: None, is_closing: false }
    }

    /// Moves all there is to move; `answer` is called whenever frames were taken, or may be sent.
    pub fn poll(
        &mut self,
        cx: &mut Context<'_>,
        mut answer: impl FnMut(&mut Context<'_>),
    ) -> Poll<Result<(), Broken>> {
        // In this turn we write what there is without being woken for it.
        self.core.borrow_mut().driver = None;
        match ready!(self.poll_turns(cx, &mut answer)) {
            Ok(()) => Poll::Ready(Ok(())),
            // Nothing is lost by a peer that goes while nothing is under way.
            Err(Broken::Closed | Broken::Io(_)) if self.is_idle() => Poll::Ready(Ok(())),
            Err(broken) => {
                self.say_why(cx, &broken);
                self.core.borrow_mut().fail(broken.clone());
                Poll::Ready(Err(broken))
            }
        }
    }

    fn poll_turns(
        &mut self,
        cx: &mut Context<'_>,
        answer: &mut impl FnMut(&mut Context<'_>),
    ) -> Poll<Result<(), Broken>> {
        for _ in 0..TURNS {
            let mut is_busy = self.poll_read(cx)?.is_ready();
            answer(cx);
            let was_full = self.core.borrow().unwritten() >= 2 * UNWRITTEN;
            if self.poll_write(cx)?.is_ready() {
                let is_fed = self.core.borrow_mut().feed();
                if is_fed {
                    answer(cx);
                }
                is_busy |= was_full || is_fed;
                if self.poll_end(cx)?.is_ready() {
                    return Poll::Ready(Ok(()));
                }
            }
            if !is_busy {
                match self.pulse.as_mut().map_or(Beat::None, |pulse| pulse.look(cx)) {
                    Beat::None => {
                        self.core.borrow_mut().driver = Some(cx.waker().clone());
                        return Poll::Pending;
                    }
                    Beat::Ask => frame::ping(self.core.borrow_mut().out(), 0, ALIVE),
                    Beat::Dead => return Poll::Ready(Err(Broken::Silent)),
                }
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Reads once, and takes what came.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Result<Poll<()>, Broken> {
        // A peer that does not read what it is told is not heard either.
        if self.is_closing || self.core.borrow().unwritten() >= 2 * UNWRITTEN {
            return Ok(Poll::Pending);
        }
        let buf = &mut self.reader.buf;
        if buf.capacity() - buf.len() < LEAST {
            match SPARE.take() {
                Some(spare) if buf.is_empty() => *buf = spare,
                spare => {
                    SPARE.set(spare);
                    buf.reserve(READ);
                }
            }
        }
        let read = pin!(self.io.read_buf(buf)).poll(cx);
        match read {
            Poll::Pending => {
                self.put_back();
                return Ok(Poll::Pending);
            }
            Poll::Ready(Err(error)) => return Err(error.into()),
            Poll::Ready(Ok(0)) => return Err(Broken::Closed),
            Poll::Ready(Ok(_)) => {}
        }
        if let Some(pulse) = &mut self.pulse {
            pulse.hear();
        }
        self.reader.take(&mut self.core.borrow_mut())?;
        while let Some(pong) = self.reader.pongs.pop_front() {
            if pong == LEAVING && self.leave == Some(false) {
                self.leave = Some(true);
            }
        }
        self.put_back();
        Ok(Poll::Ready(()))
    }

    /// An empty buffer is of more use to others.
    fn put_back(&mut self) {
        if self.reader.buf.is_empty() {
            let mut buf = std::mem::take(&mut self.reader.buf);
            // What was taken of it may be in use still.
            if buf.try_reclaim(READ) {
                SPARE.set(Some(buf));
            }
        }
    }

    /// Writes all there is.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Result<Poll<()>, Broken> {
        let mut core = self.core.borrow_mut();
        if core.out.is_empty() {
            return Ok(Poll::Ready(()));
        }
        while core.unwritten() > 0 {
            let written = Pin::new(&mut self.io).poll_write(cx, &core.out[core.written..])?;
            match written {
                Poll::Pending => return Ok(Poll::Pending),
                Poll::Ready(0) => return Err(Broken::Closed),
                Poll::Ready(written) => core.written += written,
            }
        }
        if Pin::new(&mut self.io).poll_flush(cx)?.is_pending() {
            return Ok(Poll::Pending);
        }
        core.clear_out();
        Ok(Poll::Ready(()))
    }

    /// Takes leave of the peer: what it has begun is answered, and nothing new after that.
    pub fn leave(&mut self) {
        if self.leave.is_none() {
            self.leave = Some(false);
            let mut core = self.core.borrow_mut();
            frame::go_away(core.out(), u32::MAX >> 1, Code::NO_ERROR);
            frame::ping(core.out(), 0, LEAVING);
            core.wake();
        }
    }

    /// Closes a connection that has nothing to do any more; ready once it is closed.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Result<Poll<()>, Broken> {
        if self.is_closing {
            let _ = Pin::new(&mut self.io).poll_shutdown(cx).is_pending();
            return Ok(Poll::Ready(()));
        }
        let mut core = self.core.borrow_mut();
        if self.leave == Some(true) && !core.leaves {
            core.leaves = true;
            let last = core.last;
            frame::go_away(core.out(), last, Code::NO_ERROR);
            cx.waker().wake_by_ref();
            return Ok(Poll::Pending);
        }
        if !core.leaves || !core.streams.is_empty() || !core.come.is_empty() {
            return Ok(Poll::Pending);
        }
        self.is_closing = true;
        if !core.is_server {
            frame::go_away(core.out(), 0, Code::NO_ERROR);
        }
        drop(core);
        cx.waker().wake_by_ref();
        Ok(Poll::Pending)
    }

    /// Tells the peer why its connection ends, if it is its doing, as far as it takes that at once.
    fn say_why(&mut self, cx: &mut Context<'_>, broken: &Broken) {
        let mut core = self.core.borrow_mut();
        if let Broken::Protocol(code, _) = broken {
            let last = core.last;
            frame::go_away(core.out(), last, *code);
            drop(core);
            let is_written = matches!(self.poll_write(cx), Ok(Poll::Ready(())));
            if is_written {
                let _ = Pin::new(&mut self.io).poll_shutdown(cx).is_pending();
            }
        }
    }

    /// Nothing is under way.
    fn is_idle(&self) -> bool {
        let core = self.core.borrow();
        core.streams.is_empty() && core.come.is_empty()
    }
}

impl<IO> Drop for Driver<IO> {
    /// However it ends: nobody waits for what will never come.
    fn drop(&mut self) {
        self.core.borrow_mut().fail(Broken::Closed);
    }
}
