//! Who speaks first, and what.
//!
//! A client that stays silent for 20 ms may be waiting for its server, so the far side is dialled
//! meanwhile; a byte from the server first means opaque TCP. A byte from the client first starts
//! detection, which has 200 ms from that byte. Silence decides nothing: the race goes on for as long
//! as nobody speaks. What was read is kept and handed on.

use std::future::Future;
use std::io;
use std::pin::pin;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use crate::detect::{Hello, MAX_HELLO_BYTES, Sniff, read as read_hello, sniff, sniff_final};
use crate::model::Reason;
use crate::runtime::{Open, Phase};

/// How long a client may be silent before the far side is dialled.
pub const QUIET: Duration = Duration::from_millis(20);
/// Detection's time, from the first byte.
const DETECTION: Duration = Duration::from_millis(200);
/// A TLS hello's time; like a head's.
const HELLO: Duration = Duration::from_secs(10);
/// Enough for a request line and for most hellos.
const FIRST_READ: usize = 2048;

/// What the client's first bytes are; they are in the buffer that was passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    Http1,
    Http2,
    /// A whole TLS hello that offers one of the names of the mesh.
    MeshTls,
    /// Somebody's own TLS.
    AppTls,
    Opaque,
    /// A TLS hello that did not come to its end within 10 s.
    Unfinished,
    /// The client ended its side without a byte: HTTP is over then, an opaque server may still have
    /// its say.
    Nothing,
}

/// Whether the client spoke in its first 20 ms.
///
/// # Errors
/// The connection's.
pub async fn spoke_soon<R: AsyncRead + Unpin>(
    client: &mut R,
    heard: &mut BytesMut,
    quiet: Duration,
) -> io::Result<bool> {
    match timeout(quiet, more(client, heard)).await {
        Ok(read) => read.map(|_| true),
        Err(_) => Ok(false),
    }
}

/// Finds out what the client speaks, waiting for its first byte if none has come.
///
/// # Errors
/// The connection's.
pub async fn what<R: AsyncRead + Unpin>(client: &mut R, heard: &mut BytesMut) -> io::Result<Heard> {
    if heard.is_empty() && more(client, heard).await? == 0 {
        return Ok(Heard::Nothing);
    }
    let deadline = Instant::now() + DETECTION;
    loop {
        match sniff(heard) {
            Sniff::NeedMore => {}
            Sniff::Tls => return tls(client, heard).await,
            certain => return Ok(plain(certain)),
        }
        match timeout_at(deadline, more(client, heard)).await {
            Ok(Ok(0)) | Err(_) => break,
            Ok(Ok(_)) => {}
            Ok(Err(error)) => return Err(error),
        }
    }
    match sniff_final(heard) {
        Sniff::Tls => tls(client, heard).await,
        certain => Ok(plain(certain)),
    }
}

fn plain(sniff: Sniff) -> Heard {
    match sniff {
        Sniff::Http1 => Heard::Http1,
        Sniff::Http2 => Heard::Http2,
        Sniff::Tls | Sniff::NeedMore | Sniff::Opaque => Heard::Opaque,
    }
}

/// Reads a hello to its end, whatever its size, to see whom it is for.
async fn tls<R: AsyncRead + Unpin>(client: &mut R, heard: &mut BytesMut) -> io::Result<Heard> {
    let deadline = Instant::now() + HELLO;
    loop {
        match read_hello(heard) {
            Hello::Complete(hello) => {
                let ours = hello.alpn().any(|name| name.starts_with(b"outrigger-"));
                return Ok(if ours { Heard::MeshTls } else { Heard::AppTls });
            }
            Hello::Incomplete if heard.len() < MAX_HELLO_BYTES => {}
            _ => return Ok(Heard::AppTls),
        }
        match timeout_at(deadline, more(client, heard)).await {
            Ok(Ok(0)) => return Ok(Heard::AppTls),
            Ok(read) => read?,
            Err(_) => return Ok(Heard::Unfinished),
        };
    }
}

async fn more<R: AsyncRead + Unpin>(client: &mut R, heard: &mut BytesMut) -> io::Result<usize> {
    heard.reserve(FIRST_READ);
    client.read_buf(heard).await
}

/// Listens for as long as nobody need speak: until the process closes what is open, or nothing came
/// for `idle`.
///
/// # Errors
/// Why the silence is over.
pub async fn patiently<T>(
    open: &Open,
    idle: Duration,
    listening: impl Future<Output = T>,
) -> Result<T, Reason> {
    tokio::select! {
        biased;
        heard = listening => Ok(heard),
        () = open.reached(Phase::Closing) => Err(Reason::DrainDeadline),
        () = sleep(idle) => Err(Reason::IdleTimeout),
    }
}

/// How a race between a silent client and the far side came out.
#[derive(Debug)]
pub enum Race<F, E> {
    /// The client spoke; the connection to the far side is there if it was made by then.
    Client(Option<F>),
    /// The far side spoke first, or ended: it is opaque TCP, and these were its first bytes, or this
    /// is how it broke. A socket says that once.
    Far(F, io::Result<Bytes>),
    NotDialled(E),
}

/// Dials the far side and waits for whoever speaks first.
///
/// # Errors
/// The client's connection's. A far side that breaks is a far side that spoke.
pub async fn race<R, F, E>(
    client: &mut R,
    heard: &mut BytesMut,
    dial: impl Future<Output = Result<F, E>>,
) -> io::Result<Race<F, E>>
where
    R: AsyncRead + Unpin,
    F: AsyncRead + Unpin,
{
    let mut dial = pin!(dial);
    let mut far = tokio::select! {
        read = more(client, heard) => return read.map(|_| Race::Client(None)),
        dialled = &mut dial => match dialled {
            Ok(far) => far,
            Err(error) => return Ok(Race::NotDialled(error)),
        },
    };
    let mut first = BytesMut::with_capacity(FIRST_READ);
    let read = tokio::select! {
        biased;
        read = far.read_buf(&mut first) => read,
        read = more(client, heard) => return read.map(|_| Race::Client(Some(far))),
    };
    Ok(Race::Far(far, read.map(|_| first.freeze())))
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncWriteExt, duplex};

    use super::*;
    use crate::runtime::{Doorway, Drain};

    #[tokio::test(start_paused = true)]
    async fn a_pooled_connection_that_speaks_late_is_still_detected() {
        let (mut client, mut near) = duplex(1024);
        let (_server, far) = duplex(1024);
        let mut heard = BytesMut::new();
        assert!(!spoke_soon(&mut near, &mut heard, QUIET).await.expect("no error"));
        let speak = async {
            tokio::time::sleep(Duration::from_secs(600)).await;
            client.write_all(b"GET / HTTP/1.1\r\n").await.expect("written");
        };
        let dial = async { Ok::<_, ()>(far) };
        let (race, ()) = tokio::join!(race(&mut near, &mut heard, dial), speak);
        assert!(matches!(race, Ok(Race::Client(Some(_)))));
        assert_eq!(what(&mut near, &mut heard).await.expect("no error"), Heard::Http1);
    }

    /// A race in which nobody speaks.
    async fn silence(open: &Open, idle: Duration) -> Reason {
        let (_client, mut near) = duplex(1024);
        let (_server, far) = duplex(1024);
        let mut heard = BytesMut::new();
        let race = race(&mut near, &mut heard, async { Ok::<_, ()>(far) });
        patiently(open, idle, race).await.expect_err("nobody spoke")
    }

    #[tokio::test(start_paused = true)]
    async fn silence_ends_with_the_idle_time_or_the_drain() {
        let local = tokio::task::LocalSet::new();
        let drain = Drain::default();
        let day = Duration::from_secs(86_400);
        let silent = async {
            let open = Doorway::new(drain.clone()).enter();
            let begun = Instant::now();
            let idle = Duration::from_secs(300);
            assert_eq!(silence(&open, idle).await, Reason::IdleTimeout);
            assert_eq!(begun.elapsed().as_secs(), 300);
            assert_eq!(drain.open_connections(), 1, "it counts for as long as it is there");
            let begun = Instant::now();
            let (reason, ()) = tokio::join!(silence(&open, day), async {
                drain.advance(Phase::Draining);
                sleep(Duration::from_secs(20)).await;
                drain.advance(Phase::Closing);
            });
            assert_eq!((reason, begun.elapsed().as_secs()), (Reason::DrainDeadline, 20));
        };
        local.run_until(silent).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_speaks_first_is_heard_at_once() {
        let (_client, mut near) = duplex(1024);
        let (mut server, far) = duplex(1024);
        server.write_all(b"220 ready\r\n").await.expect("written");
        let mut heard = BytesMut::new();
        let race = race(&mut near, &mut heard, async { Ok::<_, ()>(far) }).await;
        let Ok(Race::Far(_, first)) = race else { panic!("the server spoke") };
        assert_eq!(first.expect("no error"), "220 ready\r\n");
    }

    #[tokio::test(start_paused = true)]
    async fn an_unfinished_beginning_is_decided_after_200_ms() {
        for (bytes, expected) in [
            (&b"GET /x"[..], Heard::Http1),
            (b"PRI * HT", Heard::Http2),
            (b"\x00\x00", Heard::Opaque),
        ] {
            let (mut client, mut near) = duplex(1024);
            client.write_all(bytes).await.expect("written");
            let begun = Instant::now();
            let heard = what(&mut near, &mut BytesMut::new()).await.expect("no error");
            assert_eq!(heard, expected);
            assert!(begun.elapsed() <= DETECTION);
        }
    }
}
