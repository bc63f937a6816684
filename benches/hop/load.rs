//! The two ends of the hop: an app, and 64 connections that ask one request after the other.
//!
//! Each on a thread of its own, with as little as can be between them and the sockets, because they
//! share the machine with what is measured.

use std::cell::Cell;
use std::future::Future;
use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::thread;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::LocalSet;

const CONNECTIONS: usize = 64;
const BODY_BYTES: usize = 100;

/// What is asked: it falls under the rule in the middle, where there are rules.
const REQUEST: &str =
    "GET /shop/prefix-51/items?page=2 HTTP/1.1\r\nHost: app.default\r\nx-version: 2\r\n\r\n";

/// Listens on so many ports, and answers each request with the same 100 bytes.
pub fn app(ports: usize) -> Vec<SocketAddr> {
    let bind = |_| TcpListener::bind("127.0.0.1:0").expect("a port");
    let listeners: Vec<TcpListener> = (0..ports).map(bind).collect();
    let addresses = listeners.iter().map(|of| of.local_addr().expect("it is bound")).collect();
    thread::spawn(move || {
        alone(async {
            for listener in listeners {
                tokio::task::spawn_local(accept(listener));
            }
            std::future::pending::<()>().await;
        });
    });
    addresses
}

async fn accept(listener: TcpListener) {
    listener.set_nonblocking(true).expect("a socket can be");
    let listener = tokio::net::TcpListener::from_std(listener).expect("a runtime");
    loop {
        let (stream, _) = listener.accept().await.expect("a connection");
        tokio::task::spawn_local(answer(stream));
    }
}

async fn answer(mut stream: TcpStream) {
    stream.set_nodelay(true).expect("a TCP socket");
    let body = "x".repeat(BODY_BYTES);
    let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {BODY_BYTES}\r\n\r\n{body}");
    let mut buf = [0; 4096];
    // A sidecar sends one request at a time, and each of ours in one piece.
    while let Ok(1..) = stream.read(&mut buf).await {
        if stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

/// Asks for so long; returns how many answers came.
pub fn run(address: SocketAddr, how_long: Duration) -> u64 {
    let answers = Rc::new(Cell::new(0));
    let until = Instant::now() + how_long;
    alone(async {
        let ask = |_| tokio::task::spawn_local(ask(address, until, Rc::clone(&answers)));
        for asking in (0..CONNECTIONS).map(ask).collect::<Vec<_>>() {
            asking.await.expect("every answer is as it should be");
        }
    });
    answers.get()
}

async fn ask(address: SocketAddr, until: Instant, answers: Rc<Cell<u64>>) {
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    stream.set_nodelay(true).expect("a TCP socket");
    let mut buf = [0; 4096];
    while Instant::now() < until {
        stream.write_all(REQUEST.as_bytes()).await.expect("written");
        let mut have = 0;
        while !buf[..have].ends_with(&[b'x'; BODY_BYTES]) {
            let bytes = stream.read(&mut buf[have..]).await.expect("an answer");
            assert!(bytes > 0, "closed after {:?}", String::from_utf8_lossy(&buf[..have]));
            have += bytes;
        }
        let text = &buf[..have];
        assert!(text.starts_with(b"HTTP/1.1 200"), "{:?}", String::from_utf8_lossy(text));
        answers.set(answers.get() + 1);
    }
}

/// Runs on this thread; what was started ends with it.
pub fn alone(part: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime");
    LocalSet::new().block_on(&runtime, part);
}
