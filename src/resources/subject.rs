//! Which workloads a policy is about, and which ports of their apps: the same for every kind that
//! hangs on a workload.
//!
//! Labels select in the policy's own namespace; without labels it is about all of that namespace,
//! and in `outrigger-system` about the whole mesh.

use super::decode::{Decoder, Fields, distinct_values, list};
use super::metadata::Metadata;
use super::names::{Labels, labels};
use super::node::{Node, Value as Read};
use super::scalar::port;
use super::sketch::Note;
use crate::model::CONTROL_PLANE_NAMESPACE;

/// More names of ports are a slip of the pen; each is looked through for every connection.
/// Arbitrary.
pub(super) const MOST_PORTS: usize = 100;

/// What a policy is about.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    pub metadata: &'a Metadata,
    pub selector: &'a Labels,
    /// In ascending order; empty: all.
    pub ports: &'a [u16],
}

/// How near a policy is to the workload, from afar to near.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    Mesh,
    Namespace,
    Selector,
    Ports,
}

impl Subject<'_> {
    /// Whether it is about a workload with these labels, at any of its ports.
    pub fn concerns(&self, namespace: &str, labels: &Labels) -> bool {
        let of = self.metadata.namespace.as_str();
        let selected = self.selector.iter().all(|(key, value)| labels.get(key) == Some(value));
        self.is_of_mesh() || of == namespace && selected
    }

    /// Whether it is about every workload of every namespace.
    pub fn is_of_mesh(&self) -> bool {
        self.selector.is_empty() && self.metadata.namespace == CONTROL_PLANE_NAMESPACE
    }

    /// Whether it is about a port of the app, given that it is about the workload.
    pub fn is_about(&self, port: u16) -> bool {
        self.ports.is_empty() || self.ports.binary_search(&port).is_ok()
    }

    pub fn level(&self) -> Level {
        if !self.ports.is_empty() {
            Level::Ports
        } else if !self.selector.is_empty() {
            Level::Selector
        } else if self.is_of_mesh() {
            Level::Mesh
        } else {
            Level::Namespace
        }
    }

    /// Whom it is about, for people.
    pub fn workloads(&self) -> String {
        let namespace = &self.metadata.namespace;
        if self.is_of_mesh() {
            return "the mesh".to_owned();
        }
        if self.selector.is_empty() {
            return format!("namespace {namespace}");
        }
        let labels: Vec<String> = self.selector.iter().map(|(k, v)| format!("{k}={v}")).collect();
        format!("workloads with {} of namespace {namespace}", labels.join(","))
    }

    /// The same with the ports, if it names any.
    pub fn scope(&self) -> String {
        let workloads = self.workloads();
        let ports: Vec<String> = self.ports.iter().map(u16::to_string).collect();
        match ports.as_slice() {
            [] => workloads,
            [port] => format!("port {port} of {workloads}"),
            ports => format!("ports {} of {workloads}", ports.join(", ")),
        }
    }

    /// `namespace/name`, as pages and metrics name it.
    pub fn title(&self) -> String {
        format!("{}/{}", self.metadata.namespace, self.metadata.name)
    }
}

/// In Kubernetes an empty selector means everything, which here is said by leaving it out: who
/// wrote one may have meant either.
pub(super) fn selector(node: &Node, decoder: &mut Decoder) -> Option<Labels> {
    let mut fields = Fields::open(node, decoder)?;
    fields.refuse_empty();
    let found = fields.required("matchLabels", labels);
    fields.refused(&["matchExpressions"], "is not supported: write `matchLabels`");
    if found.as_ref().is_some_and(Labels::is_empty) {
        let message = "names no label; leave out `selector` to mean every workload";
        fields.fault("matchLabels", message);
    }
    fields.close();
    found
}

pub(super) fn ports(node: &Node, decoder: &mut Decoder) -> Option<Vec<u16>> {
    decoder.note(|| Note::AtMost(MOST_PORTS));
    let count = if let Read::List(items) = &node.value { items.len() } else { 1 };
    if count == 0 || count > MOST_PORTS {
        let message = match count {
            0 => "names no port; leave out `ports` to mean all of them".to_owned(),
            count => format!("has {count} ports; one policy may have {MOST_PORTS}: write two"),
        };
        decoder.fault(&node.at, message);
        return None;
    }
    let mut ports = list(node, decoder, port)?;
    distinct_values(node, decoder, &ports);
    ports.sort_unstable();
    Some(ports)
}
