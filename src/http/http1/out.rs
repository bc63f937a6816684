//! What a connection has to write: small things in one buffer, which the connections of a worker lend
//! each other, and large pieces of bodies as they are.

use std::cell::Cell;
use std::collections::VecDeque;
use std::io::IoSlice;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use tokio::io::AsyncWrite;

use super::broken::Broken;

/// From this on a piece is written from where it is: below, copying is cheaper than a vectored write.
const LARGE: usize = 2048;
/// Of what is written out, a connection keeps no more than this for the next.
const KEPT: usize = 64 * 1024;
/// Pieces of one write.
const SLICES: usize = 16;

thread_local! {
    /// What some connection of this worker has written out, for the next that writes.
    static SPARE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

#[derive(Default)]
pub struct Out {
    /// What comes before `bytes`: what was small then, and what is large.
    queue: VecDeque<Bytes>,
    queued: usize,
    /// To be written, from `written` on.
    bytes: Vec<u8>,
    written: usize,
    /// Written, but maybe not flushed.
    is_unflushed: bool,
}

impl Out {
    /// Where to put what is to be written next.
    pub fn bytes(&mut self) -> &mut Vec<u8> {
        if self.bytes.capacity() == 0 {
            self.bytes = SPARE.take();
        }
        // A far side that is always a little behind would have us keep all that it ever got.
        if self.written >= KEPT {
            self.bytes.drain(..self.written);
            self.written = 0;
        }
        &mut self.bytes
    }

    pub fn push(&mut self, data: Bytes) {
        if data.len() < LARGE {
            self.bytes().extend_from_slice(&data);
            return;
        }
        if self.bytes.len() > self.written {
            let before = Bytes::copy_from_slice(&self.bytes[self.written..]);
            self.queued += before.len();
            self.queue.push_back(before);
        }
        self.bytes.clear();
        self.written = 0;
        self.queued += data.len();
        self.queue.push_back(data);
    }

    pub fn len(&self) -> usize {
        self.queued + self.bytes.len() - self.written
    }

    /// Whether nothing is left to be done.
    pub fn is_flushed(&self) -> bool {
        self.len() == 0 && !self.is_unflushed
    }

    /// Writes and flushes all there is.
    pub fn poll_flush<IO: AsyncWrite + Unpin>(
        &mut self,
        io: &mut IO,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Broken>> {
        if self.is_flushed() {
            return Poll::Ready(Ok(()));
        }
        while self.len() > 0 {
            self.is_unflushed = true;
            let wrote = match self.queue.is_empty() {
                true => Pin::new(&mut *io).poll_write(cx, &self.bytes[self.written..]),
                false => self.poll_write_several(io, cx),
            };
            match ready!(wrote)? {
                0 => return Poll::Ready(Err(Broken::Closed)),
                wrote => self.wrote(wrote),
            }
        }
        self.written = 0;
        self.bytes.clear();
        if self.bytes.capacity() > 0 {
            let bytes = std::mem::take(&mut self.bytes);
            if bytes.capacity() <= KEPT {
                SPARE.set(bytes);
            }
        }
        ready!(Pin::new(io).poll_flush(cx))?;
        self.is_unflushed = false;
        Poll::Ready(Ok(()))
    }

    fn poll_write_several<IO: AsyncWrite + Unpin>(
        &self,
        io: &mut IO,
        cx: &mut Context<'_>,
    ) -> Poll<std::io::Result<usize>> {
        let mut slices = [IoSlice::new(&[]); SLICES];
        let rest = &self.bytes[self.written..];
        let pieces = self.queue.iter().map(|piece| &piece[..]).chain([rest]);
        let mut count = 0;
        for (slice, piece) in slices.iter_mut().zip(pieces.filter(|piece| !piece.is_empty())) {
            *slice = IoSlice::new(piece);
            count += 1;
        }
        Pin::new(io).poll_write_vectored(cx, &slices[..count])
    }

    fn wrote(&mut self, mut count: usize) {
        while let Some(first) = self.queue.front_mut() {
            let of_it = count.min(first.len());
            first.advance(of_it);
            count -= of_it;
            self.queued -= of_it;
            if !first.is_empty() {
                return;
            }
            self.queue.pop_front();
        }
        self.written += count;
    }

    /// What is left goes nowhere.
    pub fn forget(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, duplex};

    #[tokio::test]
    async fn what_was_written_is_not_kept_for_a_far_side_that_is_always_behind() {
        let (mut near, mut far) = duplex(4096);
        let mut out = Out::default();
        let (mut all, mut read) = (0, vec![0; 4096]);
        while all < 4 << 20 {
            while out.len() < KEPT {
                out.push(Bytes::from_static(&[b'x'; 1000]));
            }
            std::future::poll_fn(|cx| {
                assert!(out.poll_flush(&mut near, cx).is_pending(), "it is behind");
                Poll::Ready(())
            })
            .await;
            all += far.read(&mut read).await.expect("it is open");
            // Who works for long is told to wait with nothing to wait for.
            tokio::task::yield_now().await;
        }
        assert!(out.bytes.capacity() <= 4 * KEPT, "{}", out.bytes.capacity());
    }
}
