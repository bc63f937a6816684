//! When an endpoint is ejected, and how it comes back.

use std::time::Duration;

use super::GrpcCodes;

/// What counts against an endpoint's circuit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CircuitOn {
    pub connect_failure: bool,
    pub reset: bool,
    /// No answer in an attempt's time, whichever limit said so.
    pub per_try_timeout: bool,
    /// 502, 503 and 504.
    pub gateway_error: bool,
    /// 500 to 599 (`5xx`).
    pub server_error: bool,
    pub grpc: GrpcCodes,
}

/// When an endpoint is ejected, and how it comes back.
#[derive(Clone, Debug, PartialEq)]
pub struct Circuit {
    pub on: CircuitOn,
    pub consecutive_failures: u32,
    pub failure_rate: Option<FailureRate>,
    pub slow_calls: Option<SlowCalls>,
    /// Doubles each time that the circuit reopens, jittered, up to `max_open_for`.
    pub open_for: Duration,
    pub max_open_for: Duration,
    pub half_open_requests: u8,
    /// No ejection leaves fewer ready endpoints than this.
    pub min_ready_endpoints: u32,
}

impl Default for Circuit {
    fn default() -> Self {
        let usual = CircuitOn {
            connect_failure: true,
            reset: true,
            per_try_timeout: true,
            gateway_error: true,
            server_error: false,
            grpc: GrpcCodes::default(),
        };
        Self {
            on: usual,
            consecutive_failures: 5,
            failure_rate: None,
            slow_calls: None,
            open_for: Duration::from_secs(5),
            max_open_for: Duration::from_secs(60),
            half_open_requests: 1,
            min_ready_endpoints: 1,
        }
    }
}

/// Opens when at least `threshold_percent` of the requests of the last `window` failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FailureRate {
    pub threshold_percent: u8,
    pub window: Duration,
    /// Fewer in the window say nothing.
    pub minimum_requests: u32,
}

impl Default for FailureRate {
    fn default() -> Self {
        Self { threshold_percent: 50, window: Duration::from_secs(10), minimum_requests: 20 }
    }
}

/// Opens when at least `threshold_percent` of the answers began later than `slower_than`. Window and
/// least number are those of the failure rate, or its defaults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlowCalls {
    pub threshold_percent: u8,
    pub slower_than: Duration,
}
