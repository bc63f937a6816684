//! Bounds: how much of this sidecar one service may take, how often the workload may be called, and
//! how much of it at once.
//!
//! Every admission is a ticket whose drop gives the place back, so nothing can leak; what is counted
//! is shared by all workers and outlives every change of the limits. Invariants: a service at its
//! limits takes no connection, queue place or memory from another, and nothing is admitted beyond
//! the limit of that moment. Bulkheads are called by the outbound path, `rate` and `load` by the
//! inbound.

mod bulkhead;
pub mod load;
mod places;
pub mod rate;

#[cfg(test)]
mod tests;

pub use bulkhead::{Bulkhead, Facts, RequestTicket};
pub use places::ConnectionTicket;
