//! How often and when a failed request is tried again.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use http::Method;

/// Which failures are tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryOn {
    /// No connection, and what surely never reached the app; for every method.
    pub connect_failure: bool,
    /// The peer refused the stream before it began; for every method.
    pub refused_stream: bool,
    /// The connection broke before a response.
    pub reset_before_response: bool,
    /// The connection broke before a response, or no answer came in an attempt's time.
    pub reset: bool,
    /// 500 to 599 (`5xx`), and no response at all.
    pub server_error: bool,
    /// 502, 503 and 504.
    pub gateway_error: bool,
    /// 409, as in Envoy.
    pub retriable_4xx: bool,
}

/// A set of gRPC status codes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GrpcCodes(u32);

impl GrpcCodes {
    /// The names as gRPC writes them, in lower case with dashes; the index is the code.
    pub const NAMES: [&str; 17] = [
        "ok",
        "cancelled",
        "unknown",
        "invalid-argument",
        "deadline-exceeded",
        "not-found",
        "already-exists",
        "permission-denied",
        "resource-exhausted",
        "failed-precondition",
        "aborted",
        "out-of-range",
        "unimplemented",
        "internal",
        "unavailable",
        "data-loss",
        "unauthenticated",
    ];

    #[must_use]
    pub fn with(self, code: u8) -> Self {
        Self(self.0 | 1u32.checked_shl(u32::from(code)).unwrap_or(0))
    }

    pub fn has(self, code: u8) -> bool {
        1u32.checked_shl(u32::from(code)).is_some_and(|bit| self.0 & bit != 0)
    }

    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Their names, by code.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        (0u8..).zip(Self::NAMES).filter(move |(code, _)| self.has(*code)).map(|(_, name)| name)
    }
}

/// The requests that may be sent twice although the first may have had its effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Methods {
    /// GET, HEAD, OPTIONS, TRACE, PUT and DELETE.
    Idempotent,
    Any,
    List {
        http: Arc<[Method]>,
        /// gRPC methods, as their paths: `/package.Service/Method`.
        grpc: Arc<[Arc<str>]>,
    },
}

/// The pauses between attempts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    pub strategy: BackoffStrategy,
    pub base: Duration,
    pub max: Duration,
    /// Anywhere between nothing and the pause, instead of the pause itself.
    pub full_jitter: bool,
}

/// How pauses grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BackoffStrategy {
    Exponential,
    Fixed,
}

/// In any ten seconds: retries ≤ max(10 × `min_per_second`, `ratio` % of requests).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryBudget {
    pub ratio_percent: u32,
    pub min_per_second: u32,
}

impl Default for RetryBudget {
    fn default() -> Self {
        Self { ratio_percent: 20, min_per_second: 10 }
    }
}

/// How often and when a failed request is tried again.
#[derive(Clone, Debug, PartialEq)]
pub struct Retry {
    pub max_retries: u32,
    pub on: RetryOn,
    pub status_codes: Arc<[RangeInclusive<u16>]>,
    /// Judged in answers that are trailers only.
    pub grpc_codes: GrpcCodes,
    pub methods: Methods,
    /// To the answer's head; only for attempts that another may follow.
    pub per_try_timeout: Option<Duration>,
    pub backoff: Backoff,
    pub budget: RetryBudget,
    /// A longer request body can't be replayed, in bytes.
    pub body_limit_bytes: usize,
}

impl Default for Backoff {
    fn default() -> Self {
        Self {
            strategy: BackoffStrategy::Exponential,
            base: Duration::from_millis(25),
            max: Duration::from_millis(250),
            full_jitter: true,
        }
    }
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            max_retries: 2,
            on: RetryOn {
                connect_failure: true,
                refused_stream: true,
                reset_before_response: true,
                reset: false,
                server_error: false,
                gateway_error: false,
                retriable_4xx: false,
            },
            status_codes: Arc::from([]),
            grpc_codes: GrpcCodes::default(),
            methods: Methods::Idempotent,
            per_try_timeout: None,
            backoff: Backoff::default(),
            budget: RetryBudget::default(),
            body_limit_bytes: 64 * 1024,
        }
    }
}

/// A second attempt beside one that takes long; the first answer counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hedge {
    pub after: HedgeAfter,
    /// Attempts beside the first.
    pub max_extra: u32,
}

/// When an attempt takes long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HedgeAfter {
    Delay(Duration),
    /// Longer than 95 of 100 answers took of late.
    P95,
}
