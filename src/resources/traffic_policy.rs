//! `TrafficPolicy`: how callers treat a service.

use super::metadata::Metadata;
use crate::model::{Balancing, Circuit, Fault, Hedge, Limits, Retry, ServiceName, Timeouts, Tls};

/// How callers treat a service, the requests of a route, or everything in a namespace or the mesh.
#[derive(Clone, Debug, PartialEq)]
pub struct TrafficPolicy {
    pub metadata: Metadata,
    /// Empty: the default of its namespace, or of the mesh in the namespace `outrigger-system`.
    pub targets: Vec<TargetRef>,
    pub load_balancing: Option<Balancing>,
    pub limits: Option<Limits>,
    pub circuit: Option<Circuit>,
    pub retry: Option<Retry>,
    pub hedge: Option<Hedge>,
    pub timeouts: Option<Timeouts>,
    pub fault: Option<Fault>,
    pub fallback: Option<FallbackSpec>,
    pub keeps_header_case: Option<bool>,
    pub tls: Option<Tls>,
}

/// Something of the policy's own namespace that it is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetRef {
    pub kind: TargetKind,
    pub name: String,
    /// Of a route: the name of one of its rules. Of a service: the name of a port.
    pub section: Option<String>,
}

/// What a policy may be about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TargetKind {
    Service,
    HttpRoute,
    GrpcRoute,
}

/// What answers when the service can't, as it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FallbackSpec {
    /// `port` 0 stands for the port that was asked for.
    Service(ServiceName),
    Response {
        status: http::StatusCode,
        headers: std::sync::Arc<[(http::HeaderName, http::HeaderValue)]>,
        body: bytes::Bytes,
    },
}
