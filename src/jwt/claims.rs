//! What a verified token claims, and what rules ask of it.

use std::borrow::Cow;

use serde_json::{Map, Number, Value};

use super::expectation::{self, Expectation};

/// The claims of somebody whose token was verified.
#[derive(Debug)]
pub struct Claims {
    claims: Map<String, Value>,
    /// Seconds since 1970, without the skew.
    ends: u64,
}

/// The name of a claim as policies write it: `sub`, or with dots into what lies within,
/// `realm_access.roles`. A claim whose own name has dots is found all the same, and counts first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimName(Box<str>);

/// A value that a claim may have. Numbers and booleans are compared as JSON writes them; `*` is any.
#[derive(Clone, Debug, PartialEq)]
pub struct Wanted {
    text: Box<str>,
    number: Option<Number>,
}

impl Claims {
    pub fn new(claims: Map<String, Value>, ends: u64) -> Self {
        Self { claims, ends }
    }

    /// Whether they count no longer; `now` in seconds since 1970.
    pub fn have_ended(&self, now: u64) -> bool {
        expectation::has_ended(self.ends, now)
    }

    /// Whether they are of whom is expected, and for whom; whenever they hold.
    pub fn fit(&self, expected: &Expectation) -> bool {
        expected.check_names(&self.claims).is_ok()
    }

    /// Whether a claim has one of these values: itself, as an item of its list, or, of `scope` and
    /// `scp`, as a word.
    pub fn have(&self, name: &ClaimName, wanted: &[Wanted]) -> bool {
        let Some(value) = self.value(name) else { return false };
        let is_wanted = |value: &Value| wanted.iter().any(|wanted| wanted.is(value));
        match value {
            Value::Array(items) => items.iter().any(is_wanted) || !items.is_empty() && any(wanted),
            Value::String(words) if name.has_words() => {
                let is_word = |word: &str| wanted.iter().any(|wanted| &*wanted.text == word);
                is_wanted(value) || words.split(' ').any(is_word)
            }
            value => is_wanted(value),
        }
    }

    /// A claim that is one text, number or boolean, or a list of such, separated by commas.
    pub fn text(&self, name: &ClaimName) -> Option<Cow<'_, str>> {
        match self.value(name)? {
            Value::Array(items) => {
                let texts: Option<Vec<Cow<'_, str>>> = items.iter().map(plain).collect();
                texts.map(|texts| texts.join(",").into())
            }
            value => plain(value),
        }
    }

    fn value(&self, ClaimName(name): &ClaimName) -> Option<&Value> {
        within(&self.claims, name).filter(|value| !value.is_null())
    }
}

fn any(wanted: &[Wanted]) -> bool {
    wanted.iter().any(|wanted| &*wanted.text == "*")
}

fn plain(value: &Value) -> Option<Cow<'_, str>> {
    match value {
        Value::String(text) => Some(Cow::Borrowed(text)),
        Value::Bool(_) | Value::Number(_) => Some(value.to_string().into()),
        _ => None,
    }
}

/// The longest name that is there counts.
fn within<'v>(object: &'v Map<String, Value>, name: &str) -> Option<&'v Value> {
    if let Some(value) = object.get(name) {
        return Some(value);
    }
    let mut before = name;
    while let Some(at) = before.rfind('.') {
        before = &name[..at];
        if let Some(Value::Object(inner)) = object.get(before)
            && let Some(value) = within(inner, &name[at + 1..])
        {
            return Some(value);
        }
    }
    None
}

impl ClaimName {
    pub fn new(name: &str) -> Self {
        Self(name.into())
    }

    /// Some claims are lists of words (RFC 8693, 4.2).
    fn has_words(&self) -> bool {
        matches!(&*self.0, "scope" | "scp")
    }
}

impl Wanted {
    pub fn new(text: &str) -> Self {
        Self { text: text.into(), number: serde_json::from_str(text).ok() }
    }

    fn is(&self, value: &Value) -> bool {
        match value {
            _ if &*self.text == "*" => true,
            Value::String(text) => **text == *self.text,
            Value::Bool(value) => *self.text == *if *value { "true" } else { "false" },
            Value::Number(number) => self.number.as_ref() == Some(number),
            Value::Null | Value::Array(_) | Value::Object(_) => false,
        }
    }
}
