//! A body that somebody writes, piece by piece: a tunnel's way to a near side that is a stream of
//! HTTP/2.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use bytes::{Bytes, BytesMut};
use http_body::{Body as _, Frame};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::body::{Body, BodyError};

/// What is written waits for its reader, up to this.
const ROOM: usize = 64 * 1024;

#[derive(Default)]
struct Shared {
    written: BytesMut,
    /// All is written.
    ended: bool,
    /// The writer or the reader is gone.
    broken: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

/// The body.
pub struct Piped(Rc<RefCell<Shared>>);

/// The near side of a tunnel: what it says is a request's body, and what it is told is the answer's.
pub struct Duplex {
    body: Body,
    unread: Bytes,
    to: Rc<RefCell<Shared>>,
}

/// The near side whose request has this body, and the body of the answer to it.
pub fn duplex(body: Body) -> (Duplex, Body) {
    let shared = Rc::new(RefCell::new(Shared::default()));
    let near = Duplex { body, unread: Bytes::new(), to: Rc::clone(&shared) };
    (near, Body::piped(Piped(shared)))
}

impl Piped {
    pub(super) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let mut shared = self.0.borrow_mut();
        if !shared.written.is_empty() {
            let written = std::mem::take(&mut shared.written).freeze();
            wake(&mut shared.writer);
            return Poll::Ready(Some(Ok(Frame::data(written))));
        }
        if shared.ended {
            return Poll::Ready(None);
        }
        if shared.broken {
            return Poll::Ready(Some(Err(BodyError::Cut)));
        }
        shared.reader = Some(cx.waker().clone());
        Poll::Pending
    }

    pub(super) fn is_end_stream(&self) -> bool {
        let shared = self.0.borrow();
        shared.ended && shared.written.is_empty()
    }
}

impl Drop for Piped {
    fn drop(&mut self) {
        let mut shared = self.0.borrow_mut();
        shared.broken = true;
        wake(&mut shared.writer);
    }
}

impl Drop for Duplex {
    /// Before its end, it is cut.
    fn drop(&mut self) {
        let mut shared = self.to.borrow_mut();
        shared.broken = true;
        wake(&mut shared.reader);
    }
}

impl Duplex {
    /// The far side broke: what it said may not be taken for all of it.
    pub fn cut(&mut self) {
        let mut shared = self.to.borrow_mut();
        shared.ended = false;
        shared.broken = true;
        wake(&mut shared.reader);
    }
}

fn wake(waker: &mut Option<Waker>) {
    if let Some(waker) = waker.take() {
        waker.wake();
    }
}

impl AsyncRead for Duplex {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        while this.unread.is_empty() {
            match Pin::new(&mut this.body).poll_frame(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Some(Ok(frame))) => {
                    this.unread = frame.into_data().unwrap_or_default();
                }
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(io::Error::other(error))),
                Poll::Ready(None) => return Poll::Ready(Ok(())),
            }
        }
        let length = this.unread.len().min(buf.remaining());
        buf.put_slice(&this.unread.split_to(length));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Duplex {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut shared = self.to.borrow_mut();
        if shared.broken {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let room = ROOM.saturating_sub(shared.written.len()).min(buf.len());
        if room == 0 && !buf.is_empty() {
            shared.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        shared.written.extend_from_slice(&buf[..room]);
        wake(&mut shared.reader);
        Poll::Ready(Ok(room))
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut shared = self.to.borrow_mut();
        shared.ended = true;
        wake(&mut shared.reader);
        Poll::Ready(Ok(()))
    }
}
