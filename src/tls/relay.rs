//! Opaque bytes between a connection from the near side and one to the far side.
//!
//! Within the kernel where both are plain sockets. A side that broke is a reset on the other,
//! through whatever TLS lies between, so that nobody takes it for a clean end.

use std::io;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::{client, server};

use super::Stream;
use crate::runtime::{Prefixed, socket};
use crate::tcp::{self, Counters, End, Fault};

/// A stream that a socket lies under.
pub trait OverSocket {
    fn socket(&self) -> &TcpStream;
}

impl OverSocket for TcpStream {
    fn socket(&self) -> &TcpStream {
        self
    }
}

impl<S: OverSocket> OverSocket for Prefixed<S> {
    fn socket(&self) -> &TcpStream {
        self.get_ref().socket()
    }
}

impl<S: OverSocket> OverSocket for client::TlsStream<S> {
    fn socket(&self) -> &TcpStream {
        self.get_ref().0.socket()
    }
}

impl<S: OverSocket> OverSocket for server::TlsStream<S> {
    fn socket(&self) -> &TcpStream {
        self.get_ref().0.socket()
    }
}

impl<T: OverSocket> OverSocket for Stream<T> {
    fn socket(&self) -> &TcpStream {
        match self {
            Stream::Plain(stream) => stream,
            Stream::Tls(stream) => stream.socket(),
        }
    }
}

/// Carries bytes until both directions ended, one side broke, or nothing moved for `idle`. `first`
/// was already read from the far side, or is how that broke.
pub async fn relay<A, B>(
    near: Prefixed<Stream<A>>,
    far: &mut Stream<B>,
    first: io::Result<Bytes>,
    counters: &Counters,
    idle: Option<Duration>,
) -> End
where
    A: AsyncRead + AsyncWrite + Unpin + OverSocket,
    B: AsyncRead + AsyncWrite + Unpin + OverSocket,
{
    let (heard, mut near) = near.into_parts();
    carry(&mut near, far, heard, first, counters, idle).await
}

/// The same, but for as long as it may: when `until` says why not, both sides see a reset.
///
/// # Errors
/// What `until` said.
pub async fn relay_until<A, B, R>(
    near: Prefixed<Stream<A>>,
    far: &mut Stream<B>,
    first: io::Result<Bytes>,
    counters: &Counters,
    idle: Option<Duration>,
    until: impl Future<Output = R>,
) -> Result<End, R>
where
    A: AsyncRead + AsyncWrite + Unpin + OverSocket,
    B: AsyncRead + AsyncWrite + Unpin + OverSocket,
{
    let (heard, mut near) = near.into_parts();
    let why = tokio::select! {
        end = carry(&mut near, far, heard, first, counters, idle) => return Ok(end),
        why = until => why,
    };
    socket::reset_on_close(near.socket());
    socket::reset_on_close(far.socket());
    Err(why)
}

async fn carry<A, B>(
    near: &mut Stream<A>,
    far: &mut Stream<B>,
    heard: Bytes,
    first: io::Result<Bytes>,
    counters: &Counters,
    idle: Option<Duration>,
) -> End
where
    A: AsyncRead + AsyncWrite + Unpin + OverSocket,
    B: AsyncRead + AsyncWrite + Unpin + OverSocket,
{
    let first = match first {
        Ok(first) => first,
        Err(error) => {
            socket::reset_on_close(near.socket());
            return End::B(Fault::Read(error));
        }
    };
    // What can't be written now is found broken by the relay, which says which side it was.
    if far.write_all(&heard).await.is_ok() && far.flush().await.is_ok() {
        counters.a_to_b.fetch_add(heard.len() as u64, Relaxed);
    }
    if near.write_all(&first).await.is_ok() && near.flush().await.is_ok() {
        counters.b_to_a.fetch_add(first.len() as u64, Relaxed);
    }
    drop((heard, first));
    if let (Stream::Plain(near), Stream::Plain(far)) = (&mut *near, &mut *far) {
        return tcp::relay_tcp(near, far, counters, idle).await.end;
    }
    let end = tcp::relay(&mut *near, &mut *far, counters, idle).await.end;
    if end.is_broken() {
        socket::reset_on_close(near.socket());
        socket::reset_on_close(far.socket());
    }
    end
}
