//! Apps under the sidecars: a script for each connection, or an answer for each request.
//!
//! A thread per connection; everything that a scenario may ask for later is recorded before the
//! answer is written.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread;

use super::{Broken, Message, Wire, eventually};

/// Any port of this machine's own.
const ANYWHERE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

pub struct App {
    pub address: SocketAddr,
    seen: Arc<Seen>,
}

#[derive(Default)]
struct Seen {
    requests: Mutex<Vec<Message>>,
    broken: Mutex<Vec<Broken>>,
    begun: AtomicUsize,
    connections: AtomicUsize,
    open: AtomicUsize,
    closed: AtomicBool,
}

impl Seen {
    fn rest_of(&self, mut request: Message, wire: &mut Wire) -> Result<Message, Broken> {
        self.begun.fetch_add(1, Ordering::SeqCst);
        wire.body(&mut request, false).map(|()| request)
    }
}

impl App {
    /// A script that is run for each connection.
    pub fn raw(script: impl Fn(Wire) + Send + Sync + 'static) -> Self {
        Self::raw_at(ANYWHERE, script)
    }

    /// The same, at this address.
    pub fn raw_at(at: SocketAddr, script: impl Fn(Wire) + Send + Sync + 'static) -> Self {
        Self::listen(at, move |wire, _| script(wire))
    }

    /// Answers each 4 bytes with the same, after an Upgrade to this protocol where one is asked for,
    /// and tells how its connections end.
    pub fn fours(protocol: &str) -> (Self, mpsc::Receiver<Broken>) {
        let (tell, ends) = mpsc::channel();
        let switched = format!(
            "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: {protocol}\r\n\
             sec-websocket-accept: x\r\n\r\n"
        );
        let app = Self::raw(move |mut wire| {
            let Ok(first) = wire.try_take(4) else { return };
            if first == b"GET " {
                wire.head().expect("the rest of the request");
                wire.send(&switched);
            } else {
                wire.send(first);
            }
            let end = loop {
                match wire.try_take(4) {
                    Ok(bytes) => drop(wire.try_send(bytes)),
                    Err(end) => break end,
                }
            };
            let _ = tell.send(end);
        });
        (app, ends)
    }

    /// Whole requests, each with its answer in bytes, on kept connections.
    pub fn http(answer: impl Fn(&Message) -> Vec<u8> + Send + Sync + 'static) -> Self {
        Self::http_at(ANYWHERE, answer)
    }

    /// The same, at this address.
    pub fn http_at(
        at: SocketAddr,
        answer: impl Fn(&Message) -> Vec<u8> + Send + Sync + 'static,
    ) -> Self {
        Self::listen(at, move |mut wire, seen| {
            loop {
                let request = match wire.head().and_then(|request| seen.rest_of(request, &mut wire))
                {
                    Ok(request) => request,
                    Err(Broken::Closed) => return,
                    Err(broken) => return lock(&seen.broken).push(broken),
                };
                lock(&seen.requests).push(request.clone());
                let response = answer(&request);
                let last =
                    request.closes() || response.windows(17).any(|w| w == b"connection: close");
                if wire.try_send(response).is_err() || last {
                    return;
                }
            }
        })
    }

    /// `200` with `ok` for every request.
    pub fn ok() -> Self {
        Self::http(|_| Self::answer("ok"))
    }

    /// `200` with the given body.
    pub fn answer(body: impl AsRef<[u8]>) -> Vec<u8> {
        let body = body.as_ref();
        let mut answer =
            format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len()).into_bytes();
        answer.extend_from_slice(body);
        answer
    }

    fn listen(at: SocketAddr, script: impl Fn(Wire, &Seen) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind(at).expect("a port is free");
        let address = listener.local_addr().expect("it listens");
        let seen = Arc::new(Seen::default());
        let (script, shared) = (Arc::new(script), Arc::clone(&seen));
        thread::spawn(move || {
            for stream in listener.incoming() {
                if shared.closed.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(stream) = stream else { continue };
                let (script, seen) = (Arc::clone(&script), Arc::clone(&shared));
                seen.connections.fetch_add(1, Ordering::SeqCst);
                seen.open.fetch_add(1, Ordering::SeqCst);
                thread::spawn(move || {
                    script(Wire::of(stream), &seen);
                    seen.open.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        Self { address, seen }
    }

    /// The requests that came whole, in their order.
    pub fn requests(&self) -> Vec<Message> {
        lock(&self.seen.requests).clone()
    }

    /// The only request that came.
    #[track_caller]
    pub fn only_request(&self) -> Message {
        let mut requests = self.requests();
        assert_eq!(requests.len(), 1, "requests: {requests:#?}");
        requests.remove(0)
    }

    /// How requests ended that did not come whole.
    pub fn broken(&self) -> Vec<Broken> {
        lock(&self.seen.broken).clone()
    }

    /// Requests whose head has come.
    pub fn begun(&self) -> usize {
        self.seen.begun.load(Ordering::SeqCst)
    }

    pub fn connections(&self) -> usize {
        self.seen.connections.load(Ordering::SeqCst)
    }

    /// Connections whose script has not ended.
    pub fn open_connections(&self) -> usize {
        self.seen.open.load(Ordering::SeqCst)
    }

    #[track_caller]
    pub fn await_requests(&self, count: usize) {
        eventually(&format!("{count} requests at the app"), || {
            lock(&self.seen.requests).len() >= count
        });
    }
}

impl Drop for App {
    fn drop(&mut self) {
        self.seen.closed.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
    }
}

/// An address where nobody listens.
pub fn refused_address() -> SocketAddr {
    super::free_address()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
