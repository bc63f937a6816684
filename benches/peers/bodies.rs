//! An app with answers of three sizes, and callers that read whole ones.

use std::cell::Cell;
use std::io::{Error, ErrorKind, Result};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

use super::app;
use super::load::alone;

const HEAD_BYTES: usize = 16 * 1024;

/// Answers `GET /<bytes>` with so many.
pub fn app() -> SocketAddr {
    app::start(answer)
}

async fn answer(mut stream: TcpStream) {
    stream.set_nodelay(true).expect("a TCP socket");
    let mut buf = [0; 4096];
    let mut answer = Vec::new();
    let mut of = 0;
    while let Ok(read @ 1..) = stream.read(&mut buf).await {
        let text = String::from_utf8_lossy(&buf[..read]);
        let path = text.split(' ').nth(1).unwrap_or_default();
        let bytes: usize = path.trim_start_matches('/').parse().unwrap_or(0);
        if answer.is_empty() || of != bytes {
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {bytes}\r\n\r\n");
            answer = [head.into_bytes(), vec![b'x'; bytes]].concat();
            of = bytes;
        }
        if stream.write_all(&answer).await.is_err() {
            return;
        }
    }
}

/// Asks on so many connections for so long; returns how many answers came.
pub fn run(address: SocketAddr, bytes: usize, connections: usize, long: Duration) -> f64 {
    let answers = Rc::new(Cell::new(0.0));
    let until = Instant::now() + long;
    alone(async {
        let ask = |_| {
            let answers = Rc::clone(&answers);
            tokio::task::spawn_local(async move {
                let mut stream = TcpStream::connect(address).await.expect("a connection");
                stream.set_nodelay(true).expect("a TCP socket");
                let request = format!("GET /{bytes} HTTP/1.1\r\nHost: app.default\r\n\r\n");
                let mut buf = vec![0; 64 * 1024];
                while Instant::now() < until {
                    let read = exchange(&mut stream, &request, &mut buf).await;
                    assert_eq!(read.expect("an answer"), bytes);
                    answers.set(answers.get() + 1.0);
                }
            })
        };
        for asking in (0..connections).map(ask).collect::<Vec<_>>() {
            asking.await.expect("every answer is as it should be");
        }
    });
    answers.get()
}

/// One request, and how many bytes the body of its whole answer had.
///
/// # Errors
/// When the connection ends before, or the answer is not 200.
pub async fn exchange<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    request: &str,
    buf: &mut Vec<u8>,
) -> Result<usize> {
    stream.write_all(request.as_bytes()).await?;
    stream.flush().await?;
    buf.resize(buf.len().max(HEAD_BYTES), 0);
    let mut have = 0;
    let (body, head) = loop {
        have += some(stream.read(&mut buf[have..]).await?)?;
        if let Some(at) = buf[..have].windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            break (at + 4, String::from_utf8_lossy(&buf[..at]).to_ascii_lowercase());
        }
    };
    let bytes = head.split("content-length:").nth(1);
    let bytes = bytes.and_then(|rest| rest.split("\r\n").next()?.trim().parse::<usize>().ok());
    let Some(bytes) = bytes.filter(|_| head.starts_with("http/1.1 200")) else {
        return Err(Error::new(ErrorKind::InvalidData, head));
    };
    let mut have = have - body;
    while have < bytes {
        have += some(stream.read(buf).await?)?;
    }
    Ok(have)
}

fn some(read: usize) -> Result<usize> {
    if read == 0 { Err(ErrorKind::UnexpectedEof.into()) } else { Ok(read) }
}
