//! Bulkheads: how much of this sidecar one service may take.
//!
//! Every admission is a ticket whose drop gives the place back, so nothing can leak; the counters
//! are shared by all workers. Invariant: a service at its limits takes no connection, queue place
//! or memory from another. Called by the outbound path.

mod bulkhead;

pub use bulkhead::{Bulkhead, ConnectionTicket, RequestTicket};
