//! From what a decoder takes to an OpenAPI schema of the structural kind that Kubernetes asks for.
//!
//! A map keeps what it has no field for: an API server that dropped a mistyped field in silence would
//! store a policy that says less than its author meant, and nobody could tell any more. So it comes to
//! the decoder, which refuses it by name: in the validator, and in the object's status.
//!
//! A place that takes a number or a text is an `int-or-string`; one that takes a text or a map has
//! no type that Kubernetes knows, so that everything is let through there and the decoder alone
//! judges it.

use serde_json::{Map, Value, json};

use super::rules::{self, Rule};
use super::text;
use crate::resources::sketch::{Note, Sketch};

/// That fields which the schema doesn't know stay there.
pub(super) const KEPT: &str = "x-kubernetes-preserve-unknown-fields";

/// The schema of a spec. `words` has a sentence for each place, the empty one being the spec itself.
pub(super) fn of(sketch: &Sketch, words: &[(&str, &str)], rules: &[Rule]) -> Value {
    Reader { sketch, words, rules }.place("")
}

struct Reader<'a> {
    sketch: &'a Sketch,
    words: &'a [(&'a str, &'a str)],
    rules: &'a [Rule],
}

impl Reader<'_> {
    fn place(&self, path: &str) -> Value {
        let mut schema = self.form(path);
        if let Some((_, about)) = self.words.iter().find(|(place, _)| *place == path) {
            schema.insert("description".into(), json!(about));
        }
        let across = self.rules.iter().filter(|rule| rule.at == path).map(Rule::json);
        let written = schema.remove(rules::KEY).and_then(|value| value.as_array().cloned());
        let all: Vec<Value> = written.into_iter().flatten().chain(across).collect();
        if !all.is_empty() {
            schema.insert(rules::KEY.into(), json!(all));
        }
        Value::Object(schema)
    }

    /// What may stand there, as far as a schema can say.
    fn form(&self, path: &str) -> Map<String, Value> {
        let notes = self.sketch.notes(path);
        let has = |of: fn(&Note) -> bool| notes.iter().any(of);
        if self.sketch.is_open(path) {
            return object([(KEPT, json!(true))]);
        }
        let texts = has(|note| matches!(note, Note::Text(_) | Note::Words(_)));
        match (texts, has(|note| matches!(note, Note::Integer(..)))) {
            (true, true) => int_or_string(notes),
            (true, false) => text(notes),
            (false, true) => integer(notes),
            (false, false) if has(|note| *note == Note::Map) => self.map(path),
            (false, false) if has(|note| *note == Note::List) => self.list(path),
            (false, false) => other(notes),
        }
    }

    fn map(&self, path: &str) -> Map<String, Value> {
        let place =
            |name: &str| if path.is_empty() { name.into() } else { format!("{path}.{name}") };
        let mut properties = Map::new();
        let mut required = Vec::new();
        for name in self.sketch.fields(path) {
            let below = place(name);
            if self.sketch.notes(&below).contains(&Note::Required) {
                required.push(name);
            }
            properties.insert(name.to_owned(), self.place(&below));
        }
        let mut schema = object([("type", json!("object"))]);
        if !required.is_empty() {
            schema.insert("required".into(), json!(required));
        }
        schema.insert("properties".into(), Value::Object(properties));
        schema.insert(KEPT.into(), json!(true));
        schema
    }

    fn list(&self, path: &str) -> Map<String, Value> {
        let mut schema = object([("type", json!("array"))]);
        schema.extend(most(self.sketch.notes(path)).map(|most| ("maxItems".into(), json!(most))));
        schema.insert("items".into(), self.place(&format!("{path}[]")));
        schema
    }
}

fn text(notes: &[Note]) -> Map<String, Value> {
    let mut schema = object([("type", json!("string"))]);
    schema.extend(text::limits(notes));
    schema.extend(most(notes).map(|most| ("maxLength".into(), json!(most))));
    schema
}

fn int_or_string(notes: &[Note]) -> Map<String, Value> {
    let mut schema = object([("x-kubernetes-int-or-string", json!(true))]);
    schema.extend(bounds(notes));
    schema.extend(text::limits(notes));
    // The decoder's words may be numbers in quotes to nobody, so a pattern says them all.
    if let Some(Value::Array(words)) = schema.remove("enum") {
        let words: Vec<&str> = words.iter().filter_map(Value::as_str).collect();
        schema.insert("pattern".into(), json!(format!("^({})$", words.join("|"))));
    }
    schema
}

fn integer(notes: &[Note]) -> Map<String, Value> {
    let mut schema = object([("type", json!("integer")), ("format", json!("int64"))]);
    schema.extend(bounds(notes));
    schema
}

fn bounds(notes: &[Note]) -> impl Iterator<Item = (String, Value)> {
    let range = notes.iter().find_map(|note| match note {
        Note::Integer(low, high) => Some([("minimum", *low), ("maximum", *high)]),
        _ => None,
    });
    range.into_iter().flatten().map(|(name, bound)| (name.to_owned(), json!(bound)))
}

fn most(notes: &[Note]) -> Option<usize> {
    notes.iter().find_map(|note| match note {
        Note::AtMost(most) => Some(*most),
        _ => None,
    })
}

fn other(notes: &[Note]) -> Map<String, Value> {
    let of_texts =
        |value: Value| object([("type", json!("object")), ("additionalProperties", value)]);
    for note in notes {
        match note {
            Note::True => return object([("type", json!("boolean")), ("enum", json!([true]))]),
            Note::Percentage => {
                let bounds = [("minimum", json!(0)), ("maximum", json!(100))];
                return object([("type", json!("number"))].into_iter().chain(bounds));
            }
            Note::Size => {
                let (form, pattern) =
                    ("x-kubernetes-int-or-string", json!("^[0-9]+(KiB|MiB|GiB)$"));
                return object([(form, json!(true)), ("minimum", json!(1)), ("pattern", pattern)]);
            }
            Note::Labels => {
                let mut value = object([("type", json!("string"))]);
                value.extend(text::label_value());
                return of_texts(Value::Object(value));
            }
            Note::Texts => return of_texts(json!({"type": "string"})),
            Note::TextLists => {
                return of_texts(json!({KEPT: true}));
            }
            _ => {}
        }
    }
    object([("type", json!("boolean"))])
}

fn object<'a>(fields: impl IntoIterator<Item = (&'a str, Value)>) -> Map<String, Value> {
    fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// What the control plane writes back: as everywhere in Kubernetes.
pub(super) fn status() -> Value {
    let text = |most: u32| json!({"type": "string", "maxLength": most});
    json!({
        "type": "object",
        "description": "How the object fares; written by the control plane.",
        "properties": {
            "conditions": {
                "type": "array",
                "description": "Whether it is in force, and what is wrong with it.",
                "maxItems": 64,
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["type"],
                "items": {
                    "type": "object",
                    "required": ["type", "status", "lastTransitionTime", "reason", "message"],
                    "properties": {
                        "type": text(316),
                        "status": {"type": "string", "enum": ["True", "False", "Unknown"]},
                        "observedGeneration": {"type": "integer", "format": "int64", "minimum": 0},
                        "lastTransitionTime": {"type": "string", "format": "date-time"},
                        "reason": text(1024),
                        "message": text(32768),
                    },
                },
            },
        },
    })
}
