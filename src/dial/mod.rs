//! Connections to the other side: made, kept, given back, let go. One [`Dialer`] a worker.
//!
//! HTTP/1 connections are polled in place by the exchange that uses them: no task, no channel
//! between threads, and dropping an exchange half-way closes its connection. HTTP/2 connections are
//! shared by the worker's requests. A meshed endpoint is never dialled in plaintext, and a
//! connection whose peer proved another identity never gets into a pool.

mod connect;
mod error;
mod exchange;
mod h1;
mod h2;
mod pool;
#[cfg(test)]
mod tests;
mod via;

pub use connect::{Far, Stream};
pub use error::{DialError, SendError};
pub use exchange::{Missed, Switched};
pub use pool::{Dialer, Pool};
pub use via::Via;
