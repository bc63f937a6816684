//! The signals that a sidecar obeys.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Listens from the moment it is made.
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    /// # Errors
    /// The system's.
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// The next of them.
    pub async fn next(&mut self) -> Told {
        tokio::select! {
            _ = self.terminate.recv() => Told::Leave,
            _ = self.interrupt.recv() => Told::Leave,
            _ = self.hangup.recv() => Told::Reload,
        }
    }

    /// The next word to leave.
    pub async fn leave(&mut self) {
        while self.next().await != Told::Leave {}
    }
}

/// What a signal says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// SIGTERM, or Ctrl-C.
    Leave,
    /// SIGHUP: read the configuration again.
    Reload,
}
