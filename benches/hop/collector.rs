//! Where spans go: a collector that takes everything over OTLP/HTTP, and one that hangs.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

pub struct Collector {
    pub address: SocketAddr,
    taken: Arc<AtomicUsize>,
}

impl Collector {
    /// Answers every export.
    pub fn start() -> Self {
        let (listener, address) = bound();
        let taken = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&taken);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let count = Arc::clone(&count);
                thread::spawn(move || take(stream, &count));
            }
        });
        Self { address, taken }
    }

    /// Bytes of exports so far.
    pub fn taken(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }
}

/// Accepts connections, and reads nothing.
pub fn hanging() -> SocketAddr {
    let (listener, address) = bound();
    thread::spawn(move || listener.incoming().flatten().collect::<Vec<_>>());
    address
}

fn bound() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("it is bound");
    (listener, address)
}

fn take(stream: TcpStream, taken: &AtomicUsize) {
    let mut reader = BufReader::new(stream);
    let mut body_bytes = 0;
    let mut line = String::new();
    while let Ok(1..) = reader.read_line(&mut line) {
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            body_bytes = value.trim().parse().expect("a length");
        } else if line == "\r\n" {
            let mut body = vec![0; body_bytes];
            reader.read_exact(&mut body).expect("a whole export");
            taken.fetch_add(body_bytes, Ordering::Relaxed);
            // An answer of OTLP that refuses nothing has no bytes.
            let answer = "HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\n\
                          content-length: 0\r\n\r\n";
            if reader.get_mut().write_all(answer.as_bytes()).is_err() {
                return;
            }
        }
        line.clear();
    }
}
