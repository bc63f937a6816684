//! Handshakes of those who come from the mesh: so many at a time, and no one else's time.
//!
//! A handshake costs the worker some 0.4 ms in two steps, and between them waits for its client. A
//! storm of them must not hold up everybody's bytes, and clients who stall must not hold up a good
//! one: so a handshake has a place while it takes a step, and until the other connections of the
//! worker had their turn, and none while it waits.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::yield_now;
use tokio::time::timeout;
use tracing::debug;

use super::caller::Caller;
use super::stream;
use super::worker::Inbound;
use crate::http::respond::chain;
use crate::model::Reason;
use crate::runtime::Prefixed;
use crate::serve::near::Session;
use crate::tls::{self, Alpn, Peer, PeerError};

/// A handshake's time, like a head's.
pub const HANDSHAKE: Duration = Duration::from_secs(10);

/// Handshakes that take a step before everybody else has their turn: some 2 ms. Arbitrary.
pub const STEPS: usize = 8;

/// Lets the client prove who it is.
pub async fn shake_hands(
    worker: &Inbound,
    caller: &Caller,
    stream: Prefixed<TcpStream>,
) -> Option<(Session, Peer, Alpn)> {
    let refused = |reason, sentence: &str| {
        stream::note_refused(worker, caller, "TLS handshake refused", reason, sentence);
    };
    let Some(credentials) = worker.shared.credentials.load_full() else {
        refused(Reason::NotReady, "this sidecar has no certificate");
        return None;
    };
    let handshake = step_by_step(&worker.handshakes, tls::accept(stream, &credentials));
    match timeout(HANDSHAKE, handshake).await {
        Ok(Ok(done)) => Some(done),
        // Callers who no longer need a connection leave it half-made: no failure, and nobody's call.
        Ok(Err(error @ (PeerError::Closed | PeerError::Io(_)))) => {
            debug!(client = %caller.client, "a client left in its handshake: {error}");
            None
        }
        Ok(Err(error)) => {
            refused(Reason::TlsHandshakeFailed, &chain(&error));
            None
        }
        Err(_) => {
            refused(Reason::TlsHandshakeFailed, "it took longer than 10 s");
            None
        }
    }
}

/// Runs `work`, each of its steps in a place of its own.
async fn step_by_step<F: Future>(places: &Semaphore, work: F) -> F::Output {
    let mut work = pin!(work);
    loop {
        // Never closed; and without a place nothing would be lost but order.
        let place = places.acquire().await;
        let step = poll_fn(|cx| Poll::Ready(work.as_mut().poll(cx))).await;
        yield_now().await;
        if let Poll::Ready(done) = step {
            return done;
        }
        drop(place);
        // What came meanwhile would not wake this task again, so it is looked for once.
        let mut is_woken = false;
        let step = poll_fn(|cx| match std::mem::replace(&mut is_woken, true) {
            true => Poll::Ready(None),
            false => work.as_mut().poll(cx).map(Some),
        });
        if let Some(done) = step.await {
            return done;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::future::pending;
    use std::rc::Rc;

    use tokio::sync::Notify;
    use tokio::task::{LocalSet, spawn_local};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn whoever_stalls_holds_up_nobody() {
        let places = Rc::new(Semaphore::new(STEPS));
        let local = LocalSet::new();
        for _ in 0..10 * STEPS {
            let places = Rc::clone(&places);
            local.spawn_local(async move { step_by_step(&places, pending::<()>()).await });
        }
        let (hello, done) = (Rc::new(Notify::new()), Rc::new(Cell::new(false)));
        let good = {
            let (places, hello, done) = (Rc::clone(&places), Rc::clone(&hello), Rc::clone(&done));
            async move {
                step_by_step(&places, hello.notified()).await;
                done.set(true);
            }
        };
        local.spawn_local(good);
        local.spawn_local(async move {
            yield_now().await;
            hello.notify_one();
        });
        let _ = timeout(Duration::from_secs(1), local).await;
        assert!(done.get());
        assert_eq!(places.available_permits(), STEPS);
    }

    #[tokio::test(start_paused = true)]
    async fn a_storm_leaves_everybody_else_their_turn() {
        const STORM: usize = 50 * STEPS;
        let places = Rc::new(Semaphore::new(STEPS));
        let taken = Rc::new(Cell::new(0));
        let most = LocalSet::new()
            .run_until(async {
                for _ in 0..STORM {
                    let (places, taken) = (Rc::clone(&places), Rc::clone(&taken));
                    let step = async move { taken.set(taken.get() + 1) };
                    spawn_local(async move { step_by_step(&places, step).await });
                }
                let (mut before, mut most) = (0, 0);
                while before < STORM {
                    yield_now().await;
                    most = most.max(taken.get() - before);
                    before = taken.get();
                }
                most
            })
            .await;
        assert!(most <= 2 * STEPS, "{most} steps at a stretch");
    }
}
