//! Trees to typed values, collecting every fault on the way. A decoding
//! function is `fn(&Node, &mut Decoder) -> Option<T>`: it returns `None` only
//! after recording why, and the caller goes on with the next field. A value
//! counts only when the decoder has no faults at the end. Called by each
//! resource kind and by the configuration; a new kind needs nothing more.
//!
//! ```text
//! let mut fields = Fields::open(node, decoder)?;
//! let name = fields.required("name", dns_label);
//! let port = fields.optional("port", port);
//! fields.close();
//! Some(Thing { name: name?, port })
//! ```

use std::collections::HashMap;
use std::fmt::Display;
use std::hash::Hash;

use super::fault::{Fault, suggestion};
use super::node::{Key, Node, Origin, Value};
use super::sketch::{Note, Sketch};

/// Collects faults and knows which field is being read.
#[derive(Debug, Default)]
pub struct Decoder {
    faults: Vec<Fault>,
    path: String,
    /// Where what is asked for is written down; see [`Sketch`].
    sketch: Option<Box<Sketch>>,
}

/// What a sketch is drawn from: there is nothing, so everything is asked for.
static NOTHING: Node = Node { value: Value::Null, at: Origin::Default };

impl Decoder {
    /// An empty one.
    pub fn new() -> Decoder {
        Decoder::default()
    }

    /// One that writes down what is asked for.
    pub(super) fn sketching() -> Decoder {
        Decoder { sketch: Some(Box::default()), ..Decoder::default() }
    }

    /// What was asked for.
    pub(super) fn sketched(self) -> Sketch {
        self.sketch.map(|sketch| *sketch).unwrap_or_default()
    }

    /// Writes down what is taken at the field being read.
    pub(super) fn note(&mut self, note: impl FnOnce() -> Note) {
        if let Some(sketch) = &mut self.sketch {
            sketch.add(&self.path, note());
        }
    }

    /// Records that the field being read can't be used.
    pub fn fault(&mut self, at: &Origin, message: impl Into<String>) {
        let path = self.path.clone();
        self.faults.push(Fault { at: at.clone(), path, message: message.into() });
    }

    /// Records "expected …, found …" for a node; the shape of most faults.
    pub fn expected(&mut self, expected: &str, found: &Node) {
        self.fault(&found.at, format!("expected {expected}, found {}", found.describe()));
    }

    /// Reads something one level down, under a key.
    pub fn field<T>(&mut self, name: &str, read: impl FnOnce(&mut Decoder) -> T) -> T {
        let dot = if self.path.is_empty() { "" } else { "." };
        self.below(&format!("{dot}{name}"), read)
    }

    /// Reads something one level down, in a list.
    pub fn item<T>(&mut self, index: usize, read: impl FnOnce(&mut Decoder) -> T) -> T {
        self.below(&format!("[{index}]"), read)
    }

    fn below<T>(&mut self, step: &str, read: impl FnOnce(&mut Decoder) -> T) -> T {
        let length = self.path.len();
        self.path.push_str(step);
        let result = read(self);
        self.path.truncate(length);
        result
    }

    /// Adds faults found elsewhere.
    pub fn extend(&mut self, faults: impl IntoIterator<Item = Fault>) {
        self.faults.extend(faults);
    }

    /// Whether nothing is wrong so far.
    pub fn is_clean(&self) -> bool {
        self.faults.is_empty()
    }

    /// All faults, in the order of the input.
    pub fn finish(mut self) -> Vec<Fault> {
        self.faults.sort_by(|a, b| a.at.cmp(&b.at));
        self.faults
    }
}

/// The fields of one map, each asked for by name; what nobody asked for is a
/// fault at [`Fields::close`].
pub struct Fields<'n, 'd> {
    entries: &'n [(Key, Node)],
    at: &'n Origin,
    known: Vec<&'static str>,
    refused: Vec<&'static str>,
    decoder: &'d mut Decoder,
}

impl<'n, 'd> Fields<'n, 'd> {
    /// A map's fields. Nothing at all reads as a map without entries, so that a
    /// section whose lines are all commented out is not a fault.
    pub fn open(node: &'n Node, decoder: &'d mut Decoder) -> Option<Self> {
        decoder.note(|| Note::Map);
        let entries: &[(Key, Node)] = match &node.value {
            Value::Map(entries) => entries,
            Value::Null => &[],
            _ => {
                decoder.expected("a map", node);
                return None;
            }
        };
        Some(Fields { entries, at: &node.at, known: Vec::new(), refused: Vec::new(), decoder })
    }

    /// A field that must be there.
    pub fn required<T>(
        &mut self,
        name: &'static str,
        decode: impl FnOnce(&'n Node, &mut Decoder) -> Option<T>,
    ) -> Option<T> {
        match self.asked(name, Note::Required) {
            Some(node) => self.decoder.field(name, |decoder| decode(node, decoder)),
            None => {
                self.decoder.fault(self.at, format!("missing field `{name}`"));
                None
            }
        }
    }

    /// A field that may be absent. `None` is also what a faulty one gives: its
    /// fault is recorded, and the whole is never used.
    pub fn optional<T>(
        &mut self,
        name: &'static str,
        decode: impl FnOnce(&'n Node, &mut Decoder) -> Option<T>,
    ) -> Option<T> {
        let node = self.asked(name, Note::Optional)?;
        self.decoder.field(name, |decoder| decode(node, decoder))
    }

    /// A field without a value is a fault, where leaving it out says much more than its lines did
    /// before they were taken out.
    pub fn refuse_empty(&mut self) {
        for (key, node) in self.entries.iter().filter(|(_, node)| node.is_null()) {
            let sentence = "has no value: give it one, or leave the whole field out";
            self.decoder.field(&key.name, |decoder| decoder.fault(&node.at, sentence));
        }
    }

    /// Fields that are accepted whatever they say, and not kept.
    pub fn ignored(&mut self, names: &[&'static str]) {
        self.known.extend(names);
    }

    /// Fields of the format that this program would not act on. Accepting them
    /// in silence would promise something, so they are faults that say why.
    pub fn refused(&mut self, names: &[&'static str], why: &str) {
        for name in names {
            if let Some(node) = self.node(name) {
                self.decoder.field(name, |decoder| decoder.fault(&node.at, why));
            }
        }
        self.known.retain(|known| !names.contains(known));
        self.refused.extend(names);
    }

    /// A field that may be absent or say what is done anyway.
    pub fn only(&mut self, name: &'static str, allowed: &Value, shown: &str) {
        let Some(node) = self.node(name) else { return };
        if node.value != *allowed {
            let message = format!("only {shown} is supported, found {}", node.describe());
            self.decoder.field(name, |decoder| decoder.fault(&node.at, message));
        }
    }

    /// Whether a field says nothing.
    pub fn is_absent(&self, name: &str) -> bool {
        self.find(name).is_none()
    }

    /// Where a field's value stands, or the map if it has none.
    pub fn at(&self, name: &str) -> &'n Origin {
        self.find(name).map_or(self.at, |node| &node.at)
    }

    /// Records a fault of a field, or of the map if it lacks the field.
    pub fn fault(&mut self, name: &str, message: impl Into<String>) {
        let at = self.at(name);
        self.decoder.field(name, |decoder| decoder.fault(at, message));
    }

    /// Reports every field that was not asked for.
    pub fn close(self) {
        let Fields { entries, known, refused, decoder, .. } = self;
        let is_known = |name: &str| known.iter().chain(&refused).any(|known| *known == name);
        for (key, _) in entries.iter().filter(|(key, _)| !is_known(&key.name)) {
            let otherwise = || format!("; known here: {}", known.join(", "));
            let cure = suggestion(&key.name, known.iter().copied(), otherwise);
            decoder.fault(&key.at, format!("unknown field `{}`{cure}", key.name));
        }
    }

    fn node(&mut self, name: &'static str) -> Option<&'n Node> {
        self.known.push(name);
        self.find(name)
    }

    /// A field to be decoded; who sketches goes on into what is absent.
    fn asked(&mut self, name: &'static str, note: Note) -> Option<&'n Node> {
        let sketching = self.decoder.sketch.is_some();
        self.decoder.field(name, |decoder| decoder.note(|| note));
        self.node(name).or(sketching.then_some(&NOTHING))
    }

    fn find(&self, name: &str) -> Option<&'n Node> {
        let entry = self.entries.iter().find(|(key, _)| key.name == name);
        entry.map(|(_, node)| node).filter(|node| !node.is_null())
    }
}

/// A list, every item by the same function; all items are read before it fails.
pub fn list<'n, T>(
    node: &'n Node,
    decoder: &mut Decoder,
    item: impl Fn(&'n Node, &mut Decoder) -> Option<T>,
) -> Option<Vec<T>> {
    decoder.note(|| Note::List);
    let Value::List(items) = &node.value else {
        if decoder.sketch.is_some() {
            decoder.item(0, |decoder| item(&NOTHING, decoder));
        }
        decoder.expected("a list", node);
        return None;
    };
    let mut all = Vec::with_capacity(items.len());
    for (index, each) in items.iter().enumerate() {
        all.extend(decoder.item(index, |decoder| item(each, decoder)));
    }
    (all.len() == items.len()).then_some(all)
}

/// A list, or one item without the brackets.
pub fn one_or_list<'n, T>(
    node: &'n Node,
    decoder: &mut Decoder,
    item: impl Fn(&'n Node, &mut Decoder) -> Option<T>,
) -> Option<Vec<T>> {
    match node.value {
        Value::List(_) => list(node, decoder, item),
        _ => item(node, decoder).map(|one| vec![one]),
    }
}

/// Reports items of a list whose key an earlier one has. `key` gives the name
/// of the offending field, what it says, and nothing for items without it.
pub fn distinct<T, K: Eq + Hash + Display>(
    node: &Node,
    decoder: &mut Decoder,
    items: &[T],
    key: impl Fn(&T) -> Option<(&'static str, K)>,
) {
    let Value::List(nodes) = &node.value else {
        return;
    };
    let mut seen: HashMap<K, usize> = HashMap::with_capacity(items.len());
    for (index, (item, node)) in items.iter().zip(nodes).enumerate() {
        let Some((field, value)) = key(item) else {
            continue;
        };
        if let Some(first) = seen.get(&value) {
            let at = node.field(field).map_or(&node.at, |node| &node.at);
            let message = format!("{value} is taken by item {first}");
            decoder.item(index, |d| d.field(field, |d| d.fault(at, message)));
        } else {
            seen.insert(value, index);
        }
    }
}

/// As [`distinct`], of a list of single values.
pub fn distinct_values<T: Eq + Hash + Display>(node: &Node, decoder: &mut Decoder, items: &[T]) {
    let Value::List(nodes) = &node.value else {
        return;
    };
    let mut seen: HashMap<&T, usize> = HashMap::with_capacity(items.len());
    for (index, (item, node)) in items.iter().zip(nodes).enumerate() {
        if let Some(first) = seen.get(item) {
            let message = format!("{item} is taken by item {first}");
            decoder.item(index, |decoder| decoder.fault(&node.at, message));
        } else {
            seen.insert(item, index);
        }
    }
}
