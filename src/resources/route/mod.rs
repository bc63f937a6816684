//! What route resources say, of either kind: for whom they are, and what each rule does.
//!
//! Matches, filters and backends are the data path's own nouns: a rule is checked when it is read
//! and compiled as it is. `http` and `grpc` read the two kinds, with `parents`, `matches`,
//! `filters` and `backends` as what they share; `print` writes them back; `draft` hands the rules on.
//! What the format can say and the mesh would not do is refused.

use std::time::Duration;

use super::metadata::Metadata;
use crate::model::{Backend, Filter, HeaderMatch, Hostname, Match};

mod backends;
mod bounds;
mod cors;
mod draft;
mod edits;
mod filters;
mod grpc;
mod http;
mod matches;
mod parents;
mod print;
mod regexes;
mod urls;

#[cfg(test)]
mod tests;

pub use draft::{DraftRule, grpc_rules, http_rules};
pub(super) use grpc::decode as grpc;
pub(super) use http::decode as http;
pub(super) use matches::{header_value, headers as header_matches, matched_name};
pub(super) use print::{grpc_spec, header as header_spec, http_spec};

/// `HTTPRoute` with services as its parents.
#[derive(Clone, Debug, PartialEq)]
pub struct HttpRoute {
    pub metadata: Metadata,
    /// At least one.
    pub parents: Vec<ParentRef>,
    pub hostnames: Vec<Hostname>,
    pub rules: Vec<HttpRule>,
}

/// `GRPCRoute` with services as its parents.
#[derive(Clone, Debug, PartialEq)]
pub struct GrpcRoute {
    pub metadata: Metadata,
    /// At least one.
    pub parents: Vec<ParentRef>,
    pub hostnames: Vec<Hostname>,
    pub rules: Vec<GrpcRule>,
}

/// A service whose requests a route is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParentRef {
    pub name: String,
    /// The route's own unless written.
    pub namespace: String,
    /// Absent: every port.
    pub port: Option<u16>,
    /// The name of a port of the service; absent: every port.
    pub section: Option<String>,
}

/// A rule of an `HTTPRoute`.
#[derive(Clone, Debug, PartialEq)]
pub struct HttpRule {
    pub name: Option<String>,
    pub matches: Vec<Match>,
    pub filters: Vec<Filter>,
    pub backends: Vec<Backend>,
    pub timeouts: RouteTimeouts,
    pub retry: Option<RouteRetry>,
}

/// A rule's own time limits; zero switches one off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RouteTimeouts {
    pub request: Option<Duration>,
    pub backend_request: Option<Duration>,
}

/// A rule's own retries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteRetry {
    pub codes: Vec<u16>,
    /// Retries, apart from the first attempt.
    pub attempts: Option<u32>,
    pub backoff: Option<Duration>,
}

/// A rule of a `GRPCRoute`.
#[derive(Clone, Debug, PartialEq)]
pub struct GrpcRule {
    pub name: Option<String>,
    pub matches: Vec<GrpcMatch>,
    pub filters: Vec<Filter>,
    pub backends: Vec<Backend>,
}

/// What a call must have; all of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GrpcMatch {
    pub method: Option<GrpcMethod>,
    pub headers: Vec<HeaderMatch>,
}

/// The called method.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GrpcMethod {
    /// At least one of both.
    Exact { service: Option<String>, method: Option<String> },
    /// Regular expressions; at least one of both.
    Regex { service: Option<String>, method: Option<String> },
}
