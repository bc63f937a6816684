//! `TrafficPolicy`: how callers treat a service.
//!
//! A part that is written is whole: what it leaves out has its default, whatever another policy
//! says about the same part. Each part is read and printed in one file, so that what is printed
//! reads back to the same.

mod balancing;
mod bounds;
mod circuit;
mod failure;
mod fallback;
mod methods;
mod retry;
mod target;
mod tls;
pub(super) mod words;

#[cfg(test)]
mod tests;

use serde_json::{Value, json};

pub use target::{TargetKind, TargetRef};

use super::decode::{Decoder, Fields};
use super::manifest::object;
use super::metadata::Metadata;
use super::node::Node;
use super::scalar::choice;
use crate::model::{Balancing, Circuit, Fault, Hedge, Limits, Part, Retry, ServiceName};
use crate::model::{Timeouts, Tls};

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
    /// With neither delay nor abort: none, whatever a farther policy says.
    pub fault: Option<Fault>,
    pub fallback: Option<FallbackSpec>,
    pub keeps_header_case: Option<bool>,
    pub tls: Option<Tls>,
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

/// What a route has no say in: its requests share the service's endpoints with all others.
const OF_SERVICES: [Part; 5] =
    [Part::LoadBalancing, Part::Limits, Part::CircuitBreaker, Part::HeaderCase, Part::Tls];

/// Whether names reach the app as the caller wrote them.
const CASES: &[(&str, bool)] = &[("preserve", true), ("lower", false)];

pub(super) fn decode(
    metadata: Option<Metadata>,
    spec: &Node,
    decoder: &mut Decoder,
) -> Option<TrafficPolicy> {
    let namespace = metadata.as_ref().map_or("default", |metadata| metadata.namespace.as_str());
    let mut fields = Fields::open(spec, decoder)?;
    let targets = fields.optional("targetRefs", target::decode);
    let load_balancing = fields.optional("loadBalancing", balancing::decode);
    let limits = fields.optional("limits", bounds::limits);
    let circuit = fields.optional("circuitBreaker", circuit::decode);
    let retry = fields.optional("retry", retry::decode);
    let hedge = fields.optional("hedge", retry::hedge);
    let timeouts = fields.optional("timeouts", bounds::timeouts);
    let fault = fields.optional("fault", failure::decode);
    let fallback = fields.optional("fallback", fallback::decode(namespace));
    let keeps_header_case = fields.optional("headerCase", choice(CASES));
    let tls = fields.optional("tls", tls::decode);
    let targets = targets.unwrap_or_default();
    if targets.iter().any(|target| target.kind != TargetKind::Service) {
        let why = "concerns the service's connections, which a route has no say in: target the Service, in a policy of its own";
        for part in OF_SERVICES.map(Part::as_str) {
            if !fields.is_absent(part) {
                fields.fault(part, why);
            }
        }
    }
    fields.close();
    Some(TrafficPolicy {
        metadata: metadata?,
        targets,
        load_balancing,
        limits,
        circuit,
        retry,
        hedge,
        timeouts,
        fault,
        fallback,
        keeps_header_case,
        tls,
    })
}

/// What it says, in the shape it is written in.
pub(super) fn spec(policy: &TrafficPolicy) -> Value {
    let TrafficPolicy {
        metadata: _,
        targets,
        load_balancing,
        limits,
        circuit,
        retry,
        hedge,
        timeouts,
        fault,
        fallback,
        keeps_header_case,
        tls,
    } = policy;
    let case =
        |keeps: bool| CASES.iter().find(|(_, case)| *case == keeps).map(|(word, _)| json!(word));
    object([
        ("targetRefs", (!targets.is_empty()).then(|| target::print(targets))),
        ("loadBalancing", load_balancing.as_ref().map(balancing::print)),
        ("limits", limits.as_ref().map(bounds::print_limits)),
        ("circuitBreaker", circuit.as_ref().map(circuit::print)),
        ("retry", retry.as_ref().map(retry::print)),
        ("hedge", hedge.as_ref().map(retry::print_hedge)),
        ("timeouts", timeouts.as_ref().map(bounds::print_timeouts)),
        ("fault", fault.as_ref().map(failure::print)),
        ("fallback", fallback.as_ref().map(fallback::print)),
        ("headerCase", keeps_header_case.and_then(case)),
        ("tls", tls.as_ref().map(tls::print)),
    ])
}
