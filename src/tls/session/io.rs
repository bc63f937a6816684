//! A session as tokio reads and writes it.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::turn::{Come, End};
use super::{GATHERED, SEALED, Scratch, Session};

impl<IO: AsyncRead + AsyncWrite + Unpin, E: End> AsyncRead for Session<IO, E> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let session = self.get_mut();
        let before = buf.filled().len();
        loop {
            let count = session.plain.len().min(buf.remaining());
            buf.put_slice(&session.plain[..count]);
            session.plain.advance(count);
            if session.plain.is_empty() {
                session.plain = BytesMut::new();
            }
            if buf.filled().len() > before || buf.remaining() == 0 {
                return Poll::Ready(Ok(()));
            }
            let come = ready!(session.poll_hear(cx, buf))?;
            if come == Come::Over && session.plain.is_empty() {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin, E: End> AsyncWrite for Session<IO, E> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().poll_seal(cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        // Together they are fewer records.
        let mut gathered = Scratch::take(&GATHERED);
        for buf in bufs {
            let room = SEALED - gathered.filled().len();
            gathered.extend(&buf[..buf.len().min(room)]);
        }
        self.get_mut().poll_seal(cx, gathered.filled())
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let session = self.get_mut();
        if !session.is_held {
            ready!(session.poll_send(cx))?;
        }
        Pin::new(&mut session.io).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let session = self.get_mut();
        session.is_held = false;
        if !std::mem::replace(&mut session.is_shut, true) {
            let mut word = [0; 64];
            let mut size = 0;
            // What is broken has no more to say.
            let _ = session.write(cx, |traffic| {
                size = traffic.queue_close_notify(&mut word).unwrap_or_default();
                Ok(())
            });
            session.unsent.extend_from_slice(&word[..size]);
        }
        ready!(session.poll_send(cx))?;
        match ready!(Pin::new(&mut session.io).poll_shutdown(cx)) {
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Poll::Ready(Ok(())),
            shut => Poll::Ready(shut),
        }
    }
}

impl<IO: std::fmt::Debug, E> std::fmt::Debug for Session<IO, E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("io", &self.io).finish_non_exhaustive()
    }
}
