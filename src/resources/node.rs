//! The tree that YAML and JSON are read into before anything knows what they
//! mean. Every value and every key keeps where it came from, through overlays
//! too, so that a fault found late still names its line. Built by `yaml` and by
//! the configuration's layers, read by `decode`.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

/// Where a value came from. Orders by file and position, then the others.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Origin {
    /// A place in a file.
    File {
        /// The path as the user wrote it.
        path: Arc<str>,
        /// From 1; 0 means the file as a whole.
        line: u32,
        /// From 1, in characters.
        column: u32,
    },
    /// An environment variable, by name.
    Environment(Arc<str>),
    /// A command-line flag, as typed: `--admin-listen`.
    Flag(Arc<str>),
    /// Built in.
    #[default]
    Default,
}

impl Origin {
    /// A file as a whole.
    pub fn file(path: impl Into<Arc<str>>) -> Origin {
        Origin::File { path: path.into(), line: 0, column: 0 }
    }

    /// A file as a whole, named for people.
    pub fn path(path: &Path) -> Origin {
        Origin::file(path.to_string_lossy())
    }

    /// A position within this origin; only files have any.
    pub fn position(&self, line: u32, column: u32) -> Origin {
        match self {
            Origin::File { path, .. } => Origin::File { path: path.clone(), line, column },
            other => other.clone(),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::File { path, line: 0, .. } => f.write_str(path),
            Origin::File { path, line, .. } => write!(f, "{path}:{line}"),
            Origin::Environment(name) => write!(f, "environment {name}"),
            Origin::Flag(name) => f.write_str(name),
            Origin::Default => f.write_str("default"),
        }
    }
}

/// A value and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// What it is.
    pub value: Value,
    /// Where it starts.
    pub at: Origin,
}

/// A value of the YAML 1.2 core schema, which includes all of JSON.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Nothing, `~` or `null`; everywhere the same as an absent field.
    Null,
    /// `true` or `false`; `yes` and `on` are text.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// Any other number, and whole ones beyond 64 bits.
    Float(f64),
    /// Text.
    String(String),
    /// Items in order.
    List(Vec<Node>),
    /// Entries in the order written.
    Map(Vec<(Key, Node)>),
}

/// A map's key; always text, whatever it looks like (`80: x` has the key "80").
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// The text.
    pub name: String,
    /// Where it starts.
    pub at: Origin,
}

impl Node {
    /// Nothing, at a place.
    pub fn null(at: Origin) -> Node {
        Node { value: Value::Null, at }
    }

    /// Text, at a place.
    pub fn text(text: impl Into<String>, at: Origin) -> Node {
        Node { value: Value::String(text.into()), at }
    }

    /// Whether this says nothing.
    pub fn is_null(&self) -> bool {
        matches!(self.value, Value::Null)
    }

    /// The value under a key, if this is a map that has it.
    pub fn field(&self, name: &str) -> Option<&Node> {
        match &self.value {
            Value::Map(entries) => {
                entries.iter().find(|(key, _)| key.name == name).map(|(_, node)| node)
            }
            _ => None,
        }
    }

    /// What a fault message says was found: `"http"`, `80`, `a list`.
    pub fn describe(&self) -> String {
        match &self.value {
            Value::Null => "nothing".into(),
            Value::Bool(value) => value.to_string(),
            Value::Int(value) => value.to_string(),
            Value::Float(value) => value.to_string(),
            Value::String(text) => quote(text),
            Value::List(_) => "a list".into(),
            Value::Map(_) => "a map".into(),
        }
    }
}

/// Text in quotes for a message, cut at 60 characters and free of control
/// characters.
pub fn quote(text: &str) -> String {
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("{:?}…", &text[..end]),
        None => format!("{text:?}"),
    }
}
