//! Opaque bytes between a connection from the near side and one to the far side.
//!
//! Within the kernel where both are plain sockets. A side that broke is a reset on the other,
//! through whatever TLS lies between, so that nobody takes it for a clean end.

use std::io;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use bytes::Bytes;
use rustls::pki_types::CertificateDer;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{ClientSession, ServerSession, Stream};
use crate::model::Reason;
use crate::runtime::{Prefixed, socket};
use crate::tcp::{self, Counters, End, Fault};

/// A stream that a socket lies under, and perhaps a TLS session.
pub trait OverSocket {
    fn socket(&self) -> &TcpStream;

    /// What the peer showed in its handshake, leaf first; empty in plaintext.
    fn chain(&self) -> &[CertificateDer<'static>];
}

impl OverSocket for TcpStream {
    fn socket(&self) -> &TcpStream {
        self
    }

    fn chain(&self) -> &[CertificateDer<'static>] {
        &[]
    }
}

impl<S: OverSocket> OverSocket for Prefixed<S> {
    fn socket(&self) -> &TcpStream {
        self.get_ref().socket()
    }

    fn chain(&self) -> &[CertificateDer<'static>] {
        self.get_ref().chain()
    }
}

impl<S: OverSocket> OverSocket for ClientSession<S> {
    fn socket(&self) -> &TcpStream {
        self.get_ref().0.socket()
    }

    fn chain(&self) -> &[CertificateDer<'static>] {
        self.get_ref().1.peer_certificates().unwrap_or_default()
    }
}

impl<S: OverSocket> OverSocket for ServerSession<S> {
    fn socket(&self) -> &TcpStream {
        self.get_ref().0.socket()
    }

    fn chain(&self) -> &[CertificateDer<'static>] {
        self.get_ref().1.peer_certificates().unwrap_or_default()
    }
}

impl<T: OverSocket> OverSocket for Stream<T> {
    fn socket(&self) -> &TcpStream {
        match self {
            Stream::Plain(stream) => stream,
            Stream::Tls(stream) => stream.socket(),
        }
    }

    fn chain(&self) -> &[CertificateDer<'static>] {
        match self {
            Stream::Plain(_) => &[],
            Stream::Tls(stream) => stream.chain(),
        }
    }
}

/// Carries bytes until both directions ended, one side broke, or nothing moved for `idle`; and for
/// as long as it may: when `until` says why not, both sides see a reset. What nobody uses any more
/// ends as it does after any idle time, which cuts nothing short. `first` was already read from the
/// far side, or is how that broke.
///
/// # Errors
/// What `until` said.
pub async fn relay_until<A, B>(
    near: Prefixed<Stream<A>>,
    far: &mut Stream<B>,
    first: io::Result<Bytes>,
    counters: &Counters,
    idle: Option<Duration>,
    until: impl Future<Output = Reason>,
) -> Result<End, Reason>
where
    A: AsyncRead + AsyncWrite + Unpin + OverSocket,
    B: AsyncRead + AsyncWrite + Unpin + OverSocket,
{
    let (heard, mut near) = near.into_parts();
    // Not a byte of who may not go on.
    let why = tokio::select! {
        biased;
        why = until => why,
        end = carry(&mut near, far, heard, first, counters, idle) => return Ok(end),
    };
    if why != Reason::IdleTimeout {
        socket::reset_on_close(near.socket());
        socket::reset_on_close(far.socket());
    }
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

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    type Plain = Stream<ClientSession<TcpStream>>;

    async fn pair() -> (Plain, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let address = listener.local_addr().expect("it listens");
        let (ours, theirs) = tokio::join!(TcpStream::connect(address), listener.accept());
        (Stream::Plain(ours.expect("connected")), theirs.expect("accepted").0)
    }

    #[tokio::test]
    async fn of_who_may_not_go_on_no_byte_is_delivered() {
        for _ in 0..16 {
            let ((near, _caller), (mut far, _app)) = (pair().await, pair().await);
            let near = Prefixed::new(Bytes::from_static(b"first"), near);
            let (first, moved) = (Ok(Bytes::from_static(b"hello")), Counters::default());
            let until = async { Reason::Revoked };
            let end = relay_until(near, &mut far, first, &moved, None, until).await;
            assert_eq!(end.err(), Some(Reason::Revoked));
            assert_eq!(moved.read(), (0, 0));
        }
    }
}
