//! An app on a thread of its own.

use std::net::{SocketAddr, TcpListener};
use std::thread;

use tokio::net::TcpStream;

use super::load::alone;

/// Starts one that does this with each of its connections.
pub fn start<F>(each: fn(TcpStream) -> F) -> SocketAddr
where
    F: Future<Output = ()> + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("it is bound");
    thread::spawn(move || {
        alone(async {
            listener.set_nonblocking(true).expect("a socket can be");
            let listener = tokio::net::TcpListener::from_std(listener).expect("a runtime");
            loop {
                let (stream, _) = listener.accept().await.expect("a connection");
                tokio::task::spawn_local(each(stream));
            }
        });
    });
    address
}
