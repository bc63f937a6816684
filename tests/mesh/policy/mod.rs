//! What a `TrafficPolicy` says, and that the sidecar does it: for each field a scenario that fails
//! when it is ignored.
//!
//! Most are rows of tables ([`table`]): a policy, a script of its backends, a request, and what
//! became of it. One sidecar serves a whole table, with a service for each row.

mod circuit_states;
mod circuits;
mod deadlines;
mod fallbacks;
mod faults;
mod hedging;
mod levels;
mod limits;
mod retries;
mod retry_bodies;
mod retry_budget;
mod retry_grpc;
mod retry_pauses;
mod retry_routes;
mod table;
mod timeouts;
