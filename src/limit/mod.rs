//! Bulkheads: how much of this sidecar one service may take.
//!
//! Every admission is a ticket whose drop gives the place back, so nothing can leak; the counters
//! are shared by all workers and outlive every change of the limits. Invariants: a service at its
//! limits takes no connection, queue place or memory from another, and nothing is admitted beyond
//! the limit of that moment. Called by the outbound path.

mod bulkhead;
mod places;

#[cfg(test)]
mod tests;

pub use bulkhead::{Bulkhead, Facts, RequestTicket};
pub use places::ConnectionTicket;
