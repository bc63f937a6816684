//! HTTPS, and a path for each who judges: `POST /inject`, `POST /validate`.
//!
//! The API server calls it for every pod that is to be meshed and every resource that is written, and
//! waits; anybody in the cluster can reach it. So all that a caller can take is bounded: connections,
//! in all and from one place, of which those that ask nothing make room; how long a silent one stays,
//! how large a question is, how many are read at once, and how long an answer takes.

use std::convert::Infallible;
use std::future::pending;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tracing::debug;

use super::Judge;
use crate::control::door::{Door, Guest, Room};
use crate::http::answers::{self, Answer};
use crate::http::respond::chain;
use crate::runtime::hyper_io::{HyperIo, WorkerTimer};
use crate::runtime::supervise::kept_anew;

/// An API server keeps one for each call that it has under way; a cluster has a few of them.
const CONNECTIONS: Room = Room { all: 512, each: 256 };

/// For the handshake, and then for the first request's head.
const STEP: Duration = Duration::from_secs(5);

/// For the next request. The API server lets go of an idle connection after 90 s, and should never
/// find one closed that it is about to use.
const IDLE: Duration = Duration::from_secs(120);

/// For a body and its answer: what the API server waits for, unless it is told otherwise.
const ANSWER: Duration = Duration::from_secs(10);

/// What the API server takes for an object at most.
const BODY_BYTES: usize = 3 << 20;

/// Questions that are read and answered at once: with the trees that are made of them, the memory
/// that strangers can have us take.
const AT_ONCE: usize = 16;

/// The certificate in use; whoever renews it replaces it.
pub type Tls = Arc<ArcSwap<rustls::ServerConfig>>;

/// Who judges at which path.
pub type Paths = Vec<(&'static str, Arc<dyn Judge>)>;

/// Serves until the future is dropped. To be called on a runtime; each connection is a task of its
/// own.
pub async fn serve(listener: TcpListener, tls: Tls, paths: Paths) {
    let door = Door::new(CONNECTIONS);
    let desk = Arc::new(Desk { paths, questions: Semaphore::new(AT_ONCE) });
    let listener = Arc::new(listener);
    let begin = || {
        let (listener, door) = (Arc::clone(&listener), Arc::clone(&door));
        accept(listener, door, Arc::clone(&tls), Arc::clone(&desk))
    };
    kept_anew("the webhook's port", begin).await;
}

async fn accept(listener: Arc<TcpListener>, door: Arc<Door>, tls: Tls, desk: Arc<Desk>) {
    loop {
        match listener.accept().await {
            Ok((stream, client)) => {
                let Some(guest) = door.enter(client.ip()).map(Arc::new) else { continue };
                let (tls, desk) = (TlsAcceptor::from(tls.load_full()), Arc::clone(&desk));
                tokio::spawn(async move {
                    tokio::select! {
                        biased;
                        () = guest.shown_out() => debug!(%client, "made room for another"),
                        () = visit(stream, client, tls, desk, Arc::clone(&guest)) => {}
                    }
                });
            }
            // Out of descriptors, mostly: trying at once would only burn the processor.
            Err(_) => sleep(Duration::from_millis(100)).await,
        }
    }
}

struct Desk {
    paths: Paths,
    questions: Semaphore,
}

async fn visit(
    stream: TcpStream,
    client: SocketAddr,
    tls: TlsAcceptor,
    desk: Arc<Desk>,
    guest: Arc<Guest>,
) {
    let stream = match timeout(STEP, tls.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return debug!(%client, "no TLS session with the webhook: {error}"),
        Err(_) => return debug!(%client, "no TLS session with the webhook in time"),
    };
    let spoke = Arc::new(AtomicBool::new(false));
    let heard = Arc::clone(&spoke);
    let service = service_fn(move |request| {
        if !heard.swap(true, Ordering::Relaxed) {
            guest.spoke();
        }
        let desk = Arc::clone(&desk);
        async move { Ok::<_, Infallible>(answer(&desk, request).await) }
    });
    let connection = http1::Builder::new()
        .timer(WorkerTimer)
        .header_read_timeout(IDLE)
        .serve_connection(HyperIo(stream), service);
    tokio::select! {
        // A caller who leaves early is nobody's trouble.
        _ = connection => {}
        () = silence(&spoke) => debug!(%client, "connected to the webhook and asked nothing"),
    }
}

/// Ends when nothing was said in time.
async fn silence(spoke: &AtomicBool) {
    sleep(STEP).await;
    if spoke.load(Ordering::Relaxed) {
        pending::<()>().await;
    }
}

async fn answer(desk: &Desk, request: Request<Incoming>) -> Answer {
    let path = request.uri().path();
    let Some((_, judge)) = desk.paths.iter().find(|(at, _)| *at == path) else {
        let all: Vec<&str> = desk.paths.iter().map(|(at, _)| *at).collect();
        let sentence = format!("the API server's questions are answered at {}\n", all.join(", "));
        return answers::text(StatusCode::NOT_FOUND, sentence);
    };
    let judge = Arc::clone(judge);
    if request.method() != Method::POST {
        return answers::text(StatusCode::METHOD_NOT_ALLOWED, "use POST\n");
    }
    let kind = request.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    if kind.and_then(|kind| kind.split(';').next()).map(str::trim) != Some("application/json") {
        let sentence = "expected an AdmissionReview as application/json\n";
        return answers::text(StatusCode::UNSUPPORTED_MEDIA_TYPE, sentence);
    }
    timeout(ANSWER, judged(desk, &*judge, request)).await.unwrap_or_else(|_| {
        let sentence = format!("the question was not whole, or not answered, within {ANSWER:?}\n");
        answers::text(StatusCode::REQUEST_TIMEOUT, sentence)
    })
}

async fn judged(desk: &Desk, judge: &dyn Judge, request: Request<Incoming>) -> Answer {
    // Never closed.
    let _place = desk.questions.acquire().await;
    let body = match Limited::new(request.into_body(), BODY_BYTES).collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) if error.is::<LengthLimitError>() => {
            let sentence = format!("the question is larger than {} MiB\n", BODY_BYTES >> 20);
            return answers::text(StatusCode::PAYLOAD_TOO_LARGE, sentence);
        }
        Err(error) => {
            let sentence = format!("the question can't be read: {error}\n");
            return answers::text(StatusCode::BAD_REQUEST, sentence);
        }
    };
    match judge.review(&body) {
        Ok(review) => answers::json(&review),
        Err(error) => answers::text(StatusCode::BAD_REQUEST, format!("{}\n", chain(&error))),
    }
}
