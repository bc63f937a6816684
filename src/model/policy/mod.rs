//! How callers treat a service, and what holds when nothing says otherwise.
//!
//! Plain data: the rooms `balance`, `circuit`, `limit` and `retry` give it its meaning. An absent
//! optional is off; zero never means off.

mod balancing;
mod circuit;
mod failure;
mod retry;

use std::sync::Arc;
use std::time::Duration;

pub use balancing::{Balancing, BalancingPolicy, HashOn};
pub use circuit::{Circuit, CircuitOn, FailureRate, SlowCalls};
pub use failure::{Abort, AbortWith, Delay, Fallback, Fault, Share};
pub use retry::{Backoff, BackoffStrategy, GrpcCodes, Hedge, HedgeAfter, Methods};
pub use retry::{Retry, RetryBudget, RetryOn};

/// Everything that concerns one service, with the defaults of an unconfigured mesh.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Policy {
    pub balancing: Balancing,
    pub limits: Limits,
    pub circuit: Circuit,
    pub retry: Retry,
    pub hedge: Option<Hedge>,
    pub timeouts: Timeouts,
    pub fault: Option<Fault>,
    pub fallback: Option<Fallback>,
    /// HTTP/1 header names reach the app in the letter case that the caller wrote.
    pub keeps_header_case: bool,
    pub tls: Tls,
    pub origins: Origins,
}

/// The parts of a policy, each taken whole from the nearest resource that has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Part {
    LoadBalancing,
    Limits,
    CircuitBreaker,
    Retry,
    Hedge,
    Timeouts,
    Fault,
    Fallback,
    HeaderCase,
    Tls,
}

impl Part {
    /// Every part, in the order of the documentation.
    pub const ALL: [Part; 10] = [
        Part::LoadBalancing,
        Part::Limits,
        Part::CircuitBreaker,
        Part::Retry,
        Part::Hedge,
        Part::Timeouts,
        Part::Fault,
        Part::Fallback,
        Part::HeaderCase,
        Part::Tls,
    ];

    /// The field's name in a resource.
    pub fn as_str(self) -> &'static str {
        match self {
            Part::LoadBalancing => "loadBalancing",
            Part::Limits => "limits",
            Part::CircuitBreaker => "circuitBreaker",
            Part::Retry => "retry",
            Part::Hedge => "hedge",
            Part::Timeouts => "timeouts",
            Part::Fault => "fault",
            Part::Fallback => "fallback",
            Part::HeaderCase => "headerCase",
            Part::Tls => "tls",
        }
    }
}

/// Which resource said each part, as `TrafficPolicy namespace/name`; what nobody said is a default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origins([Option<Arc<str>>; Part::ALL.len()]);

impl Origins {
    pub fn of(&self, part: Part) -> Option<&Arc<str>> {
        self.0[part as usize].as_ref()
    }

    pub fn set(&mut self, part: Part, resource: Arc<str>) {
        self.0[part as usize] = Some(resource);
    }
}

/// Bulkheads of one service, for one sidecar, shared by its workers.
#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    pub max_connections: u32,
    pub max_requests: u32,
    /// Requests that wait for a connection.
    pub max_pending_requests: u32,
    pub queue_timeout: Duration,
    pub max_requests_per_connection: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_connections: 16_384,
            max_requests: 16_384,
            max_pending_requests: 1_024,
            queue_timeout: Duration::from_secs(1),
            max_requests_per_connection: 100_000,
        }
    }
}

/// Time limits; the absent ones are off.
#[derive(Clone, Debug, PartialEq)]
pub struct Timeouts {
    /// For the whole request: every attempt and pause, to the answer's last byte.
    pub request: Option<Duration>,
    /// For each attempt, to the answer's last byte (the Gateway API's `backendRequest`).
    pub backend_request: Option<Duration>,
    /// From sending to the answer's head, for each attempt.
    pub response_headers: Option<Duration>,
    pub connect: Duration,
    /// Without a byte in either direction.
    pub idle: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            request: None,
            backend_request: None,
            response_headers: None,
            connect: Duration::from_secs(1),
            idle: Duration::from_secs(300),
        }
    }
}

/// How endpoints are reached.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Tls {
    /// Meshed endpoints over mutual TLS, the others in plaintext.
    #[default]
    Mesh,
    /// All in plaintext.
    Off,
    /// Endpoints that are not meshed over TLS, as a client without a certificate.
    Originate(Originate),
}

/// TLS towards endpoints outside the mesh.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Originate {
    /// The name that is asked for and verified; absent: the workload's host name.
    pub sni: Option<Arc<str>>,
    /// Roots, in PEM, on the sidecar's own disk; absent: the system's.
    pub ca_file: Option<Arc<std::path::Path>>,
}
