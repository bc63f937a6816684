//! Opaque bytes between two streams: the relay under TCP services, upgrades and CONNECT.
//!
//! Invariant: what one side sees is what the other did. A half-close passes through alone, back
//! pressure is the absence of reading, and a connection that broke is told apart from one that
//! ended, so that the caller can break the other one too. An idle relay holds no buffer: reads go to
//! a scratch area of the thread, and only what the other side would not take is kept, bounded.
//! Called by `inbound` and `outbound`; runs on a current-thread runtime and needs no `Send`.

mod copy;
mod relay;
mod splice;

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::net::TcpStream;

use crate::model::Reason;

pub use relay::{relay, relay_tcp};

#[cfg(test)]
mod tests;

/// Bytes that reached the other side, in live numbers for whoever shows or sums connections; may be
/// shared by several relays.
#[derive(Debug, Default)]
pub struct Counters {
    pub a_to_b: AtomicU64,
    pub b_to_a: AtomicU64,
}

impl Counters {
    /// From A to B, and back.
    pub fn read(&self) -> (u64, u64) {
        (self.a_to_b.load(Ordering::Relaxed), self.b_to_a.load(Ordering::Relaxed))
    }
}

/// What a relay carried, and how it ended.
#[derive(Debug)]
pub struct Outcome {
    /// Bytes that B took.
    pub a_to_b: u64,
    /// Bytes that A took.
    pub b_to_a: u64,
    pub end: End,
}

/// How a relay ended.
#[derive(Debug)]
pub enum End {
    /// Both directions reached their end and were shut down.
    Clean,
    /// A broke: B must see a reset, see [`reset`].
    A(Fault),
    /// B broke: A must see a reset, see [`reset`].
    B(Fault),
    /// No byte moved in either direction for the idle time. Neither stream was shut down.
    Idle,
}

impl End {
    /// Whether a side broke, so that a clean end would tell the other one a lie.
    pub fn is_broken(&self) -> bool {
        matches!(self, Self::A(_) | Self::B(_))
    }

    /// Why it ended, where A is downstream and B upstream; `None` is a clean end.
    pub fn reason(&self) -> Option<Reason> {
        match self {
            Self::Clean => None,
            Self::A(_) => Some(Reason::ClientClosed),
            Self::B(_) => Some(Reason::UpstreamReset),
            Self::Idle => Some(Reason::IdleTimeout),
        }
    }
}

/// What failed on the side that broke.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    #[error("reading from the connection failed")]
    Read(#[source] io::Error),
    #[error("writing to the connection failed")]
    Write(#[source] io::Error),
}

/// Makes dropping `stream` send a reset, and throws away what it had yet to send.
///
/// # Errors
///
/// What the kernel says to `SO_LINGER`; a socket that is already gone is no error.
pub fn reset(stream: &TcpStream) -> io::Result<()> {
    stream.set_zero_linger()
}

/// One direction's bytes: its own total, and the live number others read.
struct Tally<'a> {
    sent: u64,
    live: &'a AtomicU64,
}

impl<'a> Tally<'a> {
    fn new(live: &'a AtomicU64) -> Self {
        Self { sent: 0, live }
    }

    fn add(&mut self, bytes: usize) {
        self.sent += bytes as u64;
        self.live.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}
