//! What the control plane writes: keys, state, leadership, statuses, trust, the webhook's root.
//!
//! Each scenario has a namespace of its own on one API server, and as many replicas as it needs in
//! this process. Nothing sleeps for a fixed time where a condition can be waited for.

mod authority;
pub mod cluster;
mod lease;
mod lossy;
pub mod status;
mod store;
mod trust;
mod webhook;
