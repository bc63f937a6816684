//! hyper's I/O, executor and timer traits over a current-thread tokio runtime.

use std::cell::RefCell;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use hyper::rt::{Executor, Read, ReadBufCursor, Sleep, Timer, Write};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A tokio stream as hyper reads and writes it.
#[derive(Debug)]
pub struct HyperIo<T>(pub T);

impl<T: AsyncRead + Unpin> Read for HyperIo<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut cursor: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        // SAFETY: `ReadBuf` only ever initialises what it hands out, and `filled` counts the bytes
        // that the inner read initialised.
        let filled = unsafe {
            let mut buf = ReadBuf::uninit(cursor.as_mut());
            std::task::ready!(Pin::new(&mut self.0).poll_read(cx, &mut buf))?;
            buf.filled().len()
        };
        // SAFETY: the bytes up to `filled` were initialised just now.
        unsafe { cursor.advance(filled) };
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> Write for HyperIo<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        poll_write_few(Pin::new(&mut self.0), cx, bufs)
    }
}

/// Below this, copying the pieces together is cheaper than a vectored system call.
const FEW_BYTES: usize = 2048;

/// A vectored write that uses the plain system call where it can.
pub fn poll_write_few<T: AsyncWrite>(
    io: Pin<&mut T>,
    cx: &mut Context<'_>,
    bufs: &[io::IoSlice<'_>],
) -> Poll<io::Result<usize>> {
    if let [one] = bufs {
        return io.poll_write(cx, one);
    }
    let total: usize = bufs.iter().map(|buf| buf.len()).sum();
    if total > FEW_BYTES {
        return io.poll_write_vectored(cx, bufs);
    }
    TOGETHER.with_borrow_mut(|together| {
        together.clear();
        bufs.iter().for_each(|buf| together.extend_from_slice(buf));
        io.poll_write(cx, together)
    })
}

thread_local! {
    /// Where they are copied to.
    static TOGETHER: RefCell<Vec<u8>> = RefCell::new(Vec::with_capacity(FEW_BYTES));
}

/// Runs hyper's own tasks on this worker.
#[derive(Clone, Copy, Debug)]
pub struct OnWorker;

impl<F> Executor<F> for OnWorker
where
    F: Future + 'static,
    F::Output: 'static,
{
    fn execute(&self, future: F) {
        tokio::task::spawn_local(future);
    }
}

/// Spawns on a runtime of several threads.
#[derive(Clone, Copy, Debug)]
pub struct OnRuntime;

impl<F> Executor<F> for OnRuntime
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn execute(&self, future: F) {
        tokio::task::spawn(future);
    }
}

/// tokio's timer for hyper's pings.
#[derive(Clone, Copy, Debug)]
pub struct WorkerTimer;

impl Timer for WorkerTimer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        self.sleep_until(self.now() + duration)
    }

    /// tokio's clock, which tests can hold still.
    fn now(&self) -> Instant {
        tokio::time::Instant::now().into_std()
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Sleep>> {
        Box::pin(WorkerSleep(Box::pin(tokio::time::sleep_until(deadline.into()))))
    }

    fn reset(&self, sleep: &mut Pin<Box<dyn Sleep>>, deadline: Instant) {
        if let Some(sleep) = sleep.as_mut().downcast_mut_pin::<WorkerSleep>() {
            sleep.get_mut().0.as_mut().reset(deadline.into());
        }
    }
}

struct WorkerSleep(Pin<Box<tokio::time::Sleep>>);

impl Future for WorkerSleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.0.as_mut().poll(cx)
    }
}

impl Sleep for WorkerSleep {}
