//! `AccessPolicy`: who may call a workload.
//!
//! Read and printed here (`rule` and what it is made of: `source`, `operation`, `pattern`); `level`
//! says which of several counts. What this version would not act on is refused, never passed over: a
//! rule that nobody keeps would let somebody in. `unread` says what counts meanwhile, `cautious` what
//! does while nobody knows whether a policy is about a workload.

mod cautious;
pub mod level;
mod operation;
pub mod pattern;
pub mod rule;
mod source;
mod unread;

#[cfg(test)]
mod tests;

use serde_json::{Value, json};

use super::decode::{Decoder, Fields, distinct_values, list};
use super::manifest::object;
use super::metadata::Metadata;
use super::names::{Labels, labels};
use super::node::{Node, Value as Read};
use super::scalar::{choice, port};
use super::sketch::Note;
use crate::model::{Action, Audit, CONTROL_PLANE_NAMESPACE, Mode, Mtls};
pub use rule::Rule;

/// Who may call the workloads that it selects.
#[derive(Clone, Debug, PartialEq)]
pub struct AccessPolicy {
    pub metadata: Metadata,
    /// Labels that a workload must have; empty: every workload of the namespace, or of the mesh in
    /// the namespace `outrigger-system`.
    pub selector: Labels,
    /// The app's, in ascending order; empty: all.
    pub ports: Vec<u16>,
    /// Absent: as another policy says, or enforced.
    pub mode: Option<Mode>,
    /// Absent: as another policy says, or strict.
    pub mtls: Option<Mtls>,
    /// What is done with those for whom no rule holds. Absent: as another policy says, or denied if
    /// any rule at the port allows somebody, else allowed.
    pub default: Option<Action>,
    /// Absent: as another policy says, or none.
    pub audit: Option<Audit>,
    /// In the order written; they add up with those of other policies, in any order.
    pub rules: Vec<Rule>,
}

/// Of an `AccessPolicy`, and not acted on yet.
const LATER: [&str; 2] = ["jwt", "apiKeys"];
const NOT_ACTED_ON: &str =
    "is not supported by this version: nobody would be refused or let in by it; remove it";

/// More names of ports are a slip of the pen; each is looked through for every connection.
/// Arbitrary.
const MOST_PORTS: usize = 100;

const MTLS: &[(&str, Mtls)] =
    &[(Mtls::Strict.as_str(), Mtls::Strict), (Mtls::Permissive.as_str(), Mtls::Permissive)];
const MODES: &[(&str, Mode)] =
    &[(Mode::Enforce.as_str(), Mode::Enforce), (Mode::Observe.as_str(), Mode::Observe)];
const DEFAULTS: &[(&str, Action)] =
    &[(Action::Allow.as_str(), Action::Allow), (Action::Deny.as_str(), Action::Deny)];
const AUDITS: &[(&str, Audit)] = &[
    (Audit::None.as_str(), Audit::None),
    (Audit::Denied.as_str(), Audit::Denied),
    (Audit::All.as_str(), Audit::All),
];

pub(super) fn decode(
    metadata: Option<Metadata>,
    spec: &Node,
    decoder: &mut Decoder,
) -> Option<AccessPolicy> {
    let mut fields = Fields::open(spec, decoder)?;
    fields.refuse_empty();
    let selector = fields.optional("selector", selector);
    let ports = fields.optional("ports", ports);
    let mode = fields.optional("mode", choice(MODES));
    let mtls = fields.optional("mtls", choice(MTLS));
    let default = fields.optional("default", choice(DEFAULTS));
    let audit = fields.optional("audit", choice(AUDITS));
    let rules = fields.optional("rules", rule::rules);
    fields.refused(&LATER, NOT_ACTED_ON);
    fields.close();
    Some(AccessPolicy {
        metadata: metadata?,
        selector: selector.unwrap_or_default(),
        ports: ports.unwrap_or_default(),
        mode,
        mtls,
        default,
        audit,
        rules: rules.unwrap_or_default(),
    })
}

/// In Kubernetes an empty selector means everything, which here is said by leaving it out: who
/// wrote one may have meant either.
fn selector(node: &Node, decoder: &mut Decoder) -> Option<Labels> {
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

fn ports(node: &Node, decoder: &mut Decoder) -> Option<Vec<u16>> {
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

/// What it says, in the shape it is written in.
pub(super) fn spec(policy: &AccessPolicy) -> Value {
    let AccessPolicy { metadata: _, selector, ports, mode, mtls, default, audit, rules } = policy;
    let rules: Vec<Value> = rules.iter().map(rule::spec).collect();
    object([
        ("selector", (!selector.is_empty()).then(|| json!({"matchLabels": selector}))),
        ("ports", (!ports.is_empty()).then(|| json!(ports))),
        ("mode", mode.map(|mode| json!(mode.as_str()))),
        ("mtls", mtls.map(|mtls| json!(mtls.as_str()))),
        ("default", default.map(|default| json!(default.as_str()))),
        ("audit", audit.map(|audit| json!(audit.as_str()))),
        ("rules", (!rules.is_empty()).then(|| Value::from(rules))),
    ])
}

impl AccessPolicy {
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

    /// Whether it says more than which callers must prove an identity.
    pub fn is_of_rules(&self) -> bool {
        let Self { metadata: _, selector: _, ports: _, mode, mtls: _, default, audit, rules } =
            self;
        mode.is_some() || default.is_some() || audit.is_some() || !rules.is_empty()
    }

    /// For each rule that asks for what this version can't read, what becomes of it.
    pub fn unread_rules(&self) -> impl Iterator<Item = String> {
        let rules = self.rules.iter().enumerate().filter(|(_, rule)| rule.needs_token());
        rules.map(|(nth, rule)| {
            let does = match rule.action {
                Action::Allow => "allows nobody",
                Action::Deny => "denies everybody that the rest of it is about",
            };
            format!(
                "rules[{nth}] asks for a token or key, which this version can't read: it {does}"
            )
        })
    }

    /// Whom it is about, for people.
    pub fn subject(&self) -> String {
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
        let subject = self.subject();
        let ports: Vec<String> = self.ports.iter().map(u16::to_string).collect();
        match ports.as_slice() {
            [] => subject,
            [port] => format!("port {port} of {subject}"),
            ports => format!("ports {} of {subject}", ports.join(", ")),
        }
    }

    /// `namespace/name`, as pages and metrics name it.
    pub fn title(&self) -> String {
        format!("{}/{}", self.metadata.namespace, self.metadata.name)
    }
}
