//! HTTP/2 (RFC 9113), for both ends of a connection, on one worker.
//!
//! A connection is one task: it reads frames, polls the answers to its requests where they are, and
//! writes what all of its streams have to say at once. Streams are shared with whoever reads and
//! writes them by a reference count; nothing goes through a channel, and nothing but what waits to be
//! read or written is kept in memory. One may follow a frame from `reader` over `core` and `stream`
//! into `receive` and `send`.

mod calm;
mod client;
mod control;
mod core;
mod driver;
pub mod error;
mod fields;
mod frame;
mod head;
pub mod hpack;
mod out;
mod parting;
mod pulse;
mod queue;
mod reader;
mod receive;
mod send;
mod server;
mod stream;
#[cfg(test)]
mod tests;

pub use client::{Client, start};
pub use error::Broken;
pub use frame::Code;
pub use head::TooLarge;
pub use receive::Receiver;
pub use send::Pump;
pub use server::Connection;
pub use stream::Handle;

/// Streams that a peer may have under way on one connection; more wait, or take a second one.
pub const STREAMS: u32 = 256;
/// A stream may have this much on the way to us that nobody has read yet.
const WINDOW: u32 = 64 * 1024;
/// Room for every stream to be stalled at once without stalling another.
const CONNECTION_WINDOW: u32 = WINDOW * STREAMS;
/// What waits to be written on one connection, before its streams wait too.
const UNWRITTEN: usize = 64 * 1024;
/// A message's fields, as HPACK counts them.
const HEADER_LIST: usize = 64 * 1024;
