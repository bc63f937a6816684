//! A span that was kept: what one sidecar saw of one request or opaque connection.
//!
//! Written once, when the exchange ends, and only where it is sampled, failed or was slow. Whoever
//! exports or reports takes it from a queue of its own; nobody changes it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::model::{Direction, Reason, SpiffeId};

/// One request at one sidecar.
#[derive(Clone, Debug, PartialEq)]
pub struct Span {
    /// Never zero.
    pub trace_id: u128,
    /// Never zero.
    pub span_id: u64,
    /// The span that called; none begins the trace.
    pub parent_id: Option<u64>,
    pub kept: Kept,
    /// Inbound is a server's span, outbound a client's.
    pub direction: Direction,
    pub started: SystemTime,
    /// To the last byte of the answer.
    pub duration: Duration,
    /// `http/1.1`, `http/2`, `grpc` or `tcp`.
    pub protocol: &'static str,
    /// None for opaque connections.
    pub method: Option<http::Method>,
    pub authority: Option<Box<str>>,
    /// Without the query, which may hold secrets.
    pub path: Option<Box<str>>,
    pub request_id: Option<Box<str>>,
    pub user_agent: Option<Box<str>>,
    pub status: Option<u16>,
    pub grpc_status: Option<u8>,
    pub reason: Option<Reason>,
    /// What the proxy said of a failure.
    pub sentence: Option<Box<str>>,
    /// The service that was called, as `name.namespace:port`, and the route that it fell under.
    pub service: Option<Arc<str>>,
    pub route: Option<Arc<str>>,
    /// Where the last attempt went.
    pub endpoint: Option<SocketAddr>,
    /// Who is at the far end of it: the caller inbound, the endpoint outbound.
    pub peer: Option<SpiffeId>,
    /// `mtls`, `tls` or `none`, downstream.
    pub tls: &'static str,
    pub attempts: Vec<Attempt>,
    pub bytes_in: u64,
    pub bytes_out: u64,
}

/// Why a span is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    Sampled,
    Failed,
    Slow,
}

/// One try at one endpoint.
#[derive(Clone, Debug, PartialEq)]
pub struct Attempt {
    pub endpoint: SocketAddr,
    /// After the span's beginning.
    pub began: Duration,
    /// To the head of the answer, or to the failure.
    pub took: Duration,
    /// Of the answer, where there was one.
    pub status: Option<u16>,
    /// How it failed, or what its circuit or the peer's sidecar said.
    pub reason: Option<Reason>,
}
