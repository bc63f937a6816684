//! What an answer came over: kept with its body, so that the connection moves and comes back.

use std::task::Context;

use super::h1::Lease;
use super::h2::StreamLease;
use crate::http::tail::Carrier;

/// The connection or stream under an answer.
#[derive(Debug)]
pub enum Via {
    H1(Lease),
    /// The connection has a task of its own.
    H2(StreamLease),
    /// One that nobody else gets and that moves by itself; since when.
    Alone(u64),
}

impl Via {
    /// When the connection was made, on the clock of `clock::now_us`.
    pub fn born_us(&self) -> u64 {
        match self {
            Via::H1(lease) => lease.born_us(),
            Via::H2(lease) => lease.born_us(),
            Via::Alone(born_us) => *born_us,
        }
    }
}

impl Carrier for Via {
    fn drive(&mut self, cx: &mut Context<'_>) {
        if let Via::H1(lease) = self {
            lease.drive(cx);
        }
    }

    fn finish(&mut self, now_us: u64) {
        match self {
            Via::H1(lease) => lease.finish(now_us),
            Via::H2(lease) => lease.finish(),
            Via::Alone(_) => {}
        }
    }
}
