//! The admin port's HTTP server and its routes.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{Method, Request, StatusCode};
use http_body_util::Either;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::sleep;

use super::tap::{self, Page};
use super::view::{Command, View};
use super::{page, pages};
use crate::http::answers::{self, Answer, json, text};
use crate::http::{local_only, reasons};
use crate::runtime::Phase;
use crate::runtime::hyper_io::{HyperIo, WorkerTimer};
use crate::runtime::supervise::kept;

/// Admin connections at a time: probes, a scraper, a few people.
const CONNECTIONS: usize = 64;

/// Seconds that a profile may take. Arbitrary.
const PROFILE: u64 = 300;

/// Serves until the process ends.
pub async fn serve(listener: TcpListener, view: View) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    kept("the admin port", async || accept(&listener, &view, &places).await).await;
}

async fn accept(listener: &TcpListener, view: &View, places: &Arc<Semaphore>) {
    loop {
        // Never closed.
        let Ok(place) = Arc::clone(places).acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((stream, client)) => {
                let view = view.clone();
                tokio::task::spawn_local(async move {
                    let service = service_fn(move |request| {
                        let view = view.clone();
                        async move { Ok::<_, Infallible>(answer(&view, client, &request).await) }
                    });
                    let connection = http1::Builder::new()
                        .timer(WorkerTimer)
                        .header_read_timeout(Duration::from_secs(30))
                        .serve_connection(HyperIo(stream), service);
                    // A visitor who leaves early is nobody's trouble.
                    let _ = connection.await;
                    drop(place);
                });
            }
            Err(_) => sleep(Duration::from_millis(100)).await,
        }
    }
}

async fn answer(view: &View, client: SocketAddr, request: &Request<Incoming>) -> Page {
    if let Err(refusal) = local_only::check(request, client) {
        let refusal = text(StatusCode::FORBIDDEN, format!("{}\n", refusal.sentence()));
        return refusal.map(Either::Left);
    }
    match (request.method(), request.uri().path()) {
        (&Method::GET, "/tap") => tap::answer(view, request.uri().query()),
        (&Method::GET, "/debug/pprof/profile") => {
            answers::profile(request.uri().query(), PROFILE).await.map(Either::Left)
        }
        _ => whole(view, request).map(Either::Left),
    }
}

fn whole(view: &View, request: &Request<Incoming>) -> Answer {
    let path = request.uri().path();
    match (request.method(), path) {
        (&Method::GET | &Method::HEAD, _) => get(view, path, request),
        (&Method::POST, "/drain") => command(view, Command::Drain, "draining"),
        (&Method::POST, "/shutdown") => command(view, Command::Shutdown, "leaving"),
        (&Method::POST, "/log" | "/log/level") => {
            answers::set_log(&view.log, request.uri().query())
        }
        #[cfg(debug_assertions)]
        (&Method::POST, "/panic") => answers::rehearse(request.uri().query()),
        (_, "/drain" | "/shutdown") => answers::post_only(),
        _ => answers::unknown(),
    }
}

fn get(view: &View, path: &str, request: &Request<Incoming>) -> Answer {
    match path {
        "/pages" => pages::index(view),
        "/live" => text(StatusCode::OK, "live\n"),
        "/ready" => ready(view),
        "/metrics" => answers::metrics(&view.registry, request.headers()),
        "/config" => json(&view.config.load()),
        "/services" => json(&pages::services(view)),
        "/endpoints" => json(&pages::endpoints(view)),
        "/routes" => json(&pages::routes(view)),
        "/policies" => json(&pages::policies(view)),
        "/explain" => explain(view, request.uri().query()),
        "/certs" => json(&pages::certificates(view)),
        "/connections" => json(&pages::connections(view)),
        "/plaintext" => json(&pages::plaintext(view)),
        "/log" => answers::log(&view.log),
        "/drain" | "/shutdown" => answers::post_only(),
        _ => {
            let known = reasons::word(path).map(pages::reason);
            known.or_else(|| page::file(path, request.headers())).unwrap_or_else(answers::unknown)
        }
    }
}

fn explain(view: &View, query: Option<&str>) -> Answer {
    match pages::explain(view, query) {
        Ok(page) => json(&page),
        Err(faults) => text(StatusCode::BAD_REQUEST, format!("{}\n", faults.join("\n"))),
    }
}

fn ready(view: &View) -> Answer {
    if view.drain.phase() > Phase::Serving {
        return text(StatusCode::SERVICE_UNAVAILABLE, "draining\n");
    }
    answers::ready(&view.readiness)
}

fn command(view: &View, command: Command, said: &str) -> Answer {
    match view.commands.try_send(command) {
        Ok(()) => text(StatusCode::ACCEPTED, format!("{said}\n")),
        Err(_) => text(StatusCode::SERVICE_UNAVAILABLE, "the process is leaving already\n"),
    }
}
