//! The control plane's port: connections, handshakes, and HTTP/2 to the services.
//!
//! A client certificate is optional; one that is shown must be good. Who has not proven anything yet
//! is bounded, in all and from one place, and has a time limit: half-open connections cost memory of
//! a known size. A handshake takes its turn when the hello is there, and no place has all turns, so
//! that nobody else is kept out.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::time::{sleep, timeout};
use tracing::{debug, error};

use super::callers::Caller;
use super::router::Router;
use super::turns::Turns;
use crate::control::door::{Door, Guest, Room};
use crate::http::respond::chain;
use crate::runtime::hyper_io::{HyperIo, OnRuntime, WorkerTimer};
use crate::tls::{ControlServer, Peer, PeerError, hello};

/// Connections before the end of their handshake: some 10 KiB each, and 64 where somebody makes the
/// most of it. Arbitrary: a whole mesh that comes back at once comes from many places.
const WAITING: Room = Room { all: 8_192, each: 1_024 };
/// Handshakes under way, and those of one place; each costs about half a millisecond of a core, and
/// then waits for its client.
const HANDSHAKES: usize = 256;
const HANDSHAKES_EACH: usize = 32;
/// How long one may take.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How long who shows no certificate may begin calls.
const VISIT: Duration = Duration::from_secs(60);
/// Open connections: far more than the largest mesh that one process serves.
const CONNECTIONS: usize = 50_000;
/// Calls at once on one connection: a sidecar makes one, a person a few.
const STREAMS: u32 = 64;
/// Request headers of one call.
const HEADERS: u32 = 16 << 10;
/// Between two pings on a silent connection, and how long its answer may take.
const PING: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(10));

/// Accepts until `leaving` turns true; then the future ends with the last connection.
pub async fn serve(
    listener: TcpListener,
    tls: Arc<ArcSwap<ControlServer>>,
    router: Router,
    mut leaving: watch::Receiver<bool>,
) {
    let connections = Arc::new(Semaphore::new(CONNECTIONS));
    let (door, turns) = (Door::new(WAITING), Arc::new(Turns::new(HANDSHAKES, HANDSHAKES_EACH)));
    loop {
        let Ok(place) = Arc::clone(&connections).acquire_owned().await else { return };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = leaving.changed() => break,
        };
        let (stream, address) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                error!(%error, "a connection can't be accepted");
                // Out of files: nothing changes by asking again at once.
                sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let Some(guest) = door.enter(address.ip()) else {
            debug!(%address, "too many from there are about to begin");
            continue;
        };
        let (tls, router) = (tls.load_full(), router.clone());
        let (turns, leaving) = (Arc::clone(&turns), leaving.clone());
        tokio::spawn(async move {
            let shaken = tokio::select! {
                biased;
                () = guest.shown_out() => return debug!(%address, "made room for another"),
                shaken = timeout(HANDSHAKE, shake(stream, &tls, &guest, &turns)) => shaken,
            };
            drop(guest);
            match shaken {
                Ok(Ok((stream, peer))) => {
                    connection(stream, Caller { address, peer }, router, leaving).await;
                }
                Ok(Err(error)) => debug!(%address, "a handshake failed: {error}"),
                Err(_) => debug!(%address, "a handshake took too long"),
            }
            drop(place);
        });
    }
    // Each connection gives its place back when its calls are answered.
    let _ = connections.acquire_many(CONNECTIONS as u32).await;
}

type Tls = tokio_rustls::server::TlsStream<TcpStream>;

/// Waits for the hello, which takes nobody's turn, then for a turn to answer it.
async fn shake(
    stream: TcpStream,
    tls: &ControlServer,
    guest: &Guest,
    turns: &Turns,
) -> Result<(Tls, Option<Peer>), PeerError> {
    let hello = hello(stream).await?;
    guest.spoke();
    let _turn = turns.take(guest.place()).await;
    tls.answer(hello).await
}

async fn connection(
    stream: Tls,
    caller: Caller,
    router: Router,
    mut leaving: watch::Receiver<bool>,
) {
    let address: SocketAddr = caller.address;
    let is_nobody = caller.peer.is_none();
    let service = service_fn(move |request| {
        let (router, caller) = (router.clone(), caller.clone());
        async move { Ok::<_, std::convert::Infallible>(router.answer(caller, request).await) }
    });
    let mut builder = http2::Builder::new(OnRuntime);
    builder
        .timer(WorkerTimer)
        .max_concurrent_streams(STREAMS)
        .max_header_list_size(HEADERS)
        .keep_alive_interval(PING.0)
        .keep_alive_timeout(PING.1);
    let mut connection = std::pin::pin!(builder.serve_connection(HyperIo(stream), service));
    // Calls under way are finished; it may not stay just to be there.
    let visit = async { if is_nobody { sleep(VISIT).await } else { std::future::pending().await } };
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = visit => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
        _ = leaving.changed() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        debug!(%address, "a connection broke: {}", chain(&error));
    }
}
