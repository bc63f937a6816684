//! The listener: finds the target that a path names, and says in a status what became of it.
//!
//! Anyone may ask, so that everything has an end: one request a connection, little time to make
//! it, a bound on those who have not made it yet and on those who wait for each target, and one ask
//! of each target at a time. Whoever waits for a slow container keeps nobody from another.

use std::cell::Cell;
use std::convert::Infallible;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, Method, Request, StatusCode, header};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};

use super::Settings;
use super::target::{Asked, Asker};
use crate::http::answers::{Answer, text};
use crate::runtime::hyper_io::{HyperIo, WorkerTimer};
use crate::runtime::supervise::kept;

/// Connections whose request has not come yet. Arbitrary: some for each probe of a large pod.
const UNHEARD: usize = 256;
/// kubelet sends its request at once.
const HEAD_WITHIN: Duration = Duration::from_secs(2);
/// To hand an answer over, once there is one; it fits a socket's buffer.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);
/// What is said to the app where the one who probes has no name.
const AGENT: HeaderValue = HeaderValue::from_static("outrigger-proxy");

/// Whom may be asked.
struct Targets {
    all: Vec<Rc<Asked>>,
    own_ports: Rc<[u16]>,
}

/// Serves until the process ends. `own_ports` are the sidecar's.
pub async fn serve(listener: TcpListener, settings: Settings, own_ports: Vec<u16>) {
    let longest = settings.targets.iter().map(|target| target.timeout).max().unwrap_or_default();
    let limit = HEAD_WITHIN + longest + ANSWER_WITHIN;
    let all = settings.targets.into_iter().map(Asked::new).collect();
    let targets = Rc::new(Targets { all, own_ports: own_ports.into() });
    let places = Arc::new(Semaphore::new(UNHEARD));
    let accepting = async || accept(&listener, &targets, &places, limit).await;
    kept("the port of probes", accepting).await;
}

async fn accept(
    listener: &TcpListener,
    targets: &Rc<Targets>,
    places: &Arc<Semaphore>,
    limit: Duration,
) {
    loop {
        // Never closed.
        let Ok(place) = Arc::clone(places).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let served = connection(stream, Rc::clone(targets), place);
                tokio::task::spawn_local(async move {
                    let _ = timeout(limit, served).await;
                });
            }
            Err(_) => sleep(Duration::from_millis(100)).await,
        }
    }
}

async fn connection(stream: TcpStream, targets: Rc<Targets>, place: OwnedSemaphorePermit) {
    let Ok(own) = stream.local_addr() else { return };
    let place = Cell::new(Some(place));
    let service = service_fn(move |request| {
        drop(place.take());
        let targets = Rc::clone(&targets);
        async move { Ok::<_, Infallible>(targets.answer(own.ip(), &request).await) }
    });
    let connection = http1::Builder::new()
        .keep_alive(false)
        .timer(WorkerTimer)
        .header_read_timeout(HEAD_WITHIN)
        .max_buf_size(16 << 10)
        .serve_connection(HyperIo(stream), service);
    // Who leaves early doesn't want to know.
    let _ = connection.await;
}

impl Targets {
    async fn answer(&self, own: IpAddr, request: &Request<Incoming>) -> Answer {
        if request.method() != Method::GET {
            return text(StatusCode::METHOD_NOT_ALLOWED, "probes are asked with GET\n");
        }
        let path = request.uri().path();
        let Some(asked) = self.all.iter().find(|asked| asked.path == path) else {
            return text(StatusCode::NOT_FOUND, self.unknown());
        };
        let agent = request.headers().get(header::USER_AGENT).cloned().unwrap_or(AGENT);
        let asker = Asker { own, agent, own_ports: Rc::clone(&self.own_ports) };
        match asked.verdict(asker).await {
            Ok(said) => text(StatusCode::OK, format!("{said}\n")),
            Err(said) => text(StatusCode::SERVICE_UNAVAILABLE, format!("{said}\n")),
        }
    }

    fn unknown(&self) -> String {
        let there_are: Vec<&str> = self.all.iter().map(|asked| &*asked.path).collect();
        match &there_are[..] {
            [] => "no such probe; none is configured\n".into(),
            all => format!("no such probe; there are:\n{}\n", all.join("\n")),
        }
    }
}
