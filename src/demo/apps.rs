//! The apps of the shop: ordinary programs that know nothing of a mesh. Each calls others at
//! addresses on loopback, which happen to be its own sidecar's, and none speaks TLS.
//!
//! `web` and `orders` answer HTTP/1.1, `prices` answers gRPC, and `ledger` is TCP where the server
//! speaks first. All run on the demo's one thread.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use http::header::HeaderName;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet, spawn_local};

use super::shop::Instance;
use super::tally::Tally;
use crate::http::headers::{PEER, REQUEST_ID};

mod channel;
mod http_server;
mod ledger;
mod orders;
mod prices;
mod web;

/// An app that serves until it is stopped, or this is dropped.
pub(super) struct Running(JoinHandle<()>);

impl Running {
    /// Ends it with all its connections, and waits until its address is free.
    pub(super) async fn stop(mut self) {
        self.0.abort();
        // Ended by us, or by itself: it is gone.
        let _ = (&mut self.0).await;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Starts the app of an instance; `None`: it has none, or it runs already.
///
/// # Errors
/// The system's, when its listener can't be used.
pub(super) fn start(instance: &mut Instance, tally: &Arc<Tally>) -> io::Result<Option<Running>> {
    let listener = instance.inbound.as_mut().and_then(|inbound| inbound.listener.take());
    let Some(listener) = listener else { return Ok(None) };
    listener.set_nonblocking(true)?;
    let listener = TcpListener::from_std(listener)?;
    let name = instance.name.clone();
    let upstream = |service| {
        let address = instance.upstream(service);
        address.expect("the plan names every service that an app calls")
    };
    Ok(match instance.service.name {
        "web" => {
            let web = web::Web::new(name, upstream("orders"), upstream("prices"), tally);
            Some(run(http_server::serve(listener, web)))
        }
        "orders" => {
            let orders = orders::Orders::new(name, upstream("ledger"), tally);
            Some(run(http_server::serve(listener, orders)))
        }
        "prices" => Some(run(prices::serve(listener, prices::Book::new(name, tally)))),
        "ledger" => Some(run(ledger::serve(listener, name))),
        _ => None,
    })
}

fn run(app: impl Future<Output = ()> + 'static) -> Running {
    Running(spawn_local(app))
}

/// Hands each connection to `attend`, for as long as this is polled; all of them end with it.
async fn attend_each<F: Future + 'static>(
    listener: TcpListener,
    mut attend: impl FnMut(TcpStream) -> F,
) {
    let mut open = JoinSet::new();
    loop {
        tokio::select! {
            stream = accept(&listener) => {
                // Only costs latency.
                let _ = stream.set_nodelay(true);
                let attending = attend(stream);
                // A broken connection is its caller's to report.
                open.spawn_local(async move { drop(attending.await) });
            }
            Some(_) = open.join_next() => {}
        }
    }
}

/// The next connection. Running out of descriptors passes; it is waited for.
async fn accept(listener: &TcpListener) -> TcpStream {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return stream,
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

/// Who calls, according to our sidecar.
fn peer(headers: &HeaderMap) -> Option<&str> {
    headers.get(PEER)?.to_str().ok()
}

/// What a well-behaved app passes on, so that the calls of one request can be found, and routed.
fn passed_on(headers: &HeaderMap) -> HeaderMap {
    let known = ["traceparent", "tracestate", "x-version"].map(HeaderName::from_static);
    let names = known.into_iter().chain([REQUEST_ID]);
    let found = names.filter_map(|name| {
        let value = headers.get(&name)?.clone();
        Some((name, value))
    });
    found.collect()
}
