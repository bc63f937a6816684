//! What changed between two JSON values, as a JSON Patch (RFC 6902).
//!
//! Lists are compared by what is the same in them: items that are equal, or that bear the same
//! `name`. Where items were only added around others, as the injector does, the patch says just
//! that; any other change of a list replaces it. Applied to the first value it gives the second: the
//! tests prove it.

use serde_json::{Map, Value, json};

/// The operations that lead from `before` to `after`.
pub(super) fn diff(before: &Value, after: &Value) -> Vec<Value> {
    let mut operations = Vec::new();
    values("", before, after, &mut operations);
    operations
}

fn values(path: &str, before: &Value, after: &Value, operations: &mut Vec<Value>) {
    match (before, after) {
        _ if before == after => {}
        (Value::Object(before), Value::Object(after)) => maps(path, before, after, operations),
        (Value::Array(before), Value::Array(after)) if grew(before, after) => {
            lists(path, before, after, operations);
        }
        _ => operations.push(json!({"op": "replace", "path": path, "value": after})),
    }
}

fn maps(
    path: &str,
    before: &Map<String, Value>,
    after: &Map<String, Value>,
    operations: &mut Vec<Value>,
) {
    for key in before.keys().filter(|key| !after.contains_key(*key)) {
        operations.push(json!({"op": "remove", "path": below(path, key)}));
    }
    for (key, value) in after {
        let path = below(path, key);
        match before.get(key) {
            Some(before) => values(&path, before, value, operations),
            None => operations.push(json!({"op": "add", "path": path, "value": value})),
        }
    }
}

/// Whether each item of the one is still there in the other, in the same order.
fn grew(before: &[Value], after: &[Value]) -> bool {
    let mut rest = after.iter();
    before.iter().all(|item| rest.any(|other| is_same(item, other)))
}

/// From the front on, so that every index is that of the list as it is by then.
fn lists(path: &str, before: &[Value], after: &[Value], operations: &mut Vec<Value>) {
    let mut kept = before.iter().peekable();
    for (index, item) in after.iter().enumerate() {
        let path = below(path, &index.to_string());
        match kept.next_if(|kept| is_same(kept, item)) {
            Some(kept) => values(&path, kept, item, operations),
            None => operations.push(json!({"op": "add", "path": path, "value": item})),
        }
    }
}

fn is_same(one: &Value, other: &Value) -> bool {
    let name = |value: &Value| value.get("name").and_then(Value::as_str).map(str::to_owned);
    one == other || name(one).is_some_and(|one| name(other).is_some_and(|other| one == other))
}

/// A JSON pointer, one step further (RFC 6901).
fn below(path: &str, step: &str) -> String {
    format!("{path}/{}", step.replace('~', "~0").replace('/', "~1"))
}
