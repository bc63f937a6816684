//! HTTP/1 (RFC 9112), for both ends of a connection, on one worker.
//!
//! One message at a time goes each way. A message that was read whole with its head has its body at
//! hand; of a longer one the connection reads a piece whenever its [`Receiver`] asks for one. What is
//! written waits in one buffer, and goes out with as few writes as there can be. A server's requests
//! pass the guard; what a server of others answers is read as leniently as its clients would.

mod broken;
mod channel;
mod client;
mod coding;
mod frame;
mod head;
mod out;
mod pump;
mod server;
mod spelling;
#[cfg(test)]
mod tests;

pub use broken::Broken;
pub use channel::Receiver;
pub use client::Client;
pub use server::{Connection, Over};
pub use spelling::Spelling;

/// What waits to be written on one connection, before more of a body is asked for.
const UNWRITTEN: usize = 64 * 1024;
/// Of an answer's head, and of its fields, at most.
const HEAD: usize = 128 * 1024;
const FIELDS: usize = 100;
