//! Parser events to trees with positions, within the bounds of the input. What
//! only spoils a value (a duplicate key, a tag) is noted and building goes on;
//! what spoils the structure stops the document. Called by `yaml`, once for each
//! stretch of text between errors.

use std::collections::HashMap;

use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, Span};

use super::super::fault::Fault;
use super::super::node::{Key, Node, Origin, Value};
use super::{MAX_BYTES, MAX_DEPTH, MAX_NODES, Stream, explain};

const TOO_DEEP: &str = "nests deeper than 64 levels";
const _: () = assert!(MAX_DEPTH == 64);

/// A document was given up; reading may resume at a `---` from this line on.
pub(super) struct Stop {
    pub resume_after: u32,
}

/// A collection whose end has not been seen.
struct Open {
    at: Origin,
    anchor: usize,
    items: Items,
}

enum Items {
    List(Vec<Node>),
    Map { entries: Vec<(Key, Node)>, key: Option<Key>, seen: HashMap<String, u32> },
}

/// What an anchor names, and what each use of it costs.
struct Anchored {
    node: Node,
    cost: Cost,
}

#[derive(Clone, Copy, Default)]
struct Cost {
    nodes: usize,
    bytes: usize,
    depth: usize,
}

/// Turns events into trees. Counts across all of an input's documents.
pub(super) struct Builder<'s> {
    source: &'s Origin,
    /// What a plain scalar means.
    resolve: fn(&str) -> Value,
    /// Where the text that is being read starts in the input.
    pub first_line: u32,
    documents: Vec<Node>,
    pub faults: Vec<Fault>,
    open: Vec<Open>,
    root: Option<Node>,
    anchors: HashMap<usize, Anchored>,
    nodes: usize,
    alias_bytes: usize,
}

impl<'s> Builder<'s> {
    pub fn new(source: &'s Origin, resolve: fn(&str) -> Value) -> Self {
        Builder {
            source,
            resolve,
            first_line: 1,
            documents: Vec::new(),
            faults: Vec::new(),
            open: Vec::new(),
            root: None,
            anchors: HashMap::new(),
            nodes: 0,
            alias_bytes: 0,
        }
    }

    pub fn finish(self) -> Stream {
        Stream { documents: self.documents, faults: self.faults }
    }

    pub fn read(&mut self, text: &str) -> Result<(), Stop> {
        self.open.clear();
        self.root = None;
        self.anchors.clear();
        for event in Parser::new_from_str(text) {
            match event {
                Ok((event, span)) => self.event(event, span)?,
                Err(error) => return Err(self.syntax(text, &error)),
            }
        }
        Ok(())
    }

    fn event(&mut self, event: Event<'_>, span: Span) -> Result<(), Stop> {
        let at = self.at(span);
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                self.refuse_tag(tag.is_some(), &at);
                self.scalar(&text, style, anchor, at)
            }
            Event::SequenceStart(anchor, tag) => {
                self.refuse_tag(tag.is_some(), &at);
                self.begin(at, anchor, Items::List(Vec::new()))
            }
            Event::MappingStart(anchor, tag) => {
                self.refuse_tag(tag.is_some(), &at);
                let items = Items::Map { entries: Vec::new(), key: None, seen: HashMap::new() };
                self.begin(at, anchor, items)
            }
            Event::SequenceEnd | Event::MappingEnd => self.end(),
            Event::Alias(anchor) => self.alias(anchor, at),
            Event::DocumentEnd => {
                self.documents.extend(self.root.take());
                Ok(())
            }
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentStart(_) => {
                Ok(())
            }
        }
    }

    fn at(&self, span: Span) -> Origin {
        let line = u32::try_from(span.start.line()).unwrap_or(u32::MAX);
        let column = u32::try_from(span.start.col() + 1).unwrap_or(u32::MAX);
        self.source.position(line.saturating_add(self.first_line - 1), column)
    }

    fn scalar(
        &mut self,
        text: &str,
        style: ScalarStyle,
        anchor: usize,
        at: Origin,
    ) -> Result<(), Stop> {
        if self.wants_key() {
            return self.key(text, style, at);
        }
        let value = match style {
            ScalarStyle::Plain => (self.resolve)(text),
            _ => Value::String(text.to_owned()),
        };
        // An empty value is marked where the next token starts, lines below.
        let at = match (&value, self.pending_key()) {
            (Value::Null, Some(key)) if text.is_empty() => key.at.clone(),
            _ => at,
        };
        self.spend(1, &at)?;
        self.add(Node { value, at }, anchor)
    }

    fn wants_key(&self) -> bool {
        matches!(self.open.last(), Some(Open { items: Items::Map { key: None, .. }, .. }))
    }

    fn pending_key(&self) -> Option<&Key> {
        match self.open.last() {
            Some(Open { items: Items::Map { key, .. }, .. }) => key.as_ref(),
            _ => None,
        }
    }

    fn key(&mut self, name: &str, style: ScalarStyle, at: Origin) -> Result<(), Stop> {
        if name == "<<" && style == ScalarStyle::Plain {
            let message = "merge keys (`<<`) are not part of YAML 1.2; write the fields out";
            return Err(self.stop(at, message));
        }
        let line = line_of(&at);
        let path = self.path();
        let Some(Open { items: Items::Map { key, seen, .. }, .. }) = self.open.last_mut() else {
            return Ok(());
        };
        if let Some(first) = seen.get(name) {
            let place =
                if *first == 0 { String::new() } else { format!("; first on line {first}") };
            let message = format!("`{name}` is given twice{place}");
            self.faults.push(Fault { at: at.clone(), path, message });
        } else {
            seen.insert(name.to_owned(), line);
        }
        *key = Some(Key { name: name.to_owned(), at });
        Ok(())
    }

    fn begin(&mut self, at: Origin, anchor: usize, items: Items) -> Result<(), Stop> {
        if self.wants_key() {
            return Err(self.stop(at, "a key must be text, not a list or a map"));
        }
        if self.open.len() >= MAX_DEPTH {
            return Err(self.stop(at, TOO_DEEP));
        }
        self.spend(1, &at)?;
        self.open.push(Open { at, anchor, items });
        Ok(())
    }

    fn end(&mut self) -> Result<(), Stop> {
        let Some(Open { at, anchor, items }) = self.open.pop() else {
            return Ok(());
        };
        let value = match items {
            Items::List(items) => Value::List(items),
            Items::Map { entries, .. } => Value::Map(entries),
        };
        self.add(Node { value, at }, anchor)
    }

    fn alias(&mut self, anchor: usize, at: Origin) -> Result<(), Stop> {
        if self.wants_key() {
            return Err(self.stop(at, "a key must be text, not an alias"));
        }
        let Some(Anchored { cost, .. }) = self.anchors.get(&anchor) else {
            return Err(self.stop(at, "an alias stands inside what it names"));
        };
        let cost = *cost;
        if self.open.len() + cost.depth > MAX_DEPTH {
            return Err(self.stop(at, TOO_DEEP));
        }
        self.spend(cost.nodes, &at)?;
        self.alias_bytes += cost.bytes;
        if self.alias_bytes > MAX_BYTES {
            let message = format!("aliases expand to more than {} MiB", MAX_BYTES >> 20);
            return Err(self.end_of_input(at, message));
        }
        match self.anchors.get(&anchor) {
            Some(anchored) => self.add(anchored.node.clone(), 0),
            None => Ok(()),
        }
    }

    fn add(&mut self, node: Node, anchor: usize) -> Result<(), Stop> {
        if anchor > 0 {
            // The copy that is kept for aliases is paid for like a use.
            let cost = cost(&node);
            self.spend(cost.nodes, &node.at)?;
            self.anchors.insert(anchor, Anchored { node: node.clone(), cost });
        }
        match self.open.last_mut().map(|open| &mut open.items) {
            None => self.root = Some(node),
            Some(Items::List(items)) => items.push(node),
            Some(Items::Map { entries, key, .. }) => entries.extend(key.take().map(|k| (k, node))),
        }
        Ok(())
    }

    fn spend(&mut self, nodes: usize, at: &Origin) -> Result<(), Stop> {
        self.nodes += nodes;
        if self.nodes <= MAX_NODES {
            return Ok(());
        }
        let message = format!("holds more than {MAX_NODES} values, aliases expanded; split it");
        Err(self.end_of_input(at.clone(), message))
    }

    fn refuse_tag(&mut self, tagged: bool, at: &Origin) {
        if tagged {
            let message = "tags (`!…`) are not supported; remove it, and quote what must be text";
            let path = self.path();
            self.faults.push(Fault { at: at.clone(), path, message: message.into() });
        }
    }

    fn stop(&mut self, at: Origin, message: impl Into<String>) -> Stop {
        let resume_after = line_of(&at);
        let path = self.path();
        self.faults.push(Fault { at, path, message: message.into() });
        Stop { resume_after }
    }

    fn end_of_input(&mut self, at: Origin, message: String) -> Stop {
        self.stop(at, message);
        Stop { resume_after: u32::MAX }
    }

    /// Without a field path: the scanner runs ahead of the events.
    fn syntax(&mut self, text: &str, error: &ScanError) -> Stop {
        let at = self.at(Span::empty(*error.marker()));
        let resume_after = line_of(&at);
        let line = text.lines().nth(error.marker().line().saturating_sub(1)).unwrap_or_default();
        let bracket = self.open.iter().rev().find_map(|open| self.bracket(text, open));
        let bracket = bracket.filter(|(_, line)| *line < resume_after);
        self.faults.push(Fault::new(at, explain(error.info(), line, bracket)));
        Stop { resume_after }
    }

    /// The bracket that an open collection began with, if it did, and its line.
    fn bracket(&self, text: &str, open: &Open) -> Option<(char, u32)> {
        let Origin::File { line, column, .. } = open.at else {
            return None;
        };
        let line_text = text.lines().nth(usize::try_from(line - self.first_line).ok()?)?;
        let first = line_text.chars().nth(usize::try_from(column - 1).ok()?)?;
        matches!(first, '[' | '{').then_some((first, line))
    }

    fn path(&self) -> String {
        let mut path = String::new();
        for open in &self.open {
            match &open.items {
                Items::List(items) => path.push_str(&format!("[{}]", items.len())),
                Items::Map { key: Some(key), .. } if path.is_empty() => path.push_str(&key.name),
                Items::Map { key: Some(key), .. } => path.push_str(&format!(".{}", key.name)),
                Items::Map { key: None, .. } => {}
            }
        }
        path
    }
}

/// 0 for what is not in a file.
pub(super) fn line_of(at: &Origin) -> u32 {
    if let Origin::File { line, .. } = at { *line } else { 0 }
}

/// Recursion is bounded: a node that reaches here nests at most [`MAX_DEPTH`].
fn cost(node: &Node) -> Cost {
    let (own, inner) = match &node.value {
        Value::String(text) => (text.len(), Cost::default()),
        Value::List(items) => (0, sum(items.iter())),
        Value::Map(entries) => {
            let keys = entries.iter().map(|(key, _)| key.name.len()).sum();
            (keys, sum(entries.iter().map(|(_, node)| node)))
        }
        _ => (0, Cost::default()),
    };
    let collection = usize::from(matches!(node.value, Value::List(_) | Value::Map(_)));
    Cost { nodes: inner.nodes + 1, bytes: inner.bytes + own, depth: inner.depth + collection }
}

fn sum<'n>(nodes: impl Iterator<Item = &'n Node>) -> Cost {
    nodes.map(cost).fold(Cost::default(), |all, one| Cost {
        nodes: all.nodes + one.nodes,
        bytes: all.bytes + one.bytes,
        depth: all.depth.max(one.depth),
    })
}
