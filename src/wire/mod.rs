//! The protocol between sidecars, people and the control plane, as generated from
//! `proto/outrigger/v1`, and a channel that calls it.
//!
//! Generated types stop at four doors: `agent/convert`, `control/api/convert`,
//! `cli/control/{calls,convert,seeing}` and `demo/operator`. Everything else speaks the
//! house's own nouns.

mod bearer;
mod channel;
mod codec;
mod nouns;
mod tap;
#[cfg(test)]
mod tests;

pub use bearer::{bearer, shown};
pub use channel::{Channel, ChannelError, Unsent};
pub use codec::Codec;
pub use nouns::{protocol_number, protocol_of};

/// `outrigger.v1`.
#[allow(
    missing_docs,
    clippy::all,
    clippy::allow_attributes_without_reason,
    reason = "generated; the documents stand in proto/"
)]
pub mod v1 {
    tonic::include_proto!("outrigger.v1");
}
