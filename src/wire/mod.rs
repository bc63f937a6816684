//! The protocol between sidecars, people and the control plane, as generated from
//! `proto/outrigger/v1`, and a channel that calls it.
//!
//! Generated types stop at three doors: `agent/convert`, `control/api/convert` and
//! `cli/control/{calls,convert}`. Everything else speaks the house's own nouns.

mod channel;

pub use channel::{Channel, ChannelError};

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
