//! HPACK (RFC 7541): header fields as HTTP/2 carries them.
//!
//! Both tables keep fields as the rest of the proxy uses them, so that what comes again and again is
//! parsed once and costs a reference count afterwards. What is ever new is not put into a table.

mod decode;
mod encode;
mod field;
mod huffman;
#[cfg(test)]
mod tests;

pub use decode::{Decoder, Undecodable};
pub use encode::Encoder;
pub use field::{Field, OVERHEAD};

/// The size that a table has unless somebody says otherwise, and that ours never exceed.
pub const TABLE: usize = 4096;
