//! The apps of the shop: ordinary programs that know nothing of a mesh. Each calls others at
//! addresses on loopback, which happen to be its own sidecar's, and none speaks TLS.
//!
//! `web` and `orders` answer HTTP/1.1, `prices` answers gRPC, and `ledger` is TCP where the server
//! speaks first. All run on the demo's one thread.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use http::header::HeaderName;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::spawn_local;

use super::shop::{Instance, Shop};
use super::tally::Tally;
use crate::http::headers::{PEER, REQUEST_ID};

mod channel;
mod http_server;
mod ledger;
mod orders;
mod prices;
mod web;

/// Starts the app of every instance that has one.
///
/// # Errors
/// The system's, when a listener can't be used.
pub(super) fn open(shop: &mut Shop, tally: &Arc<Tally>) -> io::Result<()> {
    for instance in &mut shop.instances {
        let listener = instance.inbound.as_mut().and_then(|inbound| inbound.listener.take());
        let Some(listener) = listener else { continue };
        listener.set_nonblocking(true)?;
        start(instance, TcpListener::from_std(listener)?, tally);
    }
    Ok(())
}

fn start(instance: &Instance, listener: TcpListener, tally: &Arc<Tally>) {
    let name = instance.name.clone();
    let upstream = |service| {
        let address = instance.upstream(service);
        address.expect("the plan names every service that an app calls")
    };
    match instance.service.name {
        "web" => {
            let web = web::Web::new(upstream("orders"), upstream("prices"), tally);
            spawn_local(http_server::serve(listener, web));
        }
        "orders" => {
            let orders = orders::Orders::new(name, upstream("ledger"), tally);
            spawn_local(http_server::serve(listener, orders));
        }
        "prices" => {
            spawn_local(prices::serve(listener, prices::Book::new(name, tally)));
        }
        "ledger" => {
            spawn_local(ledger::serve(listener, name));
        }
        _ => {}
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

/// What a well-behaved app passes on, so that the calls of one request can be found.
fn passed_on(headers: &HeaderMap) -> HeaderMap {
    let names =
        [REQUEST_ID, HeaderName::from_static("traceparent"), HeaderName::from_static("tracestate")];
    let found = names.into_iter().filter_map(|name| {
        let value = headers.get(&name)?.clone();
        Some((name, value))
    });
    found.collect()
}
