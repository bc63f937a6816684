//! Buffers for reading, which the connections of a worker lend each other: one that waits has none.

use std::cell::Cell;
use std::future::Future;
use std::io;
use std::pin::pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};

/// Read at once: a record of TLS, and a frame with its head.
pub const READ: usize = 16 * 1024 + 512;
/// The same where more comes than that.
const MOST: usize = 128 * 1024;
/// With less than this left of it, a buffer is not read into any more.
const LEAST: usize = 4 * 1024;
/// Pieces of less are copied: each would keep a whole buffer.
const LITTLE: usize = 1024;

thread_local! {
    /// What some connection of this worker has read empty, for the next that reads.
    static SPARE: Cell<Option<BytesMut>> = const { Cell::new(None) };
}

/// Makes room to read into.
pub fn make_room(buf: &mut BytesMut) {
    if buf.capacity() - buf.len() < LEAST {
        match SPARE.take() {
            Some(spare) if buf.is_empty() => *buf = spare,
            spare => {
                SPARE.set(spare);
                buf.reserve(READ);
            }
        }
    }
}

/// An empty buffer is of more use to others.
pub fn put_back(buf: &mut BytesMut) {
    if buf.is_empty() && buf.capacity() > 0 {
        let mut buf = std::mem::take(buf);
        // What was taken of it may be in use still.
        if buf.try_reclaim(READ) {
            SPARE.set(Some(buf));
        }
    }
}

/// The first bytes of it; what is little is copied.
pub fn split(buf: &mut BytesMut, length: usize) -> Bytes {
    if length >= LITTLE {
        return buf.split_to(length).freeze();
    }
    let data = Bytes::copy_from_slice(&buf[..length]);
    bytes::Buf::advance(buf, length);
    data
}

/// How much to read at once of what one peer sends: more as long as that comes.
#[derive(Debug)]
pub struct Reads {
    at_once: usize,
}

impl Default for Reads {
    fn default() -> Self {
        Self { at_once: READ }
    }
}

impl Reads {
    /// Reads once, behind what `buf` has; where nothing comes, an empty `buf` is given back.
    pub fn poll<IO: AsyncRead + Unpin>(
        &mut self,
        io: &mut IO,
        buf: &mut BytesMut,
        cx: &mut Context<'_>,
    ) -> io::Result<Poll<usize>> {
        match self.at_once {
            READ => make_room(buf),
            at_once if buf.capacity() - buf.len() < at_once / 2 => buf.reserve(at_once),
            _ => {}
        }
        let room = buf.capacity() - buf.len();
        let read = pin!(io.read_buf(buf)).poll(cx)?;
        match read {
            Poll::Pending => put_back(buf),
            Poll::Ready(read) if read == room => self.at_once = MOST.min(2 * self.at_once),
            Poll::Ready(_) => {}
        }
        Ok(read)
    }
}
