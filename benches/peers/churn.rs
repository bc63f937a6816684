//! Callers that make a new connection for each request.

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::spawn_local;

use super::load::alone;

const AT_ONCE: usize = 64;
const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: app.default\r\nConnection: close\r\n\r\n";

/// Asks for so long, each time by a connection that the other end closes; returns how often.
pub fn run(address: SocketAddr, long: Duration) -> f64 {
    let count = Rc::new(Cell::new(0.0));
    let until = Instant::now() + long;
    alone(async {
        let ask = |_| spawn_local(ask(address, until, Rc::clone(&count)));
        for asking in (0..AT_ONCE).map(ask).collect::<Vec<_>>() {
            asking.await.expect("every answer is as it should be");
        }
    });
    count.get()
}

async fn ask(address: SocketAddr, until: Instant, count: Rc<Cell<f64>>) {
    let mut answer = Vec::new();
    while Instant::now() < until {
        let mut stream = TcpStream::connect(address).await.expect("a connection");
        stream.set_nodelay(true).expect("a TCP socket");
        stream.write_all(REQUEST).await.expect("written");
        answer.clear();
        stream.read_to_end(&mut answer).await.expect("an answer and its end");
        let is_whole = answer.starts_with(b"HTTP/1.1 200") && answer.ends_with(b"xxxxxxxxxx");
        assert!(is_whole, "{:?}", String::from_utf8_lossy(&answer));
        count.set(count.get() + 1.0);
    }
}
