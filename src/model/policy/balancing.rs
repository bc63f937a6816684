//! Which endpoint takes a request.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderName;

/// How a service's endpoints share its requests.
#[derive(Clone, Debug, PartialEq)]
pub struct Balancing {
    pub policy: BalancingPolicy,
    /// Endpoints of the caller's zone come first, as long as they are well and not overloaded.
    pub prefers_zone: bool,
    /// A new endpoint's share grows for so long.
    pub warmup: Option<Duration>,
    /// Percent: where fewer endpoints are ready, circuits are ignored.
    pub panic_threshold: Option<u8>,
}

impl Default for Balancing {
    fn default() -> Self {
        Self {
            policy: BalancingPolicy::PeakEwma,
            prefers_zone: true,
            warmup: None,
            panic_threshold: None,
        }
    }
}

/// The rule of choice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BalancingPolicy {
    /// The faster one of two, by latency and load.
    PeakEwma,
    /// The one of two with fewer requests under way.
    LeastRequest,
    RoundRobin,
    Random,
    /// The same key to the same endpoint, by a ring of hashes.
    RingHash(HashOn),
    /// The same key to the same endpoint, by Maglev's table.
    Maglev(HashOn),
}

impl BalancingPolicy {
    /// The word that users write and read.
    pub fn as_str(&self) -> &'static str {
        match self {
            BalancingPolicy::PeakEwma => "peakEwma",
            BalancingPolicy::LeastRequest => "leastRequest",
            BalancingPolicy::RoundRobin => "roundRobin",
            BalancingPolicy::Random => "random",
            BalancingPolicy::RingHash(_) => "ringHash",
            BalancingPolicy::Maglev(_) => "maglev",
        }
    }

    /// What is hashed, where something is.
    pub fn hash_on(&self) -> Option<&HashOn> {
        match self {
            BalancingPolicy::RingHash(on) | BalancingPolicy::Maglev(on) => Some(on),
            _ => None,
        }
    }
}

/// What a request's key is. A request without it goes to any endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HashOn {
    Header(HeaderName),
    /// Set in the answer when the request has none.
    Cookie {
        name: Arc<str>,
        path: Option<Arc<str>>,
        /// Absent: until the browser ends.
        ttl: Option<Duration>,
    },
    /// The value of a query parameter.
    Query(Arc<str>),
    Path,
    /// The address that the connection came from.
    SourceIp,
}
