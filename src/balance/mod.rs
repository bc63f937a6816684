//! Which endpoint takes the next attempt.
//!
//! Invariant: an endpoint whose circuit is closed to us is never chosen, unless so few are left
//! that the panic threshold says to ignore circuits; one that this request has tried already is
//! chosen only when there is no other. State (requests under way, latency estimate) lives in the
//! endpoints and is shared by all workers; choosing takes no lock and allocates nothing.
//! A [`Balancer`] is compiled with each snapshot; the outbound path asks it once per attempt.

mod affinity;
mod balancer;
mod candidates;
mod ewma;
mod hash;
mod key;
mod maglev;
mod p2c;
mod pool;
mod ring;
mod zone;

#[cfg(test)]
mod tests;

pub use balancer::Balancer;
pub use candidates::Ask;
pub use ewma::{estimate_us, observe};
pub use key::{Key, connection_key, key};
