//! Leaving without cutting anyone off.
//!
//! One [`Drain`] for the process; every connection holds an [`Open`] while it lives. The phases
//! only ever move forward: serving, draining (both directions still work, HTTP/2 peers are told to
//! go elsewhere, HTTP/1 answers say `Connection: close`), closing (what is left is cut).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout_at};

use super::{DrainSettings, clock};

/// How far the process is in leaving.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    Serving,
    Draining,
    Closing,
}

/// The process's way out; cheap to clone.
#[derive(Clone, Debug)]
pub struct Drain {
    phase: watch::Sender<Phase>,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    open: AtomicUsize,
    last_opened_us: AtomicU64,
}

/// Held by a connection for as long as it is open.
#[derive(Debug)]
pub struct Open {
    shared: Arc<Shared>,
    phase: watch::Receiver<Phase>,
}

impl Default for Drain {
    fn default() -> Self {
        Self { phase: watch::Sender::new(Phase::Serving), shared: Arc::default() }
    }
}

impl Drain {
    /// Counts a connection in.
    pub fn open(&self) -> Open {
        self.shared.open.fetch_add(1, Ordering::AcqRel);
        self.shared.last_opened_us.store(clock::now_us(), Ordering::Relaxed);
        Open { shared: Arc::clone(&self.shared), phase: self.phase.subscribe() }
    }

    pub fn phase(&self) -> Phase {
        *self.phase.borrow()
    }

    /// Connections open now.
    pub fn open_connections(&self) -> usize {
        self.shared.open.load(Ordering::Acquire)
    }

    /// Moves forward to `phase`; an earlier phase changes nothing.
    pub fn advance(&self, phase: Phase) {
        self.phase.send_if_modified(|now| {
            let forward = phase > *now;
            *now = (*now).max(phase);
            forward
        });
    }

    /// Waits until the process is at least in `phase`.
    pub async fn reached(&self, phase: Phase) {
        let mut receiver = self.phase.subscribe();
        // The sender lives in `self`, so the channel can't close.
        let _ = receiver.wait_for(|now| *now >= phase).await;
    }

    /// Runs the whole way out: returns when nothing is open any more, or at the deadline, with the
    /// number of connections that had to be cut.
    pub async fn run(&self, settings: DrainSettings) -> usize {
        self.advance(Phase::Draining);
        let deadline = Instant::now() + settings.deadline;
        let _ = timeout_at(deadline, async {
            sleep(settings.minimum).await;
            while !self.is_quiet() {
                sleep(Duration::from_millis(50)).await;
            }
        })
        .await;
        let cut = self.open_connections();
        self.advance(Phase::Closing);
        cut
    }

    /// Nothing open, and no new connection for a second.
    fn is_quiet(&self) -> bool {
        let since = clock::now_us().saturating_sub(self.shared.last_opened_us.load(Ordering::Relaxed));
        self.open_connections() == 0 && since >= 1_000_000
    }
}

impl Open {
    pub fn phase(&self) -> Phase {
        *self.phase.borrow()
    }

    /// Waits until the process is at least in `phase`.
    pub async fn reached(&mut self, phase: Phase) {
        if self.phase.wait_for(|now| *now >= phase).await.is_err() {
            std::future::pending::<()>().await; // the process's own end comes first
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.shared.open.fetch_sub(1, Ordering::AcqRel);
    }
}
