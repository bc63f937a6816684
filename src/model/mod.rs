//! The nouns of the house, and the atomics of an `Endpoint`.
//!
//! No I/O, no runtime, no clock, no wire format: every other room may import this one, and it
//! imports none of them. What two rooms of one floor share (circuit ejects, balance picks) meets
//! here.

mod endpoint;
mod names;
mod policy;
mod protocol;
mod reason;
mod service;

pub use endpoint::{CircuitState, Endpoint, EndpointHealth, LastError};
pub use names::{
    CONTROL_PLANE_ACCOUNT, CONTROL_PLANE_NAMESPACE, NameError, ServiceName, SpiffeId, TrustDomain,
};
pub use policy::{
    Backoff, Circuit, CircuitOn, Limits, Policy, Retry, RetryBudget, RetryOn, Timeouts,
};
pub use protocol::{Direction, Protocol};
pub use reason::Reason;
pub use service::{Coverage, Instance, Mesh, Service};
