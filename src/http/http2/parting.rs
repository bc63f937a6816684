//! How a connection ends so that its last words are heard.
//!
//! A socket that is closed with something unread in it takes back what it has not sent yet, and what
//! the peer has not read. So who has answered all waits until the peer has read it, and whoever is
//! thrown out is listened to for a moment, without being heard.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

use super::error::Broken;

/// A peer that says nothing for so long does not read either.
const SILENCE: Duration = Duration::from_secs(5);
/// Nor is one waited for that talks for so many times longer, but never says that it has read all.
const TIMES: u32 = 12;
/// For one that was thrown out.
const MOMENT: Duration = Duration::from_secs(1);
const BYTES: usize = 1024 * 1024;

/// Waits for a peer that was asked whether it has read everything.
pub struct Parting {
    /// It has.
    pub is_done: bool,
    /// Something came since the last look.
    pub hears: bool,
    timer: Pin<Box<Sleep>>,
    times: u32,
}

impl Parting {
    pub fn new(is_done: bool) -> Self {
        Self { is_done, hears: false, timer: Box::pin(sleep(SILENCE)), times: TIMES }
    }

    /// Ready when the connection may be closed.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while !self.is_done {
            ready!(self.timer.as_mut().poll(cx));
            self.times -= 1;
            self.is_done = !std::mem::take(&mut self.hears) || self.times == 0;
            self.timer.as_mut().reset(Instant::now() + SILENCE);
        }
        Poll::Ready(())
    }
}

/// Tells a peer why its connection ends.
pub struct Farewell {
    broken: Broken,
    unwritten: Vec<u8>,
    written: usize,
    is_shut: bool,
    read: usize,
    timer: Pin<Box<Sleep>>,
}

impl Farewell {
    pub fn new(broken: Broken, unwritten: Vec<u8>) -> Self {
        let timer = Box::pin(sleep(MOMENT));
        Self { broken, unwritten, written: 0, is_shut: false, read: 0, timer }
    }

    /// Ready, with why, once the peer has heard it, or has had its moment.
    pub fn poll<IO>(&mut self, cx: &mut Context<'_>, io: &mut IO) -> Poll<Broken>
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        let mut io = Pin::new(io);
        let told = self.poll_tell(cx, io.as_mut());
        let is_over = matches!(told, Poll::Ready(Err(_)))
            || self.poll_ignore(cx, io).is_ready()
            || self.timer.as_mut().poll(cx).is_ready();
        if is_over { Poll::Ready(self.broken.clone()) } else { Poll::Pending }
    }

    fn poll_tell(
        &mut self,
        cx: &mut Context<'_>,
        mut io: Pin<&mut impl AsyncWrite>,
    ) -> Poll<io::Result<()>> {
        while self.written < self.unwritten.len() {
            let written = ready!(io.as_mut().poll_write(cx, &self.unwritten[self.written..]))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.written += written;
        }
        if !self.is_shut {
            ready!(io.poll_shutdown(cx))?;
            self.is_shut = true;
        }
        Poll::Ready(Ok(()))
    }

    /// Ready when the peer has nothing more to say, or too much.
    fn poll_ignore(&mut self, cx: &mut Context<'_>, mut io: Pin<&mut impl AsyncRead>) -> Poll<()> {
        let mut bytes = [0; 4096];
        while self.read < BYTES {
            let mut bytes = ReadBuf::new(&mut bytes);
            let read = ready!(io.as_mut().poll_read(cx, &mut bytes));
            if read.is_err() || bytes.filled().is_empty() {
                break;
            }
            self.read += bytes.filled().len();
        }
        Poll::Ready(())
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_is_asked_is_waited_for_as_long_as_it_talks() {
        let begun = Instant::now();
        let mut silent = Parting::new(false);
        poll_fn(|cx| silent.poll(cx)).await;
        assert_eq!(begun.elapsed().as_secs(), 5);
        let begun = Instant::now();
        let mut talks = Parting::new(false);
        poll_fn(|cx| {
            talks.hears = true;
            talks.poll(cx)
        })
        .await;
        assert_eq!(begun.elapsed().as_secs(), 60);
        let mut done = Parting::new(false);
        done.is_done = true;
        poll_fn(|cx| done.poll(cx)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_last_word_waits_for_room_and_for_its_hearer() {
        let (mut near, mut far) = duplex(8);
        let begun = Instant::now();
        let mut farewell = Farewell::new(Broken::Closed, b"a longer word".to_vec());
        let hears = async {
            far.write_all(b"what nobody hears any more").await.expect("room");
            let mut heard = Vec::new();
            far.read_to_end(&mut heard).await.expect("an end");
            assert_eq!(heard, b"a longer word");
            drop(far);
        };
        tokio::join!(poll_fn(|cx| farewell.poll(cx, &mut near)), hears);
        assert_eq!(begun.elapsed().as_secs(), 0);
        let (mut near, far) = duplex(8);
        let mut farewell = Farewell::new(Broken::Closed, b"a longer word".to_vec());
        poll_fn(|cx| farewell.poll(cx, &mut near)).await;
        assert_eq!(begun.elapsed(), MOMENT);
        drop(far);
    }
}
