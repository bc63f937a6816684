//! Which rule a request falls under, and what is done to it.
//!
//! Everything is compiled when a snapshot is built: a [`Table`] says under which of a service's
//! rules a request falls, [`Filters`] change it and its answer, and [`Weights`] share a rule's
//! requests out among its backends. Asking them takes no lock and, for all but rare requests, no
//! memory. Called by the outbound path and by whoever explains it.

mod conditions;
mod filters;
mod head;
mod hosts;
mod paths;
mod patterns;
mod table;
mod weights;

#[cfg(test)]
mod tests;

pub use conditions::Conditions;
pub use filters::{CorsGrant, Filters};
pub use head::{Head, split_port};
pub use table::{Found, Table};
pub use weights::{Turn, Weights};
