//! A JSON value as YAML in block style. What it writes reads back to the same value, here and by
//! readers of YAML 1.1, which take `no` and `on` for booleans.

use serde_json::Value;

use crate::resources::{Value as Read, schema};

/// One document, ending with a line break.
pub(super) fn yaml(value: &Value) -> String {
    let lines = flow(value).map_or_else(|| block(value), |text| vec![text]);
    lines.iter().flat_map(|line| [line, "\n"]).collect()
}

fn block(value: &Value) -> Vec<String> {
    let mut lines = Vec::new();
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let key = format!("{}:", scalar(name));
                match flow(value) {
                    Some(text) => lines.push(format!("{key} {text}")),
                    None if value.is_string() => {
                        let mut text = block(value).into_iter();
                        lines.extend(text.next().map(|header| format!("{key} {header}")));
                        lines.extend(text);
                    }
                    None => {
                        lines.push(key);
                        lines.extend(block(value).iter().map(|line| format!("  {line}")));
                    }
                }
            }
        }
        Value::Array(items) => {
            for item in items {
                let item = flow(item).map_or_else(|| block(item), |text| vec![text]);
                let lead = std::iter::once("- ").chain(std::iter::repeat("  "));
                lines.extend(lead.zip(&item).map(|(lead, line)| format!("{lead}{line}")));
            }
        }
        Value::String(text) => lines.extend(literal(text)),
        Value::Null | Value::Bool(_) | Value::Number(_) => lines.extend(flow(value)),
    }
    lines
}

/// Several lines as they are, under a header; none where YAML would need more than that to give the
/// same text back.
fn literal(text: &str) -> Vec<String> {
    let (body, header) = text.strip_suffix('\n').map_or((text, "|-"), |body| (body, "|"));
    let plain = |line: &str| {
        !line.ends_with(' ')
            && line
                .chars()
                .all(|c| !c.is_control() && !matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}'))
    };
    let begins = body.starts_with(|c: char| !c.is_whitespace());
    if !body.contains('\n') || !begins || body.ends_with('\n') || !body.split('\n').all(plain) {
        return Vec::new();
    }
    let lines = body.split('\n').map(|line| format!("  {line}"));
    std::iter::once(header.to_owned()).chain(lines).collect()
}

/// What stands on the line of its key: everything without a line of its own.
fn flow(value: &Value) -> Option<String> {
    match value {
        Value::Object(fields) => fields.is_empty().then(|| "{}".into()),
        Value::Array(items) => items.is_empty().then(|| "[]".into()),
        Value::String(text) => literal(text).is_empty().then(|| scalar(text)),
        Value::Null | Value::Bool(_) | Value::Number(_) => Some(value.to_string()),
    }
}

/// Bare where it would be read back as itself, else in JSON's quotes, which YAML understands.
fn scalar(text: &str) -> String {
    let safe = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'/' | b'.' | b'_' | b'-');
    let old_booleans = ["y", "n", "yes", "no", "on", "off"];
    let bare = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/')
        && text.bytes().all(safe)
        && !old_booleans.iter().any(|word| text.eq_ignore_ascii_case(word))
        && matches!(schema::resolve(text), Read::String(_));
    if bare { text.to_owned() } else { Value::from(text).to_string() }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::resources::{Node, Origin, yaml as reader};

    fn same(read: &Node, value: &Value) -> bool {
        match (&read.value, value) {
            (Read::Null, Value::Null) => true,
            (Read::Bool(read), Value::Bool(value)) => read == value,
            (Read::Int(read), Value::Number(value)) => Some(*read) == value.as_i64(),
            (Read::Float(read), Value::Number(value)) => Some(*read) == value.as_f64(),
            (Read::String(read), Value::String(value)) => read == value,
            (Read::List(read), Value::Array(value)) => {
                read.len() == value.len() && read.iter().zip(value).all(|(r, v)| same(r, v))
            }
            (Read::Map(read), Value::Object(value)) => {
                read.len() == value.len()
                    && read.iter().all(|(key, r)| value.get(&key.name).is_some_and(|v| same(r, v)))
            }
            _ => false,
        }
    }

    #[test]
    fn everything_reads_back() {
        let value = json!({
            "texts": ["a", "", "no", "true", "1", "-x", "a: b", "x #y", "line\nbreak", "~", "0x1f"],
            "numbers": [0, -1, 1.5],
            "nothing": null,
            "empty": {"map": {}, "list": []},
            "lines": ["a\nb", "a\n\n  b: #c\n", " a\nb", "a\nb\n\n", "a \nb", "a\n\tb", "---\n...\n"],
            "script": {"run.sh": "#!/bin/sh\nset -e\n\nexec \"$@\"\n"},
            "nested": [[1, [2]], {"a": {"b": [{"c": 1, "d": "e"}]}}],
            "odd key: x": true,
        });
        let text = yaml(&value);
        let read = reader::parse(&text, &Origin::Default).expect("legal YAML");
        assert!(read.len() == 1 && same(&read[0], &value), "{text}");
    }
}
