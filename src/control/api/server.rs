//! The control plane's port: connections, handshakes, and HTTP/2 to the services.
//!
//! A client certificate is optional; one that is shown must be good. Handshakes under way are
//! bounded, and each has a time limit, so that many half-open ones cost memory of a known size and
//! keep nobody else out for long.

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
use crate::http::respond::chain;
use crate::runtime::hyper_io::{HyperIo, OnRuntime, WorkerTimer};
use crate::runtime::socket;
use crate::tls::ControlServer;

/// Handshakes under way; each costs about half a millisecond of a core.
const HANDSHAKES: usize = 256;
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
    let handshakes = Arc::new(Semaphore::new(HANDSHAKES));
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
        let (tls, router) = (tls.load_full(), router.clone());
        let (handshakes, leaving) = (Arc::clone(&handshakes), leaving.clone());
        tokio::spawn(async move {
            // Who says nothing takes nobody's turn.
            let spoke = timeout(HANDSHAKE, stream.readable()).await;
            if !matches!(spoke, Ok(Ok(()))) {
                return;
            }
            let Ok(turn) = handshakes.acquire_owned().await else { return };
            let made = timeout(HANDSHAKE, shake(stream, &tls)).await;
            drop(turn);
            match made {
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

async fn shake(
    stream: TcpStream,
    tls: &ControlServer,
) -> Result<(Tls, Option<crate::tls::Peer>), crate::tls::PeerError> {
    // The peer may be gone already; then the handshake says so.
    let _ = socket::tune(&stream);
    tls.accept(stream).await
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
