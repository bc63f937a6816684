//! Who may call: from a connection's proven identity and what is called to a permit, or a reason.
//!
//! Forwarding takes a [`Permit`], and only this room makes one, so a path that forgot to ask does
//! not compile. A doubt is a refusal. An [`Ask`] is judged by the [`Policy`] in use (`newest`), which
//! is shared by all workers and made when policies change: for each port what the nearest policies
//! say (`at_port`), and the rules of all of them, found by an `index` and read by `rule`; what a
//! request shows beside its connection's identity is found right by `tokens`. Called by the inbound
//! path, once per request and once per opaque connection, and by `explain`.

mod ask;
mod at_port;
mod credentials;
mod decision;
mod index;
mod newest;
mod policy;
mod rule;
mod shape;
pub mod tokens;

#[cfg(test)]
mod tests;

pub use ask::{Ask, Held, HeldWhat, Request, What};
pub use at_port::{AtPort, Named, Place, Said};
pub use credentials::Credentials;
pub use decision::{Decision, Lack, RuleWord, Why};
pub use newest::Access;
pub use policy::Policy;
pub use tokens::{Known, Presented, Tokens};

/// Leave to forward one request or one connection; made here only.
#[derive(Debug)]
pub struct Permit(());
