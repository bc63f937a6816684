//! Which endpoint takes the next attempt.
//!
//! Invariant: an endpoint whose circuit is closed to us, or that this request has tried already, is
//! chosen only when there is no other. State (requests under way, latency estimate) lives in the
//! endpoints and is shared by all workers; choosing takes no lock and allocates nothing.
//! Called by the outbound path once per attempt.

mod ewma;
mod p2c;

#[cfg(test)]
mod tests;

pub use ewma::{estimate_us, observe};
pub use p2c::{Candidates, pick};
