//! The effective configuration for people and programs: as YAML with a comment
//! behind each value that names its origin, and as JSON for the admin port. The
//! YAML reads back to the same configuration. Only what was written is printed:
//! names of files, never what they hold.

use serde_json::{Map, Number};

use super::fields;
use crate::resources::{Node, Value, schema};

/// Comments line up here unless a value is longer.
const COMMENT_COLUMN: usize = 40;

/// Sorts sections and fields as the manual does.
pub(super) fn arrange(node: &mut Node, path: &str) {
    if let Value::Map(entries) = &mut node.value {
        let below = |name: &str| match path {
            "" => name.to_owned(),
            _ => format!("{path}.{name}"),
        };
        entries.retain(|(_, node)| !node.is_null());
        entries.sort_by_key(|(key, _)| fields::rank(&below(&key.name)));
        entries.iter_mut().for_each(|(key, node)| arrange(node, &below(&key.name)));
    }
}

pub(super) fn yaml(tree: &Node) -> String {
    let mut lines = Vec::new();
    if let Value::Map(entries) = &tree.value {
        entries.iter().for_each(|(key, node)| entry(&mut lines, "", 0, &key.name, node));
    }
    let mut text = String::new();
    for (line, origin) in lines {
        match origin {
            Some(origin) => text.push_str(&format!("{line:COMMENT_COLUMN$}  # {origin}\n")),
            None => text.push_str(&format!("{line}\n")),
        }
    }
    text
}

type Lines = Vec<(String, Option<String>)>;

/// One key and its value. `lead` is what stands on the line before the key: the
/// dash of a list's item, whose further keys are indented as deep.
fn entry(lines: &mut Lines, lead: &str, depth: usize, key: &str, node: &Node) {
    let indent = "  ".repeat(depth);
    let start = format!("{indent}{lead}{}:", scalar_text(key));
    let depth = depth + lead.len() / 2;
    match flow(node) {
        Some(value) => lines.push((format!("{start} {value}"), Some(node.at.to_string()))),
        None => {
            lines.push((start, None));
            block(lines, depth + 1, node);
        }
    }
}

fn block(lines: &mut Lines, depth: usize, node: &Node) {
    match &node.value {
        Value::Map(entries) => {
            entries.iter().for_each(|(key, node)| entry(lines, "", depth, &key.name, node));
        }
        Value::List(items) => items.iter().for_each(|node| item(lines, depth, node)),
        _ => {}
    }
}

fn item(lines: &mut Lines, depth: usize, node: &Node) {
    let indent = "  ".repeat(depth);
    match (&node.value, flow(node)) {
        (_, Some(value)) => {
            lines.push((format!("{indent}- {value}"), Some(node.at.to_string())));
        }
        (Value::Map(entries), None) => {
            for (index, (key, node)) in entries.iter().enumerate() {
                let (lead, depth) = if index == 0 { ("- ", depth) } else { ("", depth + 1) };
                entry(lines, lead, depth, &key.name, node);
            }
        }
        (_, None) => {
            lines.push((format!("{indent}-"), None));
            block(lines, depth + 1, node);
        }
    }
}

/// What fits on the line: single values, lists of them, and what is empty.
fn flow(node: &Node) -> Option<String> {
    match &node.value {
        Value::Map(entries) => entries.is_empty().then(|| "{}".into()),
        Value::List(items) => {
            let nested = |item: &Node| matches!(item.value, Value::List(_) | Value::Map(_));
            let values = || items.iter().filter_map(flow).collect::<Vec<_>>().join(", ");
            (!items.iter().any(nested)).then(|| format!("[{}]", values()))
        }
        Value::String(text) => Some(scalar_text(text)),
        Value::Float(value) => Some(format!("{value:?}")),
        Value::Null => Some("null".into()),
        Value::Bool(_) | Value::Int(_) => Some(node.describe()),
    }
}

/// Text bare where it would be read back as itself, else as a JSON string.
/// Other programs may read it too: what YAML 1.1 took for a boolean is quoted.
fn scalar_text(text: &str) -> String {
    let safe = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'/' | b'.' | b'_' | b'-');
    let old_boolean =
        ["y", "n", "yes", "no", "on", "off"].iter().any(|word| text.eq_ignore_ascii_case(word));
    let bare = text.bytes().all(safe)
        && !text.starts_with('-')
        && !old_boolean
        && matches!(schema::resolve(text), Value::String(_));
    if bare { text.to_owned() } else { serde_json::Value::from(text).to_string() }
}

pub(super) fn json(node: &Node) -> serde_json::Value {
    match &node.value {
        Value::Null => serde_json::Value::Null,
        Value::Bool(value) => (*value).into(),
        Value::Int(value) => (*value).into(),
        Value::Float(value) => Number::from_f64(*value).into(),
        Value::String(text) => text.as_str().into(),
        Value::List(items) => items.iter().map(json).collect(),
        Value::Map(entries) => {
            let fields = entries.iter().map(|(key, node)| (key.name.clone(), json(node)));
            fields.collect::<Map<_, _>>().into()
        }
    }
}
