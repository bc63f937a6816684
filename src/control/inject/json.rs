//! Looking into JSON that nobody has checked, with the path at hand for whoever complains.
//!
//! A pod comes as its author wrote it or as the API server decoded it. `null` is the same as absent
//! everywhere, as it is to Kubernetes; anything else of the wrong kind is a refusal that names it.

use serde_json::{Map, Value};

use super::{Path, Refusal};
pub(super) use crate::control::webhook::{at, text};

/// A path from its steps.
pub(super) fn path<const N: usize>(steps: [&str; N]) -> Path {
    steps.map(str::to_owned).into()
}

/// `path` and further steps.
pub(super) fn below<const N: usize>(path: &[String], steps: [&str; N]) -> Path {
    let mut all = path.to_vec();
    all.extend(steps.map(str::to_owned));
    all
}

/// `spec.containers[0].image`; a key that is no plain word stands in brackets.
pub(super) fn field(path: &[String]) -> String {
    let mut text = String::new();
    for step in path {
        let plain = step.bytes().all(|b| b.is_ascii_alphanumeric());
        match step.parse::<usize>() {
            Ok(index) => text.push_str(&format!("[{index}]")),
            Err(_) if !plain => text.push_str(&format!("[{step:?}]")),
            Err(_) if text.is_empty() => text.push_str(step),
            Err(_) => text.push_str(&format!(".{step}")),
        }
    }
    text
}

/// The items of a list that may be absent, each with its path.
pub(super) fn items<'v>(
    value: &'v Value,
    key: &'static str,
    parent: &[String],
    refusals: &mut Vec<Refusal>,
) -> Vec<(Path, &'v Map<String, Value>)> {
    let Some(list) = at(value, key) else { return Vec::new() };
    let path = below(parent, [key]);
    let Some(list) = list.as_array() else {
        refusals.push(wrong(path, "a list", list));
        return Vec::new();
    };
    let mut items = Vec::new();
    for (index, item) in list.iter().enumerate() {
        let path = below(&path, [&index.to_string()]);
        match item.as_object() {
            Some(item) => items.push((path, item)),
            None => refusals.push(wrong(path, "a map", item)),
        }
    }
    items
}

/// A value of the wrong kind.
pub(super) fn wrong(path: Path, expected: &str, found: &Value) -> Refusal {
    let found = match found {
        Value::Object(_) => "a map".to_owned(),
        Value::Array(_) => "a list".to_owned(),
        Value::String(text) => crate::resources::quote(text),
        Value::Null => "nothing".to_owned(),
        Value::Bool(_) | Value::Number(_) => found.to_string(),
    };
    Refusal { path, message: format!("expected {expected}, found {found}") }
}

/// The list under a key, made where there is none. Called on what `items` found sound.
pub(super) fn list<'v>(map: &'v mut Map<String, Value>, key: &str) -> &'v mut Vec<Value> {
    let value = map.entry(key).or_insert(Value::Null);
    if !value.is_array() {
        *value = Value::Array(Vec::new());
    }
    value.as_array_mut().expect("made a list just now")
}

/// The map under a key, made where there is none.
pub(super) fn map<'v>(map: &'v mut Map<String, Value>, key: &str) -> &'v mut Map<String, Value> {
    let value = map.entry(key).or_insert(Value::Null);
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    value.as_object_mut().expect("made a map just now")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_read_like_the_document() {
        let rows = [
            (path(["spec", "containers", "0", "image"]), "spec.containers[0].image"),
            (path(["metadata", "annotations", "a.b/c"]), "metadata.annotations[\"a.b/c\"]"),
            (path([]), ""),
        ];
        for (path, expected) in rows {
            assert_eq!(field(&path), expected);
        }
    }
}
