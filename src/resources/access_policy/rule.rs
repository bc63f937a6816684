//! `rules`: who may do what, or may not.
//!
//! A rule holds for a request when one entry of `from` and one of `to` do; without `from` it is
//! about every caller, without `to` about everything. In an entry all fields that say something must
//! hold, and of a field's list any item. An entry that says nothing is refused: who wrote one meant
//! something.

use http::{HeaderName, Method};
use ipnet::IpNet;
use serde_json::{Map, Value, json};

use super::operation;
use super::pattern::{PathPattern, TextPattern};
use super::source;
use crate::model::{Action, Hostname, SpiffeId};
use crate::resources::decode::{Decoder, Fields, list};
use crate::resources::manifest::object;
use crate::resources::node::{Node, Value as Read};
use crate::resources::scalar::choice;
use crate::resources::sketch::Note;

/// What is done with the requests that it holds for.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    pub action: Action,
    /// Empty: every caller.
    pub from: Vec<Source>,
    /// Empty: everything.
    pub to: Vec<Operation>,
}

/// Who calls. An empty field says nothing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Source {
    pub identities: Vec<Identity>,
    pub namespaces: Vec<String>,
    /// Of the connection's source.
    pub ip_blocks: Vec<IpNet>,
    /// By name, the values of which the token must have one.
    pub claims: Vec<(String, Vec<String>)>,
    /// Names of keys.
    pub api_keys: Vec<String>,
}

/// Whom a caller has proven to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identity {
    /// Anybody of the mesh.
    Any,
    Id(SpiffeId),
}

/// What is called. An empty field says nothing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Operation {
    pub methods: Vec<Method>,
    pub paths: Vec<PathPattern>,
    pub hosts: Vec<Hostname>,
    pub headers: Vec<(HeaderName, Vec<TextPattern>)>,
}

impl Source {
    /// Whether it asks for what only a token or a key can show.
    pub fn needs_token(&self) -> bool {
        !self.claims.is_empty() || !self.api_keys.is_empty()
    }
}

impl Operation {
    /// Whether it asks for anything, which only HTTP has.
    pub fn is_of_http(&self) -> bool {
        let Self { methods, paths, hosts, headers } = self;
        !(methods.is_empty() && paths.is_empty() && hosts.is_empty() && headers.is_empty())
    }
}

impl Rule {
    /// Whether it has a part that only HTTP has.
    pub fn is_of_http(&self) -> bool {
        self.to.iter().any(Operation::is_of_http) || self.needs_token()
    }

    /// Whether it asks for what only a token or a key can show.
    pub fn needs_token(&self) -> bool {
        self.from.iter().any(Source::needs_token)
    }

    /// Whether it asks for paths.
    pub fn has_paths(&self) -> bool {
        self.to.iter().any(|operation| !operation.paths.is_empty())
    }
}

/// More of anything is a slip of the pen: every sidecar that reads the policy keeps them. Arbitrary.
const MOST_RULES: usize = 1_000;
const MOST_ENTRIES: usize = 50;
pub(super) const MOST_VALUES: usize = 100;

const ACTIONS: &[(&str, Action)] =
    &[(Action::Allow.as_str(), Action::Allow), (Action::Deny.as_str(), Action::Deny)];

pub(super) fn rules(node: &Node, decoder: &mut Decoder) -> Option<Vec<Rule>> {
    let empty = "names no rule; leave out `rules`, or write `default: deny` to let nobody in";
    some(MOST_RULES, "rules", empty, node, decoder)?;
    list(node, decoder, rule)
}

fn rule(node: &Node, decoder: &mut Decoder) -> Option<Rule> {
    let mut fields = Fields::open(node, decoder)?;
    fields.refuse_empty();
    let action = fields.required("action", choice(ACTIONS));
    let from = fields.optional("from", |node, decoder| {
        let empty = "names nobody; leave out `from` to mean every caller";
        some(MOST_ENTRIES, "entries", empty, node, decoder)?;
        list(node, decoder, source::decode)
    });
    let to = fields.optional("to", |node, decoder| {
        let empty = "names nothing; leave out `to` to mean every request";
        some(MOST_ENTRIES, "entries", empty, node, decoder)?;
        list(node, decoder, operation::decode)
    });
    fields.close();
    Some(Rule { action: action?, from: from.unwrap_or_default(), to: to.unwrap_or_default() })
}

/// Refuses a list that is empty or too long, before its items are read.
pub(in crate::resources) fn some(
    most: usize,
    what: &str,
    empty: &str,
    node: &Node,
    decoder: &mut Decoder,
) -> Option<()> {
    at_most(most, what, node, decoder)?;
    if matches!(&node.value, Read::List(items) if items.is_empty()) {
        decoder.fault(&node.at, empty);
        return None;
    }
    Some(())
}

/// As many values as one field may have.
pub(in crate::resources) fn values<'n, T>(
    node: &'n Node,
    decoder: &mut Decoder,
    item: impl Fn(&'n Node, &mut Decoder) -> Option<T>,
) -> Option<Vec<T>> {
    at_most(MOST_VALUES, "values", node, decoder)?;
    list(node, decoder, item)
}

/// The entries of a map, of which each has a text or a list of texts.
pub(in crate::resources) fn named<'n, T>(
    node: &'n Node,
    decoder: &mut Decoder,
    item: impl Fn(&'n crate::resources::node::Key, &'n Node, &mut Decoder) -> Option<T>,
) -> Option<Vec<T>> {
    decoder.note(|| Note::TextLists);
    let Read::Map(entries) = &node.value else {
        decoder.expected("a map", node);
        return None;
    };
    at_most(MOST_VALUES, "names", node, decoder)?;
    let mut all = Vec::with_capacity(entries.len());
    for (key, value) in entries {
        all.extend(decoder.field(&key.name, |decoder| item(key, value, decoder)));
    }
    (all.len() == entries.len()).then_some(all)
}

/// The values of a named field: one, or a list of at least one.
pub(in crate::resources) fn one_or_some<'n, T>(
    node: &'n Node,
    decoder: &mut Decoder,
    item: impl Fn(&'n Node, &mut Decoder) -> Option<T>,
) -> Option<Vec<T>> {
    let Read::List(items) = &node.value else { return item(node, decoder).map(|one| vec![one]) };
    if items.is_empty() {
        decoder.fault(&node.at, "names no value");
        return None;
    }
    values(node, decoder, item)
}

pub(super) fn at_most(most: usize, what: &str, node: &Node, decoder: &mut Decoder) -> Option<()> {
    decoder.note(|| Note::AtMost(most));
    let found = match &node.value {
        Read::List(items) => items.len(),
        Read::Map(entries) => entries.len(),
        _ => 0,
    };
    if found > most {
        let message = format!("has {found} {what}; {most} is the most: write several");
        decoder.fault(&node.at, message);
    }
    (found <= most).then_some(())
}

/// What it says, in the shape it is written in.
pub(super) fn spec(Rule { action, from, to }: &Rule) -> Value {
    let all = |entries: Vec<Value>| (!entries.is_empty()).then(|| Value::from(entries));
    object([
        ("action", Some(json!(action.as_str()))),
        ("from", all(from.iter().map(source::spec).collect())),
        ("to", all(to.iter().map(operation::spec).collect())),
    ])
}

/// A field of an entry, unless it says nothing.
pub(in crate::resources) fn texts<T: ToString>(values: &[T]) -> Option<Value> {
    let texts: Vec<String> = values.iter().map(T::to_string).collect();
    (!texts.is_empty()).then(|| json!(texts))
}

/// The same by name.
pub(in crate::resources) fn named_texts<N: ToString, T: ToString>(
    fields: &[(N, Vec<T>)],
) -> Option<Value> {
    let one = |(name, values): &(N, Vec<T>)| {
        let texts: Vec<String> = values.iter().map(T::to_string).collect();
        (name.to_string(), json!(texts))
    };
    (!fields.is_empty()).then(|| fields.iter().map(one).collect::<Map<_, _>>().into())
}
