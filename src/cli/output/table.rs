//! Objects as aligned columns: one line each, a column for every field that any of them has, in
//! the order in which they come. Numbers stand to the right, `-` stands for nothing.

use serde_json::{Number, Value};

/// Between two columns.
const GAP: &str = "  ";

/// A heading and a line for each row; what is no object is left out.
pub(super) fn table(rows: &[Value]) -> String {
    let mut columns: Vec<&str> = Vec::new();
    for (name, _) in rows.iter().filter_map(Value::as_object).flatten() {
        if !columns.contains(&name.as_str()) {
            columns.push(name);
        }
    }
    let columns: Vec<Column> = columns.iter().map(|name| Column::new(name, rows)).collect();
    let lines = (0..=rows.len()).map(|line| {
        let cells: Vec<String> = columns.iter().map(|column| column.padded(line)).collect();
        format!("{}\n", cells.join(GAP).trim_end())
    });
    lines.collect()
}

struct Column {
    /// The heading, then a cell for each row.
    cells: Vec<String>,
    width: usize,
    right: bool,
}

impl Column {
    fn new(name: &str, rows: &[Value]) -> Column {
        let values = || rows.iter().map(|row| row.get(name).unwrap_or(&Value::Null));
        let cells: Vec<String> = std::iter::once(heading(name)).chain(values().map(cell)).collect();
        Column {
            width: cells.iter().map(|cell| cell.chars().count()).max().unwrap_or_default(),
            right: values().any(Value::is_number)
                && values().all(|value| value.is_number() || value.is_null()),
            cells,
        }
    }

    fn padded(&self, line: usize) -> String {
        let (cell, width) = (&self.cells[line], self.width);
        if self.right { format!("{cell:>width$}") } else { format!("{cell:<width$}") }
    }
}

/// `inFlight` → `IN-FLIGHT`
fn heading(name: &str) -> String {
    let mut text = String::new();
    for letter in name.chars() {
        if letter.is_ascii_uppercase() && !text.is_empty() {
            text.push('-');
        }
        text.push(letter.to_ascii_uppercase());
    }
    text
}

fn cell(value: &Value) -> String {
    match value {
        Value::Null => "-".into(),
        Value::Bool(value) => value.to_string(),
        Value::Number(number) => rounded(number),
        Value::String(text) if text.is_empty() => "-".into(),
        Value::String(text) => text.chars().map(printable).collect(),
        Value::Array(items) if items.is_empty() => "-".into(),
        Value::Array(items) => items.iter().map(cell).collect::<Vec<_>>().join(","),
        Value::Object(_) => value.to_string(),
    }
}

/// Some texts come from peers (an error's, for one): they must not steer a terminal.
fn printable(letter: char) -> char {
    if letter.is_control() { char::REPLACEMENT_CHARACTER } else { letter }
}

/// Three decimals say enough of a millisecond or a ratio.
fn rounded(number: &Number) -> String {
    match number.as_f64() {
        Some(value) if number.is_f64() => {
            let text = format!("{value:.3}");
            text.trim_end_matches('0').trim_end_matches('.').to_owned()
        }
        _ => number.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn columns_are_the_union_of_fields_and_line_up() {
        let rows = [
            json!({"address": "127.0.0.1:1", "inFlight": 3, "zone": null}),
            json!({"address": "[::1]:65535", "inFlight": 12, "zone": "a", "zzz": [1, "b"]}),
        ];
        assert_eq!(
            table(&rows),
            "ADDRESS      IN-FLIGHT  ZONE  ZZZ\n\
             127.0.0.1:1          3  -     -\n\
             [::1]:65535         12  a     1,b\n"
        );
    }

    #[test]
    fn cells() {
        let rows = [
            (json!(1.5), "1.5"),
            (json!(2.0), "2"),
            (json!(0.123_456), "0.123"),
            (json!(100), "100"),
            (json!(""), "-"),
            (json!([]), "-"),
            (json!(true), "true"),
            (json!({"a": 1}), "{\"a\":1}"),
            (json!("\u{1b}[31mred\n"), "\u{fffd}[31mred\u{fffd}"),
        ];
        for (value, expected) in rows {
            assert_eq!(cell(&value), expected);
        }
    }
}
