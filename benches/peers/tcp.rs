//! An app that sends without end, and callers that count what comes.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

const CONNECTIONS: usize = 4;
const PIECE_BYTES: usize = 128 * 1024;
const MIB: f64 = 1_048_576.0;

/// Waits for a byte, then sends until nobody reads.
pub fn app() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("it is bound");
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            thread::spawn(move || {
                let piece = vec![b'x'; PIECE_BYTES];
                let began = stream.read(&mut [0]);
                while matches!(began, Ok(1)) && stream.write_all(&piece).is_ok() {}
            });
        }
    });
    address
}

/// Reads for so long; returns how many MiB came.
pub fn run(address: SocketAddr, long: Duration) -> f64 {
    let until = Instant::now() + long;
    let read = move || {
        let mut stream = TcpStream::connect(address).expect("a connection");
        stream.write_all(b"D").expect("written");
        let (mut buf, mut bytes) = (vec![0; PIECE_BYTES], 0);
        while Instant::now() < until {
            let read = stream.read(&mut buf).expect("bytes");
            assert!(read > 0, "it ended");
            bytes += read;
        }
        bytes as f64 / MIB
    };
    let reading: Vec<_> = (0..CONNECTIONS).map(|_| thread::spawn(read)).collect();
    reading.into_iter().map(|reading| reading.join().expect("it read")).sum()
}
