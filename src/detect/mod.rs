//! What a connection speaks, told from its first bytes.
//!
//! Synchronous readers over whatever has arrived so far: the caller owns the socket, the 20 ms in
//! which the server may speak first, and the 200 ms that detection gets. Invariant: an answer other
//! than "more" holds for every continuation of the same bytes, so asking early is never wrong.
//! Called by the inbound and outbound accept paths, which keep the bytes and hand them on.

mod client_hello;
mod sniff;

pub use client_hello::{ClientHello, Hello, MAX_HELLO_BYTES, read};
pub use sniff::{MAX_REQUEST_LINE_BYTES, Sniff, sniff, sniff_final};

#[cfg(test)]
mod tests;
