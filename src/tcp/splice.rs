//! One direction of a relay between sockets: copied at first, moved within the kernel once bulky.
//!
//! splice(2) needs a pipe between the sockets. Its `EAGAIN` does not say whether pipe or socket was
//! in the way, so the pipe is only filled when empty and only drained when not: then it was always
//! the socket. Invariant: a pipe is held by a direction only while bytes are in it; between bursts
//! it lies in the thread's pool, so the pipes in use follow stalled sinks and not connections. Where
//! no pipe is to be had (descriptors, or the limit of pages per user) copying goes on.

use std::cell::{Cell, RefCell};
use std::io::{self, PipeReader, PipeWriter};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::task::{Context, Poll, ready};

use tokio::io::Interest;
use tokio::net::TcpStream;

use super::Tally;
use super::copy::Copy;
use super::relay::{Broken, Gate, Gated, Phase, Pump};
use crate::runtime::turns::{self, TURN_BYTES};

/// What a direction carries by copying before it is bulk, and again after a pipe was refused.
pub(super) const BULK_BYTES: u64 = 1024 * 1024;
/// Pipes a thread keeps for the next burst.
const MAX_POOLED: usize = 8;
/// Pipes a thread has in all. Arbitrary: the user's limit is 1024 pipes of the usual size by
/// default, and all sidecars of a node share it.
const MAX_PIPES: usize = 32;
/// Below this a pipe costs more calls than copying: over its limit a user gets pipes of 8 KiB.
const MIN_PIPE_BYTES: i32 = 32 * 1024;
/// The most one call is asked for; what fits the pipe is less or equal, and it bounds a turn.
const MAX_SPLICE_BYTES: usize = TURN_BYTES;

/// Copies, then splices.
pub(super) struct Bulk {
    copy: Copy,
    /// Where splicing starts, in bytes carried.
    threshold: u64,
    /// The pipe, while bytes are in it.
    pipe: Option<Pipe>,
}

impl Default for Bulk {
    fn default() -> Self {
        Self { copy: Copy::default(), threshold: BULK_BYTES, pipe: None }
    }
}

impl Gated for Bulk {
    fn gate(&mut self) -> &mut Gate {
        self.copy.gate()
    }
}

impl Pump<TcpStream, TcpStream> for Bulk {
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        source: &mut TcpStream,
        sink: &mut TcpStream,
        tally: &mut Tally<'_>,
    ) -> Poll<Result<(), Broken>> {
        self.gate().starved = false;
        if tally.sent >= self.threshold && self.copy.is_between_chunks() {
            match ready!(self.poll_splice(cx, source, sink, tally))? {
                Splice::Ended => self.gate().phase = Phase::Ending,
                Splice::Refused => self.threshold = tally.sent + BULK_BYTES,
                Splice::Unsupported => self.threshold = u64::MAX,
            }
        }
        self.copy.poll(cx, source, sink, tally)
    }
}

/// Why splicing is over, for now or for good. The pipe is empty in each case.
enum Splice {
    Ended,
    Refused,
    Unsupported,
}

impl Bulk {
    fn poll_splice(
        &mut self,
        cx: &mut Context<'_>,
        source: &TcpStream,
        sink: &TcpStream,
        tally: &mut Tally<'_>,
    ) -> Poll<Result<Splice, Broken>> {
        let mut moved = 0;
        loop {
            if let Some(pipe) = &mut self.pipe {
                while pipe.held > 0 {
                    let written = ready!(poll_drain(cx, pipe, sink)).map_err(Broken::Sink)?;
                    tally.add(written);
                    moved += written;
                }
            }
            if let Some(pipe) = self.pipe.take() {
                pipe.put_back();
            }
            if moved >= TURN_BYTES {
                turns::end(cx);
                return Poll::Pending;
            }
            // Before a pipe is taken: most wake-ups of a connection are the other direction's.
            if source.poll_read_ready(cx).map_err(Broken::Source)?.is_pending() {
                self.gate().starved = true;
                return Poll::Pending;
            }
            let Some(mut pipe) = Pipe::take() else {
                return Poll::Ready(Ok(Splice::Refused));
            };
            match pipe.fill(source) {
                Ok(0) => {
                    pipe.put_back();
                    return Poll::Ready(Ok(Splice::Ended));
                }
                Ok(_) => self.pipe = Some(pipe),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => pipe.put_back(),
                // Nothing moved: a socket that some kernel feature has taken over.
                Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                    return Poll::Ready(Ok(Splice::Unsupported));
                }
                Err(error) => return Poll::Ready(Err(Broken::Source(error))),
            }
        }
    }
}

fn poll_drain(cx: &mut Context<'_>, pipe: &mut Pipe, sink: &TcpStream) -> Poll<io::Result<usize>> {
    loop {
        ready!(sink.poll_write_ready(cx))?;
        match pipe.drain(sink) {
            Ok(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            result => return Poll::Ready(result),
        }
    }
}

thread_local! {
    static POOL: RefCell<Vec<Pipe>> = const { RefCell::new(Vec::new()) };
    static PIPES: Cell<usize> = const { Cell::new(0) };
}

struct Pipe {
    reader: PipeReader,
    writer: PipeWriter,
    held: usize,
    _place: Place,
}

/// One of the thread's [`MAX_PIPES`].
struct Place;

impl Drop for Place {
    fn drop(&mut self) {
        PIPES.set(PIPES.get() - 1);
    }
}

impl Pipe {
    /// An empty pipe, or `None` where there is none to be had.
    fn take() -> Option<Self> {
        if let Some(pipe) = POOL.with_borrow_mut(Vec::pop) {
            return Some(pipe);
        }
        if PIPES.get() >= MAX_PIPES {
            return None;
        }
        PIPES.set(PIPES.get() + 1);
        let place = Place;
        let (reader, writer) = io::pipe().ok()?;
        let pipe = Self { reader, writer, held: 0, _place: place };
        (pipe_bytes(&pipe.writer) >= MIN_PIPE_BYTES).then_some(pipe)
    }

    fn put_back(self) {
        POOL.with_borrow_mut(|pool| {
            if pool.len() < MAX_POOLED {
                debug_assert_eq!(self.held, 0, "a pooled pipe is empty");
                pool.push(self);
            }
        });
    }

    fn fill(&mut self, source: &TcpStream) -> io::Result<usize> {
        let pipe = self.writer.as_fd();
        let filled =
            source.try_io(Interest::READABLE, || splice(source.as_fd(), pipe, MAX_SPLICE_BYTES))?;
        self.held = filled;
        Ok(filled)
    }

    fn drain(&mut self, sink: &TcpStream) -> io::Result<usize> {
        let (pipe, held) = (self.reader.as_fd(), self.held);
        // Asking for no more than there is keeps MSG_MORE, and with it Nagle's delay, off the end.
        let drained = sink.try_io(Interest::WRITABLE, || splice(pipe, sink.as_fd(), held))?;
        self.held -= drained;
        Ok(drained)
    }
}

/// splice(2), again when interrupted. A peer that is gone raises `SIGPIPE`, which the standard
/// library ignores from the start of every Rust program.
fn splice(from: BorrowedFd<'_>, to: BorrowedFd<'_>, length: usize) -> io::Result<usize> {
    loop {
        // SAFETY: both descriptors are borrowed and so open, and null offsets are what sockets and
        // pipes require; the call reads no memory of ours.
        let moved = unsafe {
            libc::splice(
                from.as_raw_fd(),
                std::ptr::null_mut(),
                to.as_raw_fd(),
                std::ptr::null_mut(),
                length,
                libc::SPLICE_F_MOVE | libc::SPLICE_F_NONBLOCK,
            )
        };
        if let Ok(moved) = usize::try_from(moved) {
            return Ok(moved);
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

fn pipe_bytes(pipe: &PipeWriter) -> i32 {
    // SAFETY: the descriptor is open, and F_GETPIPE_SZ takes no argument and touches no memory.
    unsafe { libc::fcntl(pipe.as_raw_fd(), libc::F_GETPIPE_SZ) }
}

#[cfg(test)]
mod tests;
