//! The port itself: plaintext and TLS on one listener, HTTP/1.1 in both, one request a connection.
//!
//! Strangers reach it, so all that a visit can take is bounded: how many there are, in all and from one
//! place, how long each waits for the next step, and how long it lasts. Who asks nothing makes room. Pages are made on threads that may block: a list
//! of thousands of sessions must not hold up the sessions themselves.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::request::Parts;
use http::{Method, Request, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};

use super::guard::{Refusal, Way};
use super::{Port, View, pages};
use crate::control::dashboard;
use crate::control::door::{Door, Guest, Room};
use crate::http::answers::{self, Answer};
use crate::http::reasons;
use crate::runtime::hyper_io::{HyperIo, WorkerTimer};
use crate::runtime::supervise::kept_anew;

/// Connections at a time: probes, a scraper, a few people.
const CONNECTIONS: Room = Room { all: 64, each: 32 };

/// For the first byte, for the handshake, and for a request's head.
const STEP: Duration = Duration::from_secs(5);

/// For all of a visit. Arbitrary; a slow line takes a large page in less.
const VISIT: Duration = Duration::from_secs(60);

/// Seconds that a profile may take: a part of a visit.
const PROFILE: u64 = 45;

/// What a wrong token costs whoever guesses.
const GUESS: Duration = Duration::from_millis(500);

/// Of a request's head. No page needs more than a token and a line.
const HEAD_BYTES: usize = 16 * 1024;

/// The record type that a ClientHello comes in (RFC 8446, section 5.1); no HTTP request begins so.
const HANDSHAKE: u8 = 0x16;

/// Serves until the future is dropped. To be called on a runtime; each visit is a task of its own.
pub async fn serve(listener: TcpListener, port: Arc<Port>) {
    let (listener, door) = (Arc::new(listener), Door::new(CONNECTIONS));
    let begin = || accept(Arc::clone(&listener), Arc::clone(&door), Arc::clone(&port));
    kept_anew("the admin port", begin).await;
}

async fn accept(listener: Arc<TcpListener>, door: Arc<Door>, port: Arc<Port>) {
    loop {
        match listener.accept().await {
            Ok((stream, client)) => {
                let Some(guest) = door.enter(client.ip()).map(Arc::new) else { continue };
                let port = Arc::clone(&port);
                tokio::spawn(async move {
                    let visit = timeout(VISIT, visit(port, stream, client, Arc::clone(&guest)));
                    tokio::select! {
                        biased;
                        () = guest.shown_out() => {}
                        // A visitor who stays too long is nobody's trouble.
                        _ = visit => {}
                    }
                });
            }
            // Out of descriptors, mostly: trying at once would only burn the processor.
            Err(_) => sleep(Duration::from_millis(100)).await,
        }
    }
}

async fn visit(port: Arc<Port>, stream: TcpStream, client: SocketAddr, guest: Arc<Guest>) {
    let mut first = [0];
    let Ok(Ok(1)) = timeout(STEP, stream.peek(&mut first)).await else { return };
    if first[0] != HANDSHAKE {
        return converse(port, stream, client, Way::Plaintext, guest).await;
    }
    let tls = port.tls.load_full();
    match timeout(STEP, tls.accept(stream)).await {
        Ok(Ok((stream, peer))) => {
            converse(port, stream, client, Way::Tls(peer.map(Arc::new)), guest).await;
        }
        Ok(Err(error)) => tracing::debug!(%client, "no TLS session on the admin port: {error}"),
        Err(_) => tracing::debug!(%client, "no TLS session on the admin port in time"),
    }
}

fn converse<IO>(
    port: Arc<Port>,
    stream: IO,
    client: SocketAddr,
    way: Way,
    guest: Arc<Guest>,
) -> impl Future<Output = ()> + Send
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |request| {
        guest.spoke();
        let (port, way) = (Arc::clone(&port), way.clone());
        async move { Ok::<_, Infallible>(answer(port, client, &way, request).await) }
    });
    let connection = http1::Builder::new()
        .timer(WorkerTimer)
        .header_read_timeout(STEP)
        .max_buf_size(HEAD_BYTES)
        .keep_alive(false)
        .serve_connection(HyperIo(stream), service);
    async move {
        // A visitor who leaves early is nobody's trouble.
        let _ = connection.await;
    }
}

async fn answer(
    port: Arc<Port>,
    client: SocketAddr,
    way: &Way,
    request: Request<Incoming>,
) -> Answer {
    if let Err(refusal) = port.check(&request, client, way) {
        if refusal == Refusal::WrongToken {
            port.guessed(client);
            sleep(GUESS).await;
        }
        return refusal.answer();
    }
    let asked = request.into_parts().0;
    match asked.uri.path() {
        "/live" => answers::text(StatusCode::OK, "live\n"),
        "/ready" => answers::ready(&port.view.readiness),
        "/debug/pprof/profile" => match asked.method {
            Method::GET => answers::profile(asked.uri.query(), PROFILE).await,
            _ => answers::unknown(),
        },
        _ => {
            let made = tokio::task::spawn_blocking(move || page(&port.view, &asked));
            made.await.unwrap_or_else(|_| {
                let sentence = "this page broke; the log says how\n";
                answers::text(StatusCode::INTERNAL_SERVER_ERROR, sentence)
            })
        }
    }
}

fn page(view: &View, asked: &Parts) -> Answer {
    match (&asked.method, asked.uri.path()) {
        #[cfg(debug_assertions)]
        (&Method::POST, "/panic") => answers::rehearse(asked.uri.query()),
        (&Method::POST, "/log") => answers::set_log(&view.log, asked.uri.query()),
        (&Method::GET | &Method::HEAD, path) => match path {
            "/pages" => pages::index(view),
            "/metrics" => answers::metrics(&view.registry, &asked.headers),
            "/sessions" => answers::json(&pages::sessions(view)),
            "/services" => answers::json(&pages::services(view)),
            "/registrations" => answers::json(&pages::registrations(view)),
            "/plaintext" => answers::json(&pages::plaintext(view)),
            "/watches" => answers::json(&pages::watches(view)),
            "/ca" => answers::json(&(view.authorities)()),
            "/config" => answers::json(&view.config),
            "/log" => answers::log(&view.log),
            api if api.starts_with("/api/") => super::api::answer(view, api, asked.uri.query()),
            _ => {
                let known = reasons::word(path).map(pages::reason);
                known
                    .or_else(|| dashboard::file(path, &asked.headers))
                    .unwrap_or_else(answers::unknown)
            }
        },
        _ => answers::text(
            StatusCode::METHOD_NOT_ALLOWED,
            "pages are read with GET; only the log's level can be changed: POST /log?level=debug\n",
        ),
    }
}
