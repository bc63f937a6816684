//! Resources as people write them: YAML or JSON to checked raw types, with the
//! position of everything. One reading reports every fault, each with file,
//! line and field path; nothing is half accepted. Defaults that belong to the
//! format are filled in here, those of behaviour elsewhere. Called by the
//! sidecar for its files, by the configuration (which shares tree and decoder),
//! and by `outrigger apply` and `validate`.
//!
//! `yaml` (text → [`Node`]s) → `kinds` (document → [`Resource`]) with `decode`,
//! `scalar` and `names` as its vocabulary → `files` (folders, duplicates).

pub mod access_policy;
pub mod attach;
pub mod bound;
pub mod decode;
pub mod manifest;
pub mod names;
pub mod rate_limit_policy;
pub mod scalar;
pub mod schema;
pub mod sketch;
pub mod subject;
pub mod yaml;

mod fault;
mod files;
mod kinds;
mod metadata;
mod node;
mod route;
mod service;
mod traffic_policy;
mod workload;

#[cfg(test)]
mod tests;

pub use access_policy::AccessPolicy;
pub use fault::{Fault, nearest, suggestion};
pub use files::{fingerprint, parse_all, parse_documents, read, text, text_from, texts};
pub use kinds::{Resource, kind, kinds, sketch};
pub use metadata::Metadata;
pub use names::{Address, Labels};
pub use node::{Key, Node, Origin, Value, quote};
pub use rate_limit_policy::RateLimitPolicy;
pub use route::{
    DraftRule, GrpcMatch, GrpcMethod, GrpcRoute, GrpcRule, HttpRoute, HttpRule, ParentRef,
    RouteRetry, RouteTimeouts, grpc_rules, http_rules,
};
pub use service::{Service, ServicePort, TargetPort, protocol_of};
pub use traffic_policy::{FallbackSpec, TargetKind, TargetRef, TrafficPolicy};
pub use workload::{Workload, WorkloadPort};
