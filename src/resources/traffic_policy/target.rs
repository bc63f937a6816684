//! What a policy is about: services, routes, or single ports and rules of them.
//!
//! Always things of the policy's own namespace, so that nobody changes how others are treated
//! without a right to their namespace.

use serde_json::{Value, json};

use super::words::at_most;
use crate::resources::decode::{Decoder, Fields, distinct, list};
use crate::resources::manifest::object;
use crate::resources::names::{dns_label, dns_subdomain};
use crate::resources::node::Node;
use crate::resources::scalar::{choice, text};

/// Something of the policy's own namespace that it is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
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

/// Arbitrary; a policy without any is about its whole namespace.
const MOST: usize = 64;

const KINDS: &[(&str, TargetKind)] = &[
    ("Service", TargetKind::Service),
    ("HTTPRoute", TargetKind::HttpRoute),
    ("GRPCRoute", TargetKind::GrpcRoute),
];

const GATEWAY: &str = "gateway.networking.k8s.io";

impl TargetKind {
    /// As written in a manifest.
    pub fn as_str(self) -> &'static str {
        match self {
            TargetKind::Service => "Service",
            TargetKind::HttpRoute => "HTTPRoute",
            TargetKind::GrpcRoute => "GRPCRoute",
        }
    }

    /// The API group; that of services has an empty name.
    fn group(self) -> &'static str {
        match self {
            TargetKind::Service => "",
            TargetKind::HttpRoute | TargetKind::GrpcRoute => GATEWAY,
        }
    }
}

pub(super) fn decode(node: &Node, decoder: &mut Decoder) -> Option<Vec<TargetRef>> {
    at_most(MOST, "targets", node, decoder)?;
    let targets = list(node, decoder, target)?;
    if targets.is_empty() {
        let message = "names nothing; leave it out in a policy for the whole namespace";
        decoder.fault(&node.at, message);
    }
    distinct(node, decoder, &targets, |target| Some(("name", written(target))));
    Some(targets)
}

fn written(TargetRef { kind, name, section }: &TargetRef) -> String {
    let section = section.as_ref().map(|section| format!("/{section}")).unwrap_or_default();
    format!("{} {name}{section}", kind.as_str())
}

fn target(node: &Node, decoder: &mut Decoder) -> Option<TargetRef> {
    let mut fields = Fields::open(node, decoder)?;
    let group = fields.optional("group", text);
    let kind = fields.required("kind", choice(KINDS));
    let is_service = kind == Some(TargetKind::Service);
    let name = fields.required("name", if is_service { dns_label } else { dns_subdomain });
    let section = fields.optional("sectionName", dns_subdomain);
    fields.refused(&["namespace"], "a policy is about its own namespace only; remove it");
    if let (Some(group), Some(kind)) = (group, kind) {
        let is_core = kind == TargetKind::Service && group == "core";
        if group != kind.group() && !is_core {
            let expected = kind.group();
            fields.fault("group", format!("{} is of group {expected:?}", kind.as_str()));
        }
    }
    fields.close();
    Some(TargetRef { kind: kind?, name: name?, section })
}

pub(super) fn print(targets: &[TargetRef]) -> Value {
    let one = |TargetRef { kind, name, section }: &TargetRef| {
        let group = (*kind != TargetKind::Service).then(|| json!(kind.group()));
        object([
            ("group", group),
            ("kind", Some(json!(kind.as_str()))),
            ("name", Some(json!(name))),
            ("sectionName", section.as_ref().map(|section| json!(section))),
        ])
    };
    targets.iter().map(one).collect()
}
