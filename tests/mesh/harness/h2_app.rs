//! An app that speaks HTTP/2 with prior knowledge, one script for each stream.

use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use h2::RecvStream;
use h2::server::SendResponse;
use http::Request;
use http::request::Parts;
use tokio::task::LocalSet;

pub struct H2App {
    pub address: SocketAddr,
    seen: Arc<Mutex<Vec<Parts>>>,
}

impl H2App {
    /// Runs `script` for each request, on a thread of its own.
    pub fn start<F, Fut>(script: F) -> Self
    where
        F: Fn(Request<RecvStream>, SendResponse<Bytes>) -> Fut + Send + 'static,
        Fut: Future<Output = ()> + 'static,
    {
        Self::start_at((Ipv4Addr::LOCALHOST, 0).into(), script)
    }

    /// The same, at this address.
    pub fn start_at<F, Fut>(at: SocketAddr, script: F) -> Self
    where
        F: Fn(Request<RecvStream>, SendResponse<Bytes>) -> Fut + Send + 'static,
        Fut: Future<Output = ()> + 'static,
    {
        let listener = TcpListener::bind(at).expect("a port is free");
        listener.set_nonblocking(true).expect("a socket");
        let address = listener.local_addr().expect("it listens");
        let seen = Arc::new(Mutex::new(Vec::new()));
        let record = Arc::clone(&seen);
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime");
            LocalSet::new().block_on(&runtime, accept(listener, Rc::new(script), record));
        });
        Self { address, seen }
    }

    /// The heads of the requests that came.
    pub fn requests(&self) -> Vec<Parts> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

async fn accept<F, Fut>(listener: TcpListener, script: Rc<F>, seen: Arc<Mutex<Vec<Parts>>>)
where
    F: Fn(Request<RecvStream>, SendResponse<Bytes>) -> Fut + 'static,
    Fut: Future<Output = ()> + 'static,
{
    let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
    while let Ok((stream, _)) = listener.accept().await {
        let (script, seen) = (Rc::clone(&script), Arc::clone(&seen));
        tokio::task::spawn_local(async move {
            let Ok(mut connection) = h2::server::handshake(stream).await else {
                return;
            };
            while let Some(Ok((request, respond))) = connection.accept().await {
                let (parts, body) = request.into_parts();
                seen.lock().unwrap_or_else(PoisonError::into_inner).push(parts.clone());
                tokio::task::spawn_local(script(Request::from_parts(parts, body), respond));
            }
        });
    }
}
