//! One direction of a relay, through memory: any stream to any other.
//!
//! Reads go into a scratch buffer that all connections of a thread share, and what the sink takes at
//! once is never stored. Invariant: only what it refused is kept, at most one chunk, and nothing is
//! read while something is kept; so an idle connection costs no buffer, a stalled one at most 64 KiB
//! each way, and a dropped future loses nothing that was not already lost with its streams.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::Tally;
use super::relay::{Broken, Gate, Gated, Phase, Pump};
use crate::runtime::turns::{self, TURN_BYTES};

/// The scratch buffer's size, and the most a direction keeps.
const MAX_CHUNK_BYTES: usize = 64 * 1024;
/// Where a direction's reads start; they double when one is filled. Arbitrary: one page.
const MIN_CHUNK_BYTES: usize = 4 * 1024;

/// Copies through the thread's scratch buffer.
pub(super) struct Copy {
    gate: Gate,
    /// What the sink has yet to take, from `taken` on; without allocation when empty.
    kept: Vec<u8>,
    taken: usize,
    /// How much the next read may bring.
    chunk: usize,
    /// The sink may hold bytes of ours in its own buffer.
    unflushed: bool,
}

impl Default for Copy {
    fn default() -> Self {
        Self {
            gate: Gate::default(),
            kept: Vec::new(),
            taken: 0,
            chunk: MIN_CHUNK_BYTES,
            unflushed: false,
        }
    }
}

impl Gated for Copy {
    fn gate(&mut self) -> &mut Gate {
        &mut self.gate
    }
}

impl Copy {
    /// Whether nothing is kept and the source has not ended: another way of moving may take over.
    pub(super) fn is_between_chunks(&self) -> bool {
        self.kept.is_empty() && self.gate.phase == Phase::Open
    }

    /// Writes what is kept, then gives its memory back.
    fn poll_kept<W: AsyncWrite + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        sink: &mut W,
        tally: &mut Tally<'_>,
    ) -> Poll<Result<(), Broken>> {
        while self.taken < self.kept.len() {
            let written = ready!(poll_write(cx, sink, &self.kept[self.taken..]))?;
            tally.add(written);
            self.taken += written;
            self.unflushed = true;
        }
        self.kept = Vec::new();
        self.taken = 0;
        Poll::Ready(Ok(()))
    }

    /// Reads one chunk and writes what the sink takes of it; keeps the rest.
    fn poll_chunk<R: AsyncRead + Unpin, W: AsyncWrite + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        source: &mut R,
        sink: &mut W,
        tally: &mut Tally<'_>,
        scratch: &mut [u8],
    ) -> Poll<Result<usize, Broken>> {
        let mut buf = ReadBuf::new(&mut scratch[..self.chunk]);
        ready!(Pin::new(source).poll_read(cx, &mut buf)).map_err(Broken::Source)?;
        let read = buf.filled();
        if read.is_empty() {
            self.gate.phase = Phase::Ending;
        }
        let mut rest = read;
        while !rest.is_empty() {
            match poll_write(cx, sink, rest)? {
                Poll::Ready(written) => {
                    tally.add(written);
                    rest = &rest[written..];
                    self.unflushed = true;
                }
                Poll::Pending => {
                    self.kept = rest.to_vec();
                    return Poll::Ready(Ok(read.len()));
                }
            }
        }
        if read.len() == self.chunk {
            self.chunk = (self.chunk * 2).min(MAX_CHUNK_BYTES);
        }
        Poll::Ready(Ok(read.len()))
    }

    fn poll_with<R: AsyncRead + Unpin, W: AsyncWrite + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        source: &mut R,
        sink: &mut W,
        tally: &mut Tally<'_>,
        scratch: &mut [u8],
    ) -> Poll<Result<(), Broken>> {
        let mut moved = 0;
        loop {
            ready!(self.poll_kept(cx, sink, tally))?;
            match self.gate.phase {
                Phase::Open if moved < TURN_BYTES => {}
                Phase::Open => {
                    turns::end(cx);
                    return Poll::Pending;
                }
                Phase::Ending if !self.gate.severed => {
                    ready!(Pin::new(&mut *sink).poll_shutdown(cx)).map_err(Broken::Sink)?;
                    self.gate.phase = Phase::Done;
                }
                Phase::Ending => self.gate.phase = Phase::Done,
                Phase::Done => return Poll::Ready(Ok(())),
            }
            if self.gate.phase != Phase::Open {
                continue;
            }
            match self.poll_chunk(cx, source, sink, tally, scratch)? {
                Poll::Ready(read) => moved += read,
                Poll::Pending => {
                    ready!(self.poll_flush(cx, sink))?;
                    self.gate.starved = true;
                    return Poll::Pending;
                }
            }
        }
    }

    /// A sink that buffers, as TLS does, must send before we wait for the source.
    fn poll_flush<W: AsyncWrite + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        sink: &mut W,
    ) -> Poll<Result<(), Broken>> {
        if self.unflushed {
            ready!(Pin::new(sink).poll_flush(cx)).map_err(Broken::Sink)?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }
}

impl<R: AsyncRead + Unpin, W: AsyncWrite + Unpin> Pump<R, W> for Copy {
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        source: &mut R,
        sink: &mut W,
        tally: &mut Tally<'_>,
    ) -> Poll<Result<(), Broken>> {
        self.gate.starved = false;
        with_scratch(|scratch| self.poll_with(cx, source, sink, tally, scratch))
    }
}

fn poll_write<W: AsyncWrite + Unpin>(
    cx: &mut Context<'_>,
    sink: &mut W,
    bytes: &[u8],
) -> Poll<Result<usize, Broken>> {
    match ready!(Pin::new(sink).poll_write(cx, bytes)) {
        Ok(0) => Poll::Ready(Err(Broken::Sink(io::ErrorKind::WriteZero.into()))),
        Ok(written) => Poll::Ready(Ok(written)),
        Err(error) => Poll::Ready(Err(Broken::Sink(error))),
    }
}

/// Lends the thread's buffer for one poll. It is taken out meanwhile, so a stream that itself polls
/// a relay gets one of its own.
fn with_scratch<T>(poll: impl FnOnce(&mut [u8]) -> T) -> T {
    thread_local! {
        static SCRATCH: Cell<Option<Box<[u8]>>> = const { Cell::new(None) };
    }
    let mut scratch = SCRATCH.take().unwrap_or_else(|| vec![0; MAX_CHUNK_BYTES].into_boxed_slice());
    let result = poll(&mut scratch);
    SCRATCH.set(Some(scratch));
    result
}
