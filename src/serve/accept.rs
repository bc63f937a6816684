//! The accept loop of one listener.
//!
//! With one worker a socket is served where it was accepted; with several it goes to the least
//! loaded one, because hashing by port (`SO_REUSEPORT`) would put one busy connection and half of
//! all others on the same thread. The loop pauses while callers have their part of the descriptors, or
//! of the memory.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;
use tracing::{info, warn};

use crate::runtime::descriptors;
use crate::runtime::drain::{Drain, Phase};
use crate::runtime::memory;
use crate::runtime::rehearsal::{self, At};
use crate::runtime::socket;
use crate::runtime::workers::{Load, Workers};

/// Between two looks for room. Arbitrary: long enough not to spin, short enough that the backlog
/// holds.
const PAUSE: Duration = Duration::from_millis(50);
/// The log says so this often that callers wait, at most.
const SAID: Duration = Duration::from_secs(60);
/// Memory is looked at after so many connections, and after so long. Arbitrary.
const LOOK_COUNT: u32 = 32;
const LOOK: Duration = Duration::from_millis(20);
/// So many come in however little memory there is: it may be something else that holds it.
const ALWAYS: usize = 128;

/// A connection as it comes from the listener.
#[derive(Debug)]
pub struct Accepted {
    pub stream: TcpStream,
    pub client: SocketAddr,
    /// Held while the connection lives.
    pub load: Load,
}

/// Accepts until the process closes, on worker 0; `serve` runs on the worker that gets the socket.
pub async fn run<S: 'static>(
    listener: &TcpListener,
    workers: Workers<S>,
    drain: Drain,
    here: Rc<S>,
    serve: impl Fn(&Rc<S>, Accepted) + Clone + Send + 'static,
) {
    let closing = drain.reached(Phase::Closing);
    tokio::pin!(closing);
    let mut room = Room { workers: workers.clone(), looked: Instant::now(), since: 0, said: None };
    loop {
        let accepted = tokio::select! {
            biased;
            accepted = listener.accept() => accepted,
            () = &mut closing => return,
        };
        let trouble = match accepted {
            Ok((stream, client)) => {
                rehearsal::pass(At::Accept);
                hand_over(stream, socket::canonical(client), &workers, &here, &serve).await;
                room.want().map(str::to_owned)
            }
            Err(error) if is_about_one_connection(&error) => None,
            Err(error) => Some(error.to_string()),
        };
        if let Some(trouble) = trouble {
            tokio::select! {
                () = room.wait(&trouble) => {}
                () = &mut closing => return,
            }
        }
    }
}

/// Whether another may come in.
struct Room<S> {
    workers: Workers<S>,
    /// When memory was looked at, and how many came since.
    looked: Instant,
    since: u32,
    said: Option<Instant>,
}

impl<S: 'static> Room<S> {
    /// What there is too little of.
    fn want(&mut self) -> Option<&'static str> {
        let open = self.workers.connections();
        if open >= descriptors::for_callers() {
            return Some("callers have their part of the descriptors");
        }
        self.since += 1;
        if open < ALWAYS || (self.since < LOOK_COUNT && self.looked.elapsed() < LOOK) {
            return None;
        }
        self.since = 0;
        self.looked = Instant::now();
        memory::is_scarce().then_some("three quarters of the memory are in use")
    }

    /// Until there is enough again.
    async fn wait(&mut self, trouble: &str) {
        let is_news = self.said.is_none_or(|at| at.elapsed() > SAID);
        if is_news {
            self.said = Some(Instant::now());
            warn!(%trouble, "further connections wait; is a limit too low?");
        }
        sleep(PAUSE).await;
        while self.want().is_some() {
            sleep(PAUSE).await;
        }
        if is_news {
            info!("connections are taken again");
        }
    }
}

async fn hand_over<S: 'static>(
    stream: TcpStream,
    client: SocketAddr,
    workers: &Workers<S>,
    here: &Rc<S>,
    serve: &(impl Fn(&Rc<S>, Accepted) + Clone + Send + 'static),
) {
    let (index, load) = workers.least_loaded();
    if index == 0 {
        serve(here, Accepted { stream, client, load });
        return;
    }
    // The socket leaves this thread's epoll for the other's.
    let Ok(stream) = stream.into_std() else {
        return;
    };
    let serve = serve.clone();
    let job = move |there: &Rc<S>| {
        if let Ok(stream) = TcpStream::from_std(stream) {
            serve(there, Accepted { stream, client, load });
        }
    };
    workers.send(index, Box::new(job)).await;
}

/// Errors of accept(2) that concern a connection that broke in the queue, not the listener.
fn is_about_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
            | io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkUnreachable
            | io::ErrorKind::TimedOut
    )
}
