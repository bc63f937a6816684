//! How callers treat a service, and what holds when nothing says otherwise.
//!
//! Plain data: the rooms `balance`, `circuit`, `limit` and `retry` give it its meaning. An absent
//! optional is off; zero never means off.

use std::time::Duration;

/// Everything that concerns one service, with the defaults of an unconfigured mesh.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Policy {
    pub limits: Limits,
    pub circuit: Circuit,
    pub retry: Retry,
    pub timeouts: Timeouts,
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

/// What counts against an endpoint's circuit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CircuitOn {
    pub connect_failure: bool,
    pub reset: bool,
    pub per_try_timeout: bool,
    /// 502, 503 and 504.
    pub gateway_error: bool,
}

/// When an endpoint is ejected, and how it comes back.
#[derive(Clone, Debug, PartialEq)]
pub struct Circuit {
    pub on: CircuitOn,
    pub consecutive_failures: u32,
    /// Doubles each time that the circuit reopens, jittered, up to `max_open_for`.
    pub open_for: Duration,
    pub max_open_for: Duration,
    pub half_open_requests: u8,
    /// No ejection leaves fewer ready endpoints than this.
    pub min_ready_endpoints: u32,
}

impl Default for Circuit {
    fn default() -> Self {
        let all = CircuitOn {
            connect_failure: true,
            reset: true,
            per_try_timeout: true,
            gateway_error: true,
        };
        Self {
            on: all,
            consecutive_failures: 5,
            open_for: Duration::from_secs(5),
            max_open_for: Duration::from_secs(60),
            half_open_requests: 1,
            min_ready_endpoints: 1,
        }
    }
}

/// Which failures are tried again, apart from those that every policy retries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryOn {
    pub connect_failure: bool,
    pub refused_stream: bool,
    /// The connection broke before a response; idempotent methods only.
    pub reset_before_response: bool,
}

/// Full-jitter exponential back-off between attempts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    pub base: Duration,
    pub max: Duration,
}

/// In any ten seconds: retries ≤ max(10 × `min_per_second`, `ratio` % of requests).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryBudget {
    pub ratio_percent: u32,
    pub min_per_second: u32,
}

/// How often and when a failed request is tried again.
#[derive(Clone, Debug, PartialEq)]
pub struct Retry {
    pub max_retries: u32,
    pub on: RetryOn,
    pub backoff: Backoff,
    pub budget: RetryBudget,
    /// A longer request body can't be replayed, in bytes.
    pub body_limit_bytes: usize,
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            max_retries: 2,
            on: RetryOn {
                connect_failure: true,
                refused_stream: true,
                reset_before_response: true,
            },
            backoff: Backoff { base: Duration::from_millis(25), max: Duration::from_millis(250) },
            budget: RetryBudget { ratio_percent: 20, min_per_second: 10 },
            body_limit_bytes: 64 * 1024,
        }
    }
}

/// Time limits; the absent ones are off.
#[derive(Clone, Debug, PartialEq)]
pub struct Timeouts {
    pub connect: Duration,
    /// Without a byte in either direction.
    pub idle: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self { connect: Duration::from_secs(1), idle: Duration::from_secs(300) }
    }
}
