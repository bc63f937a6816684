//! The admin port's HTTP server and its routes.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use http::header::{self, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use tokio::net::TcpListener;
use tokio::time::sleep;

use super::guard;
use super::pages;
use super::view::{Command, View};
use crate::http::Body;
use crate::http::hyper_io::{HyperIo, WorkerTimer};
use crate::runtime::Phase;
use crate::telemetry::metrics::Format;

/// Admin connections at a time: probes, a scraper, a few people.
const CONNECTIONS: usize = 64;

/// Serves until the process ends.
pub async fn serve(listener: TcpListener, view: View) {
    let places = std::sync::Arc::new(tokio::sync::Semaphore::new(CONNECTIONS));
    loop {
        // Never closed.
        let Ok(place) = std::sync::Arc::clone(&places).acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((stream, client)) => {
                let view = view.clone();
                tokio::task::spawn_local(async move {
                    let service = service_fn(move |request| {
                        let response = answer(&view, client, &request);
                        async move { Ok::<_, Infallible>(response) }
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

fn answer(view: &View, client: SocketAddr, request: &Request<Incoming>) -> Response<Body> {
    if let Err((status, why)) = guard::check(request, client) {
        return text(status, format!("{why}\n"));
    }
    let path = request.uri().path();
    match (request.method(), path) {
        (&Method::GET | &Method::HEAD, _) => get(view, path, request),
        (&Method::POST, "/drain") => command(view, Command::Drain, "draining"),
        (&Method::POST, "/shutdown") => command(view, Command::Shutdown, "leaving"),
        (&Method::POST, "/log") => set_log(view, request.uri().query()),
        (&Method::POST, "/log/level") => set_log(view, request.uri().query()),
        (_, "/drain" | "/shutdown") => {
            text(StatusCode::METHOD_NOT_ALLOWED, "this changes something: use POST\n")
        }
        _ => text(StatusCode::NOT_FOUND, "no such page; / lists them\n"),
    }
}

fn get(view: &View, path: &str, request: &Request<Incoming>) -> Response<Body> {
    match path {
        "/" => page(pages::index(view)),
        "/live" => text(StatusCode::OK, "live\n"),
        "/ready" => ready(view),
        "/metrics" => metrics(view, request),
        "/config" => json(&view.config.load()),
        "/services" => json(&pages::services(view)),
        "/endpoints" => json(&pages::endpoints(view)),
        "/certs" => json(&pages::certificates(view)),
        "/connections" => json(&pages::connections(view)),
        "/log" => json(&serde_json::json!({"level": view.log.level()})),
        "/drain" | "/shutdown" => {
            text(StatusCode::METHOD_NOT_ALLOWED, "this changes something: use POST\n")
        }
        _ => text(StatusCode::NOT_FOUND, "no such page; / lists them\n"),
    }
}

fn ready(view: &View) -> Response<Body> {
    if view.drain.phase() > Phase::Serving {
        return text(StatusCode::SERVICE_UNAVAILABLE, "draining\n");
    }
    let missing = view.readiness.missing();
    if missing.is_empty() {
        return text(StatusCode::OK, "ready\n");
    }
    text(
        StatusCode::SERVICE_UNAVAILABLE,
        format!("not ready, still missing: {}\n", missing.join(", ")),
    )
}

fn metrics(view: &View, request: &Request<Incoming>) -> Response<Body> {
    let accept = request.headers().get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
    let format = Format::from_accept(accept.unwrap_or_default());
    let body = view.registry.render(format);
    typed(StatusCode::OK, format.content_type(), body)
}

fn command(view: &View, command: Command, said: &str) -> Response<Body> {
    match view.commands.try_send(command) {
        Ok(()) => text(StatusCode::ACCEPTED, format!("{said}\n")),
        Err(_) => text(StatusCode::SERVICE_UNAVAILABLE, "the process is leaving already\n"),
    }
}

fn set_log(view: &View, query: Option<&str>) -> Response<Body> {
    let level =
        query.and_then(|query| query.split('&').find_map(|pair| pair.strip_prefix("level=")));
    let Some(level) = level else {
        return text(StatusCode::BAD_REQUEST, "say which level: POST /log?level=debug\n");
    };
    match view.log.set_level(level) {
        Ok(()) => json(&serde_json::json!({"level": view.log.level()})),
        Err(error) => text(StatusCode::BAD_REQUEST, format!("{error}\n")),
    }
}

fn json(value: &serde_json::Value) -> Response<Body> {
    typed(StatusCode::OK, "application/json", format!("{value:#}\n"))
}

fn page(html: String) -> Response<Body> {
    typed(StatusCode::OK, "text/html; charset=utf-8", html)
}

fn text(status: StatusCode, body: impl Into<String>) -> Response<Body> {
    typed(status, "text/plain; charset=utf-8", body)
}

fn typed(status: StatusCode, kind: &'static str, body: impl Into<String>) -> Response<Body> {
    let mut response = Response::new(Body::full(body.into()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
