//! The nouns of the house, and the atomics of an `Endpoint`.
//!
//! No I/O, no runtime, no clock, no wire format: every other room may import this one, and it
//! imports none of them. What two rooms of one floor share (circuit ejects, balance picks) meets
//! here.

mod access;
mod advice;
mod endpoint;
mod names;
mod policy;
mod protocol;
mod reason;
mod route;
mod service;
mod url;

pub use access::{Action, Audit, Mode, Mtls, PlaintextCaller};
pub use advice::Advice;
pub use endpoint::{CircuitState, Endpoint, EndpointHealth, LastError};
pub use names::{
    APP_LABELS, CONTROL_PLANE_ACCOUNT, CONTROL_PLANE_NAMESPACE, NameError, ServiceName, SpiffeId,
    TrustDomain,
};
pub use policy::{
    Abort, AbortWith, Backoff, BackoffStrategy, Balancing, BalancingPolicy, Circuit, CircuitOn,
    Delay, FailureRate, Fallback, Fault, GrpcCodes, HashOn, Hedge, HedgeAfter, Limits, Methods,
    Originate, Origins, Part, Policy, Retry, RetryBudget, RetryOn, Share, SlowCalls, Timeouts, Tls,
};
pub use protocol::{Direction, Protocol};
pub use reason::Reason;
pub use route::{
    Backend, Cors, Filter, HeaderEdit, HeaderMatch, Hostname, Match, Mirror, PathChange, PathMatch,
    QueryMatch, Redirect, Rewrite, RouteKind, Rule, ValueMatch,
};
pub use service::{Conflict, Coverage, Instance, Mesh, Service};
pub use url::Url;
