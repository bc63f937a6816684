//! What replicas tell each other of the mesh's memory: the question, and one replica's part, as the
//! protocol writes them (`said`) and read back (`heard`).
//!
//! Names stand in a table of words, since the same few stand in thousands of rows. A part has at most
//! so many rows and bytes; what has no room is counted. What another replica says is checked as what
//! a sidecar says is: it may be of another release.

mod heard;
mod said;
#[cfg(test)]
mod tests;

pub use heard::question;
pub use said::{asking, part};

/// Of one answer.
const ROWS: usize = 50_000;
const TELLERS: usize = 50_000;
const HOLDERS: usize = 50_000;
/// Bytes of an answer, and of what is taken for one.
const MOST_BYTES: usize = 8 << 20;
pub const LARGEST: usize = 16 << 20;
/// Traces, and services' steps, of one question.
const TRACES: usize = 500;
const STEPS: u32 = 180;
