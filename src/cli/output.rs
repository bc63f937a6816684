//! Data for people and programs: a JSON value as a table, as JSON or as YAML.
//!
//! Tables are made from whatever objects an answer holds, so that a field that a newer sidecar
//! adds is shown too. Nothing is cut off, and no colour is used: the same bytes go to a terminal
//! and into a pipe.

mod table;
mod yaml;

use clap::{Args, ValueEnum};
use serde_json::{Value, json};

/// How data is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    Table,
    Json,
    Yaml,
}

/// The flag, for every subcommand that prints data.
#[derive(Args, Clone, Copy, Debug)]
pub(super) struct Output {
    /// How it is printed
    #[arg(short = 'o', long = "output", value_name = "FORMAT", value_enum, default_value_t = Format::Table)]
    pub(super) format: Format,
}

/// The whole value; as a table, the rows of its `list`, or without one each field on a line.
pub(super) fn render(value: &Value, list: Option<&str>, format: Format) -> String {
    match format {
        Format::Json => format!("{value:#}\n"),
        Format::Yaml => yaml::yaml(value),
        Format::Table => {
            let rows = list.and_then(|list| value.get(list)).and_then(Value::as_array);
            match (rows, list) {
                (Some(rows), Some(list)) if rows.is_empty() => format!("no {list}\n"),
                (Some(rows), _) => table::table(rows),
                (None, _) => table::table(&fields(value)),
            }
        }
    }
}

/// `{"a": {"b": [1, 2]}}` → `a.b  1,2`
fn fields(value: &Value) -> Vec<Value> {
    let mut rows = Vec::new();
    flatten("", value, &mut rows);
    rows
}

fn flatten(path: &str, value: &Value, rows: &mut Vec<Value>) {
    let nested = |value: &Value| matches!(value, Value::Object(_) | Value::Array(_));
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            let dot = if path.is_empty() { "" } else { "." };
            for (name, value) in fields {
                flatten(&format!("{path}{dot}{name}"), value, rows);
            }
        }
        Value::Array(items) if items.iter().any(nested) => {
            for (index, item) in items.iter().enumerate() {
                flatten(&format!("{path}[{index}]"), item, rows);
            }
        }
        _ => rows.push(json!({"field": path, "value": value})),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_a_table_and_anything_else_its_fields() {
        let value = json!({"list": [{"a": 1}], "one": {"b": [2, 3]}, "two": [{"c": null}]});
        assert_eq!(render(&value, Some("list"), Format::Table), "A\n1\n");
        assert_eq!(
            render(&value, None, Format::Table),
            "FIELD      VALUE\nlist[0].a  1\none.b      2,3\ntwo[0].c   -\n"
        );
        assert_eq!(render(&json!({"list": []}), Some("list"), Format::Table), "no list\n");
        let text = render(&value, Some("list"), Format::Json);
        assert_eq!(serde_json::from_str::<Value>(&text).ok(), Some(value));
    }
}
