//! What counts in place of a policy that can't be read.
//!
//! Whoever wrote it asked something of callers, and nobody can tell what: a doubt is a refusal. So
//! it counts as `mtls: strict`, and if it may have kept out anybody by a rule, a token or its default
//! it keeps out all; for whom it is about as far as that can be read: what of that can't be read
//! makes it about more, never about less. Called where a policy lies that nobody judged at
//! the door: in a cluster, or in the store of another version.

use super::{AccessPolicy, Rule};
use crate::model::{Action, Mode, Mtls};
use crate::resources::Labels;
use crate::resources::metadata::Metadata;
use crate::resources::names::{is_label_key, is_label_value};
use crate::resources::node::{Key, Node, Origin, Value};
use crate::resources::subject::MOST_PORTS;
use crate::resources::yaml;

impl AccessPolicy {
    /// The strict one that counts for a manifest that can't be read.
    pub fn in_place_of(manifest: &str, metadata: Metadata) -> AccessPolicy {
        let read = yaml::read(manifest, &Origin::Default);
        let document = read.documents.first();
        let spec = document.and_then(|document| document.field("spec"));
        let under = |name: &str| spec.and_then(|spec| spec.field(name));
        let labels = under("selector").and_then(|selector| selector.field("matchLabels"));
        AccessPolicy {
            // Its own labels mean nothing, and may be what can't be read.
            metadata: Metadata { labels: Labels::new(), version: None, ..metadata },
            selector: labels.map(selector).unwrap_or_default(),
            ports: under("ports").and_then(ports).unwrap_or_default(),
            jwt: Vec::new(),
            api_keys: None,
            mode: Some(Mode::Enforce),
            mtls: Some(Mtls::Strict),
            default: None,
            audit: None,
            rules: match may_refuse(spec) || document.is_none_or(is_astray) {
                true => vec![NOBODY],
                false => Vec::new(),
            },
        }
    }
}

/// Keeps everybody out.
pub(super) const NOBODY: Rule = Rule { action: Action::Deny, from: Vec::new(), to: Vec::new() };

/// Whether it may say more of callers than what this version reads in its place.
fn may_refuse(spec: Option<&Node>) -> bool {
    match spec.map(|spec| &spec.value) {
        Some(Value::Map(entries)) => {
            let harmless = ["selector", "ports", "mtls", "audit"];
            entries.iter().any(|(key, _)| !harmless.contains(&key.name.as_str()))
        }
        _ => true,
    }
}

/// Whether anything stands beside the spec that may be meant to stand in it.
fn is_astray(document: &Node) -> bool {
    let Value::Map(entries) = &document.value else { return true };
    let known = ["apiVersion", "kind", "metadata", "spec", "status"];
    entries.iter().any(|(key, _)| !known.contains(&key.name.as_str()))
}

/// Those of the labels that can be read: with fewer it is about more workloads.
fn selector(node: &Node) -> Labels {
    let Value::Map(entries) = &node.value else { return Labels::new() };
    let label = |(key, node): &(Key, Node)| {
        let Value::String(value) = &node.value else { return None };
        let is_one = is_label_key(&key.name) && is_label_value(value);
        is_one.then(|| (key.name.clone(), value.clone()))
    };
    entries.iter().filter_map(label).collect()
}

/// `None`, which is all of them, unless each can be read.
fn ports(node: &Node) -> Option<Vec<u16>> {
    let Value::List(items) = &node.value else { return None };
    let port = |item: &Node| match item.value {
        Value::Int(number) => u16::try_from(number).ok().filter(|port| *port > 0),
        _ => None,
    };
    let mut ports = items.iter().map(port).collect::<Option<Vec<u16>>>()?;
    ports.sort_unstable();
    ports.dedup();
    (ports.len() <= MOST_PORTS).then_some(ports)
}
