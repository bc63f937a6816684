//! Callers that make a new connection for each request.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::counted::counted;

const AT_ONCE: usize = 64;
const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: app.default\r\nConnection: close\r\n\r\n";

/// Asks for so long, each time by a connection that the other end closes; returns how often.
pub fn run(address: SocketAddr, long: Duration) -> f64 {
    counted(AT_ONCE, long, async |answer| {
        let mut stream = TcpStream::connect(address).await.expect("a connection");
        stream.set_nodelay(true).expect("a TCP socket");
        stream.write_all(REQUEST).await.expect("written");
        answer.clear();
        stream.read_to_end(answer).await.expect("an answer and its end");
        let is_whole = answer.starts_with(b"HTTP/1.1 200") && answer.ends_with(b"xxxxxxxxxx");
        assert!(is_whole, "{:?}", String::from_utf8_lossy(answer));
    })
}
