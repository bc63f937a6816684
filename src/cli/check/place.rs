//! Paths of the API, and short ways into its JSON.
//!
//! An object is found by its own words, `apiVersion` and `kind`, so that what `install` makes can be
//! looked for without a second list.

use serde_json::Value;

/// The path of a kind: `apis/apps/v1`, `deployments`.
pub(super) fn collection(api_version: &str, kind: &str) -> (String, String) {
    let root = if api_version.contains('/') { "/apis/" } else { "/api/" };
    let lower = kind.to_ascii_lowercase();
    let plural = match lower.strip_suffix('y') {
        Some(stem) => format!("{stem}ies"),
        None => format!("{lower}s"),
    };
    (format!("{root}{api_version}"), plural)
}

/// Where an object is.
pub(super) fn path(object: &Value) -> String {
    let (root, plural) = collection(text(&object["apiVersion"]), text(&object["kind"]));
    let name = text(&object["metadata"]["name"]);
    match object["metadata"]["namespace"].as_str() {
        Some(namespace) => format!("{root}/namespaces/{namespace}/{plural}/{name}"),
        None => format!("{root}/{plural}/{name}"),
    }
}

/// Text, or nothing.
pub(super) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// Items, or none.
pub(super) fn items(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// The name of an object.
pub(super) fn name(object: &Value) -> &str {
    text(&object["metadata"]["name"])
}

/// A label of an object.
pub(super) fn label<'a>(object: &'a Value, key: &str) -> &'a str {
    text(&object["metadata"]["labels"][key])
}

/// An annotation of an object.
pub(super) fn annotation<'a>(object: &'a Value, key: &str) -> &'a str {
    text(&object["metadata"]["annotations"][key])
}

/// When an object was made.
pub(super) fn created(object: &Value) -> Option<jiff::Timestamp> {
    text(&object["metadata"]["creationTimestamp"]).parse().ok()
}

/// The first few of many, and how many more there are.
pub(super) fn some_of(all: &[&str]) -> String {
    const SHOWN: usize = 5;
    let shown = all.iter().take(SHOWN).copied().collect::<Vec<_>>().join(", ");
    match all.len().checked_sub(SHOWN) {
        Some(more) if more > 0 => format!("{shown} and {more} more"),
        _ => shown,
    }
}
