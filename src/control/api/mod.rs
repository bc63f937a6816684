//! What sidecars and people may ask the control plane, over gRPC and TLS.
//!
//! `server` (connections) → `router` and `callers` (who calls, and whether they may) → `identity`,
//! `session`, `configuration`, `tokens`, `tap` (what they asked). Every RPC has its rule in one table; one
//! that is not in it is refused. Cores (`apply`, `checks`, `view`, `subscriptions`) know nothing of
//! the wire, which stops at `convert` and `said`.

mod apply;
mod author;
mod authority;
mod callers;
mod checks;
mod configuration;
mod convert;
mod handed;
mod identity;
mod observe;
mod recall;
mod rotation;
mod router;
mod said;
pub mod server;
mod session;
mod standings;
mod subscriptions;
mod tap;
mod taps;
#[cfg(test)]
mod tests;
mod tokens;
mod turns;
mod view;
mod watch;
mod wish;
mod writer;

pub use author::Author;
pub use callers::Caller;
pub use convert::recalled;
pub use recall::RecallService;
pub use router::Router;
pub use standings::{Newest, Standings};
pub use taps::{Lookout, Tap, Taps, Target};
pub use view::Id;
