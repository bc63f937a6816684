//! Who may call: from a connection's proven identity and what is called to a permit, or a reason.
//!
//! Forwarding takes a [`Permit`], and only this room makes one, so a path that forgot to ask does
//! not compile. A doubt is a refusal. An [`Ask`] is judged by the [`Policy`] in use (`newest`), which
//! is shared by all workers and made when policies change: for each port what the nearest policies
//! say (`at_port`), and the rules of all of them, found by an `index` and read by `rule`. Called by
//! the inbound path, once per request and once per opaque connection, and by `explain`.

mod ask;
mod at_port;
mod decision;
mod index;
mod newest;
mod policy;
mod rule;

#[cfg(test)]
mod tests;

pub use ask::{Ask, Held, HeldWhat, Request, What};
pub use at_port::{AtPort, Named, Place, Said};
pub use decision::{Decision, RuleWord, Why};
pub use newest::Access;
pub use policy::Policy;

/// Leave to forward one request or one connection; made here only.
#[derive(Debug)]
pub struct Permit(());
