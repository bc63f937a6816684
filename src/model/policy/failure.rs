//! Failures on purpose, and what is answered in the place of one.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode};

use crate::model::{HeaderMatch, ServiceName};

/// A share of requests, in parts of a million: exact for the finest percentage that can be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share(pub u32);

impl Share {
    pub const ALL: Share = Share(1_000_000);

    /// Whether a request is among them; `unit` is anywhere from 0 up to, not including, 1.
    pub fn has(self, unit: f64) -> bool {
        unit * f64::from(Share::ALL.0) < f64::from(self.0)
    }
}

/// Failures on purpose, for requests that match.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Fault {
    pub delay: Option<Delay>,
    pub abort: Option<Abort>,
    /// All must match; empty: every request.
    pub headers: Vec<HeaderMatch>,
}

/// Some requests wait before anything else is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delay {
    pub share: Share,
    pub duration: Duration,
}

/// Some requests are not forwarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Abort {
    pub share: Share,
    pub with: AbortWith,
}

/// What the caller of an aborted request sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AbortWith {
    Status(StatusCode),
    /// A gRPC code; callers that don't speak gRPC see the HTTP status that stands for it.
    Grpc(u8),
    /// The connection, or the HTTP/2 stream, is reset.
    Reset,
}

/// What answers when the service can't.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fallback {
    Service(ServiceName),
    Response { status: StatusCode, headers: Arc<[(HeaderName, HeaderValue)]>, body: Bytes },
}
