//! Where the session finds what it says of the traffic: the metrics, the endpoints as requests find
//! them, the requests that were kept, and those that somebody watches. `app` hands them in; nothing
//! here is per request.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::telemetry::reporter::Reporter;
use crate::telemetry::span::Span;
use crate::telemetry::tap::Taps;

/// Takes kept requests out of their queue: at most so many, of at most so many bytes.
pub type TakeSpans = dyn FnMut(usize, usize) -> Vec<Arc<Span>>;

/// All that there is to say.
pub struct Signals {
    pub reporter: RefCell<Reporter>,
    /// Of every service that is used now.
    pub endpoints: Box<dyn Fn() -> Vec<Unready>>,
    pub spans: RefCell<Box<TakeSpans>>,
    /// Of requests as they end.
    pub taps: Taps,
}

/// Those endpoints of a service that are not simply ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unready {
    /// `name.namespace:port`.
    pub service: Arc<str>,
    pub endpoints: Vec<(SocketAddr, EndpointState)>,
}

/// Why an endpoint is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndpointState {
    Ejected,
    HalfOpen,
    Connecting,
}
