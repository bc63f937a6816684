//! Whether a body says what the recorded one said, field by field.
//!
//! Some fields are of the day: times, roots made for the run, addresses. A scenario declares them;
//! they must be there, and what stands in them now stands in for what stood there then, wherever the
//! server repeats it.

use std::collections::HashMap;

use serde_json::Value;

/// Fields of the day, by path, `*` for each key or index: `/webhooks/*/clientConfig/url`.
pub type OfTheDay = &'static [&'static str];

/// Texts of the recording, and what stands in for each.
#[derive(Clone, Debug, Default)]
pub struct StandIns {
    by_text: HashMap<String, String>,
    by_field: HashMap<&'static str, String>,
}

impl StandIns {
    pub fn add(&mut self, recorded: &str, now: &str) {
        self.by_text.insert(recorded.to_owned(), now.to_owned());
    }

    /// What stood last in a field of the day.
    pub fn of_field(&self, field: &str) -> Option<&str> {
        self.by_field.get(field).map(String::as_str)
    }

    /// What the server would say now.
    pub fn put_into(&self, recorded: &Value) -> Value {
        match recorded {
            Value::String(text) => self.by_text.get(text).unwrap_or(text).clone().into(),
            Value::Array(all) => all.iter().map(|one| self.put_into(one)).collect(),
            Value::Object(all) => {
                all.iter().map(|(key, one)| (key.clone(), self.put_into(one))).collect()
            }
            other => other.clone(),
        }
    }
}

/// Compares `now` with what was recorded.
///
/// # Errors
/// Each difference, with its field.
pub fn compare(
    recorded: &Value,
    now: &Value,
    of_the_day: OfTheDay,
    stand_ins: &StandIns,
) -> Result<StandIns, Vec<String>> {
    let learnt = stand_ins.clone();
    let mut comparison = Comparison { of_the_day, known: stand_ins, learnt, found: Vec::new() };
    comparison.walk(recorded, now, "");
    if comparison.found.is_empty() { Ok(comparison.learnt) } else { Err(comparison.found) }
}

struct Comparison<'a> {
    of_the_day: OfTheDay,
    known: &'a StandIns,
    learnt: StandIns,
    found: Vec<String>,
}

impl Comparison<'_> {
    fn walk(&mut self, recorded: &Value, now: &Value, at: &str) {
        let field = self.of_the_day.iter().find(|pattern| matches(pattern, at));
        match (recorded, now) {
            (Value::String(then), Value::String(text)) if field.is_some() && !text.is_empty() => {
                self.learnt.add(then, text);
                self.learnt.by_field.extend(field.map(|field| (*field, text.clone())));
            }
            (Value::Object(then), Value::Object(fields)) => {
                for (key, one) in then {
                    let at = format!("{at}/{key}");
                    match fields.get(key) {
                        Some(now) => self.walk(one, now, &at),
                        None => self.found.push(format!("{at} is missing; it was {one}")),
                    }
                }
                for (key, one) in fields.iter().filter(|(key, _)| !then.contains_key(*key)) {
                    self.found.push(format!("{at}/{key} was not there; it is {one}"));
                }
            }
            (Value::Array(then), Value::Array(all)) if then.len() == all.len() => {
                for (index, (one, now)) in then.iter().zip(all).enumerate() {
                    self.walk(one, now, &format!("{at}/{index}"));
                }
            }
            (then, now) => {
                if then != now && self.known.put_into(then) != *now {
                    let at = if at.is_empty() { "the body" } else { at };
                    self.found.push(format!("{at} is {now}; it was {then}"));
                }
            }
        }
    }
}

fn matches(pattern: &str, at: &str) -> bool {
    let (mut pattern, mut at) = (pattern.split('/'), at.split('/'));
    loop {
        match (pattern.next(), at.next()) {
            (None, None) => return true,
            (Some(expected), Some(key)) if expected == "*" || expected == key => {}
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn fields_of_the_day_are_by_presence_and_all_others_by_what_they_say() {
        let then = json!({"name": "a", "all": [{"at": "noon", "size": 1}]});
        let day: OfTheDay = &["/all/*/at"];
        let none = StandIns::default();
        let found = |now: Value| compare(&then, &now, day, &none).expect_err("differs");
        let good = json!({"all": [{"size": 1, "at": "night"}], "name": "a"});
        let learnt = compare(&then, &good, day, &none).expect("the same");
        assert_eq!(learnt.put_into(&then), good);
        assert_eq!(learnt.of_field("/all/*/at"), Some("night"));
        // What was learnt holds in fields that are not of the day.
        compare(&json!({"it": "noon"}), &json!({"it": "night"}), day, &learnt).expect("the same");
        let now = json!({"name": "b", "all": [{"size": 1}], "more": true});
        let expected = [
            "/name is \"b\"; it was \"a\"",
            "/all/0/at is missing; it was \"noon\"",
            "/more was not there; it is true",
        ];
        assert_eq!(found(now), expected);
        let now = json!({"name": "a", "all": [{"at": "", "size": 1}]});
        assert_eq!(found(now), ["/all/0/at is \"\"; it was \"noon\""]);
        assert_eq!(found(json!({"name": "a", "all": []})).len(), 1);
        assert_eq!(
            found(json!(null)),
            ["the body is null; it was {\"name\":\"a\",\"all\":[{\"at\":\"noon\",\"size\":1}]}"]
        );
    }
}
