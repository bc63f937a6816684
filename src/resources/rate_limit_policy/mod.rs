//! `RateLimitPolicy`: how often a workload may be called, and how much of it at once.
//!
//! Read and printed here: `limit` is one rate, `load` the concurrency. Limits of several policies add
//! up; of concurrency the nearest policy counts. What this version would not act on is refused, never
//! passed over.

mod limit;
mod load;

#[cfg(test)]
mod tests;

use serde_json::{Value, json};

use super::access_policy::rule::some;
use super::decode::{Decoder, Fields, list};
use super::manifest::object;
use super::metadata::Metadata;
use super::names::Labels;
use super::node::Node;
use super::subject::{Subject, ports, selector};
pub use limit::{Key, Limit, Matches};
pub use load::{Concurrency, Most, Priority, PriorityRule};

/// How often the workloads that it selects may be called.
#[derive(Clone, Debug, PartialEq)]
pub struct RateLimitPolicy {
    pub metadata: Metadata,
    /// Labels that a workload must have; empty: every workload of the namespace, or of the mesh in
    /// the namespace `outrigger-system`.
    pub selector: Labels,
    /// The app's, in ascending order; empty: all.
    pub ports: Vec<u16>,
    /// In the order written, which means nothing: a request must keep each that is about it.
    pub limits: Vec<Limit>,
    /// Absent: as another policy says, or none.
    pub concurrency: Option<Concurrency>,
}

/// Each is looked at for every request. Arbitrary.
const MOST_LIMITS: usize = 50;

pub(super) fn decode(
    metadata: Option<Metadata>,
    spec: &Node,
    decoder: &mut Decoder,
) -> Option<RateLimitPolicy> {
    let mut fields = Fields::open(spec, decoder)?;
    fields.refuse_empty();
    let selector = fields.optional("selector", selector);
    let ports = fields.optional("ports", ports);
    let limits = fields.optional("limits", |node, decoder| {
        let empty = "names no limit; leave out `limits`";
        some(MOST_LIMITS, "limits", empty, node, decoder)?;
        list(node, decoder, limit::decode)
    });
    let concurrency = fields.optional("concurrency", load::decode);
    if fields.is_absent("limits") && fields.is_absent("concurrency") {
        fields.fault("limits", "is missing, and so is `concurrency`: the policy limits nothing");
    }
    fields.close();
    Some(RateLimitPolicy {
        metadata: metadata?,
        selector: selector.unwrap_or_default(),
        ports: ports.unwrap_or_default(),
        limits: limits.unwrap_or_default(),
        concurrency,
    })
}

/// What it says, in the shape it is written in.
pub(super) fn spec(policy: &RateLimitPolicy) -> Value {
    let RateLimitPolicy { metadata: _, selector, ports, limits, concurrency } = policy;
    let limits: Vec<Value> = limits.iter().map(limit::spec).collect();
    object([
        ("selector", (!selector.is_empty()).then(|| json!({"matchLabels": selector}))),
        ("ports", (!ports.is_empty()).then(|| json!(ports))),
        ("limits", (!limits.is_empty()).then(|| Value::from(limits))),
        ("concurrency", concurrency.as_ref().map(load::spec)),
    ])
}

impl RateLimitPolicy {
    /// Which workloads and ports it is about.
    pub fn about(&self) -> Subject<'_> {
        Subject { metadata: &self.metadata, selector: &self.selector, ports: &self.ports }
    }
}
