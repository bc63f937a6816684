//! Who may call: from a connection's proven identity to a permit, or a reason.
//!
//! Forwarding takes a [`Permit`], and only this room makes one, so a path that forgot to ask does
//! not compile. A doubt is a refusal. `policy` is what holds, made when policies change; `newest`
//! is the one in use, shared by all workers. Called by the inbound path, once per request and once
//! per opaque connection.

mod newest;
mod policy;

pub use newest::Access;
pub use policy::{AtPort, Policy};

/// Leave to forward one request or one connection; made here only.
#[derive(Debug)]
pub struct Permit(());
