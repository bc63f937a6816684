//! Connections from the near side: accepted, listened to, and served as what they turn out to be.
//!
//! `accept` hands sockets to the least loaded worker, `hear` finds out what a connection speaks
//! without keeping a server that speaks first waiting, `http` runs a service on it until the
//! process drains. What is done with a request or a stream of bytes is the wings' business.

pub mod accept;
pub mod hear;
pub mod http;
pub mod ledger;
pub mod near;
pub mod stage;
pub mod trust;
pub mod tunnel;

pub use ledger::{Entry, Ledger};
pub use near::Near;
