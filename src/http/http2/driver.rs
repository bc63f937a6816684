//! Moves the bytes of a connection, at either end.

use std::cell::RefCell;
use std::future::Future;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::time::{Sleep, sleep};

use super::core::Core;
use super::error::Broken;
use super::frame::{self, Code, PREFACE, setting};
use super::parting::{Farewell, Parting};
use super::pulse::{Beat, Pulse};
use super::reader::Reader;
use super::{CONNECTION_WINDOW, HEADER_LIST, STREAMS, WINDOW};
use crate::http::spare;

/// Turns of one poll, before others of the worker have theirs.
const TURNS: u32 = 32;
/// What our first GOAWAY is asked to be answered by: whatever the peer began before it knew is here.
const LEAVING: [u8; 8] = *b"leaving?";
const ALIVE: [u8; 8] = *b"alive???";
/// What our last word is asked to be answered by: all that we sent before was read.
pub(super) const DONE: [u8; 8] = *b"all read";
/// Whoever knows that we leave says so within this time.
const TOLD: Duration = Duration::from_secs(5);
/// What came before writing failed is read for so long.
const REST: Duration = Duration::from_secs(1);

type Timer = Pin<Box<Sleep>>;

/// A connection's bytes, in and out.
pub struct Driver<IO> {
    io: IO,
    pub core: Rc<RefCell<Core>>,
    reader: Reader,
    pulse: Option<Pulse>,
    /// Leave was taken: until when the peer may say that it knows. `None` within: it has, or must.
    leave: Option<Option<Timer>>,
    /// Nothing more can be written, and until when is read.
    cut: Option<(Broken, Timer)>,
    parting: Option<Parting>,
    farewell: Option<Farewell>,
}

impl<IO: AsyncRead + AsyncWrite + Unpin> Driver<IO> {
    pub fn new(io: IO, is_server: bool, pulse: Option<Pulse>) -> Self {
        let mut core = Core::new(is_server, pulse.is_some());
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
        Self { io, core, reader, pulse, leave: None, cut: None, parting: None, farewell: None }
    }

    /// Moves all there is to move; `answer` is called whenever frames were taken, or may be sent.
    pub fn poll(
        &mut self,
        cx: &mut Context<'_>,
        mut answer: impl FnMut(&mut Context<'_>),
    ) -> Poll<Result<(), Broken>> {
        if let Some(farewell) = &mut self.farewell {
            return farewell.poll(cx, &mut self.io).map(Err);
        }
        // In this turn we write what there is without being woken for it.
        self.core.borrow_mut().driver = None;
        match ready!(self.poll_turns(cx, &mut answer)) {
            Ok(()) => Poll::Ready(Ok(())),
            // Nothing is lost by a peer that goes while nothing is under way.
            Err(Broken::Closed | Broken::Io(_)) if self.is_idle() => Poll::Ready(Ok(())),
            Err(broken) => {
                let mut core = self.core.borrow_mut();
                core.fail(broken.clone());
                let Broken::Protocol(code, _) = broken else { return Poll::Ready(Err(broken)) };
                let last = core.last;
                frame::go_away(core.out(), last, code);
                let farewell = Farewell::new(broken, core.out.take());
                drop(core);
                // Nothing of what was under way is kept for a peer like this.
                answer(cx);
                self.farewell.insert(farewell).poll(cx, &mut self.io).map(Err)
            }
        }
    }

    fn poll_turns(
        &mut self,
        cx: &mut Context<'_>,
        answer: &mut impl FnMut(&mut Context<'_>),
    ) -> Poll<Result<(), Broken>> {
        for _ in 0..TURNS {
            if let Some((broken, timer)) = &mut self.cut {
                // Whole answers may be among what came before the peer was gone.
                let broken = broken.clone();
                let has_waited = timer.as_mut().poll(cx).is_ready();
                match self.poll_read(cx) {
                    Ok(Poll::Ready(())) => answer(cx),
                    Ok(Poll::Pending) if !has_waited => return Poll::Pending,
                    Ok(Poll::Pending) | Err(Broken::Closed) => return Poll::Ready(Err(broken)),
                    // As a rule it says more.
                    Err(why) => return Poll::Ready(Err(why)),
                }
                continue;
            }
            let mut is_busy = !self.is_full() && self.poll_read(cx)?.is_ready();
            answer(cx);
            let was_full = self.is_full();
            let wrote = match self.poll_write(cx) {
                Ok(wrote) => wrote,
                Err(broken) => {
                    self.core.borrow_mut().leaves = true;
                    self.cut = Some((broken, Box::pin(sleep(REST))));
                    continue;
                }
            };
            is_busy |= self.take_leave(cx);
            if wrote.is_ready() {
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

    /// A peer that does not read what it is told is not heard either.
    fn is_full(&self) -> bool {
        self.core.borrow().is_full()
    }

    /// Reads once, and takes what came.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Result<Poll<()>, Broken> {
        let buf = &mut self.reader.buf;
        spare::make_room(buf);
        let read = pin!(self.io.read_buf(buf)).poll(cx);
        match read {
            Poll::Pending => {
                spare::put_back(&mut self.reader.buf);
                return Ok(Poll::Pending);
            }
            Poll::Ready(Err(error)) => return Err(error.into()),
            Poll::Ready(Ok(0)) => return Err(Broken::Closed),
            Poll::Ready(Ok(_)) => {}
        }
        if let Some(pulse) = &mut self.pulse {
            pulse.hear();
        }
        if let Some(parting) = &mut self.parting {
            parting.hears = true;
        }
        self.reader.take(&mut self.core.borrow_mut())?;
        while let Some(pong) = self.reader.pongs.pop_front() {
            match (pong, &mut self.leave, &mut self.parting) {
                (LEAVING, Some(told), _) => *told = None,
                (DONE, _, Some(parting)) => parting.is_done = true,
                _ => {}
            }
        }
        spare::put_back(&mut self.reader.buf);
        Ok(Poll::Ready(()))
    }

    /// Writes all there is.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Result<Poll<()>, Broken> {
        let mut core = self.core.borrow_mut();
        if core.out.is_empty() {
            return Ok(Poll::Ready(()));
        }
        while core.unwritten() > 0 {
            let written = Pin::new(&mut self.io).poll_write(cx, core.out.unwritten())?;
            match written {
                Poll::Pending => {
                    core.out.forget_written();
                    return Ok(Poll::Pending);
                }
                Poll::Ready(0) => return Err(Broken::Closed),
                Poll::Ready(written) => core.out.wrote(written),
            }
        }
        if Pin::new(&mut self.io).poll_flush(cx)?.is_pending() {
            return Ok(Poll::Pending);
        }
        core.out.clear();
        Ok(Poll::Ready(()))
    }

    /// Takes leave of the peer: what it has begun is answered, and nothing new after that.
    pub fn leave(&mut self) {
        if self.leave.is_none() {
            self.leave = Some(Some(Box::pin(sleep(TOLD))));
            let mut core = self.core.borrow_mut();
            frame::go_away(core.out(), u32::MAX >> 1, Code::NO_ERROR);
            frame::ping(core.out(), 0, LEAVING);
            core.wake();
        }
    }

    /// Takes nothing new any more once the peer knows that we leave, or had its time to; whether it is
    /// to be told.
    fn take_leave(&mut self, cx: &mut Context<'_>) -> bool {
        let is_known = match &mut self.leave {
            Some(Some(timer)) => timer.as_mut().poll(cx).is_ready(),
            Some(None) => true,
            None => false,
        };
        let mut core = self.core.borrow_mut();
        if !is_known || core.leaves {
            return false;
        }
        self.leave = Some(None);
        core.leaves = true;
        let last = core.last;
        frame::go_away(core.out(), last, Code::NO_ERROR);
        true
    }

    /// Closes a connection that has nothing to do any more; ready once it is closed.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Result<Poll<()>, Broken> {
        if let Some(parting) = &mut self.parting {
            if parting.poll(cx).is_pending() {
                return Ok(Poll::Pending);
            }
            let _ = Pin::new(&mut self.io).poll_shutdown(cx).is_pending();
            return Ok(Poll::Ready(()));
        }
        let mut core = self.core.borrow_mut();
        if !core.leaves || !core.streams.is_empty() || !core.come.is_empty() {
            return Ok(Poll::Pending);
        }
        if !core.is_server {
            frame::go_away(core.out(), 0, Code::NO_ERROR);
        }
        // Whoever spoke last on every stream has read what was said on it.
        let is_done = !core.has_last_word;
        if !is_done {
            frame::ping(core.out(), 0, DONE);
        }
        drop(core);
        self.parting = Some(Parting::new(is_done));
        cx.waker().wake_by_ref();
        Ok(Poll::Pending)
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
