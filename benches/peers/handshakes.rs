//! Callers with mutual TLS: new connections one after the other, and many that stay.

use std::any::Any;
use std::cell::Cell;
use std::io::Result;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::Request;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, HandshakeKind};
use tokio::net::TcpStream;
use tokio::task::spawn_local;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::bodies::exchange;
use super::certificates::SERVER;
use super::counted::counted;
use super::load::alone;
use super::process::Process;

const AT_ONCE: usize = 8;
/// How many stay, at first and in the end: what is between them is each connection's own.
const STAYING: [usize; 2] = [500, 2_500];
const SETTLING: Duration = Duration::from_secs(1);

/// Connections that were made.
pub struct Counts {
    pub all: f64,
    /// With a ticket.
    pub resumed: f64,
}

/// Connects, asks once and leaves for so long.
pub fn run(address: SocketAddr, tls: &Arc<ClientConfig>, long: Duration) -> Counts {
    let resumed = Cell::new(0.0);
    let all = counted(AT_ONCE, long, async |buf| {
        let request = "GET / HTTP/1.1\r\nHost: app.default\r\nConnection: close\r\n\r\n";
        let mut stream = dial(address, tls).await.expect("a connection");
        exchange(&mut stream, request, buf).await.expect("an answer");
        if stream.get_ref().1.handshake_kind() == Some(HandshakeKind::Resumed) {
            resumed.set(resumed.get() + 1.0);
        }
    });
    Counts { all, resumed: resumed.get() }
}

async fn dial(address: SocketAddr, tls: &Arc<ClientConfig>) -> Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let name = ServerName::try_from(SERVER).expect("a name");
    let stream = TlsConnector::from(Arc::clone(tls)).connect(name, stream).await?;
    assert_eq!(stream.get_ref().1.alpn_protocol(), tls.alpn_protocols.first().map(Vec::as_slice));
    Ok(stream)
}

/// Bytes of the process at rest, and for each connection that did one request and stays.
pub fn idle(
    address: SocketAddr,
    tls: &Arc<ClientConfig>,
    is_http2: bool,
    process: &Process,
) -> [f64; 2] {
    let mut resident = Vec::new();
    alone(async {
        tokio::time::sleep(SETTLING).await;
        resident.push(process.resident_bytes());
        // Connections end with the runtime.
        let mut open = 0;
        let mut kept = Vec::new();
        for upto in STAYING {
            let next = Rc::new(Cell::new(open));
            let stay = |_| {
                let (tls, next) = (Arc::clone(tls), Rc::clone(&next));
                spawn_local(async move {
                    let mut kept = Vec::new();
                    while next.get() < upto {
                        next.set(next.get() + 1);
                        kept.push(asked(address, &tls, is_http2).await.expect("a connection"));
                    }
                    kept
                })
            };
            for staying in (0..AT_ONCE).map(stay).collect::<Vec<_>>() {
                kept.extend(staying.await.expect("every connection is as it should be"));
            }
            open = upto;
            assert_eq!(kept.len(), open);
            tokio::time::sleep(SETTLING).await;
            resident.push(process.resident_bytes());
        }
    });
    let between = (STAYING[1] - STAYING[0]) as f64;
    [resident[0], (resident[2] - resident[1]) / between]
}

/// What keeps a connection open that has had its answer.
async fn asked(
    address: SocketAddr,
    tls: &Arc<ClientConfig>,
    is_http2: bool,
) -> Result<Box<dyn Any>> {
    let mut stream = dial(address, tls).await?;
    if !is_http2 {
        let request = "GET / HTTP/1.1\r\nHost: app.default\r\n\r\n";
        exchange(&mut stream, request, &mut Vec::new()).await?;
        return Ok(Box::new(stream));
    }
    let (send, connection) = h2::client::handshake(stream).await.map_err(std::io::Error::other)?;
    spawn_local(connection);
    let mut send = send.ready().await.map_err(std::io::Error::other)?;
    // Sidecars say so to each other; the app speaks HTTP/1 alone.
    let request = Request::get("https://app.default/").header("x-outrigger-http", "1.1");
    let request = request.body(()).expect("a request");
    let (response, _) = send.send_request(request, true).map_err(std::io::Error::other)?;
    let response = response.await.map_err(std::io::Error::other)?;
    assert_eq!(response.status(), 200);
    let mut body = response.into_body();
    while let Some(data) = body.data().await {
        data.map_err(std::io::Error::other)?;
    }
    Ok(Box::new(send))
}
