//! The accept loop of one listener.
//!
//! With one worker a socket is served where it was accepted; with several it goes to the least
//! loaded one, because hashing by port (`SO_REUSEPORT`) would put one busy connection and half of
//! all others on the same thread. Running out of file descriptors pauses the loop.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;
use tracing::warn;

use crate::runtime::drain::{Drain, Phase};
use crate::runtime::rehearsal::{self, At};
use crate::runtime::socket;
use crate::runtime::workers::{Load, Workers};

/// After the system refused another socket. Arbitrary: long enough not to spin, short enough that
/// the backlog holds.
const PAUSE: Duration = Duration::from_millis(50);

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
    loop {
        let accepted = tokio::select! {
            biased;
            accepted = listener.accept() => accepted,
            () = &mut closing => return,
        };
        match accepted {
            Ok((stream, client)) => {
                rehearsal::pass(At::Accept);
                hand_over(stream, socket::canonical(client), &workers, &here, &serve).await;
            }
            Err(error) if is_about_one_connection(&error) => {}
            Err(error) => {
                warn!(%error, "cannot accept connections for now; is the limit on open files too low?");
                sleep(PAUSE).await;
            }
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
    // A peer that is gone already needs no tuning; the first read will say so.
    let _ = socket::tune(&stream);
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
