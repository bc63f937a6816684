//! How often the workload may be called: limits of `RateLimitPolicy`, kept in this sidecar.
//!
//! Invariant: no limit ever admits more than it says, whoever asks and however often policies
//! change; a request that one limit refuses costs nothing at the others; memory has a bound whatever
//! callers send. `gcra` is the arithmetic of one bucket, `table` the buckets of all keys, `rule` one
//! limit, `at_port` all that a request must keep, `newest` what is in use. Called by the inbound
//! path, once a request, and by the pages.

mod at_port;
mod gcra;
mod newest;
mod rule;
mod table;

#[cfg(test)]
mod tests;

pub use at_port::{AtPort, Quota, seconds};
pub use newest::{Limits, Rates};
pub use rule::{Ask, Readings, Rule, is_method};
