//! The forms of text that decoders know, as patterns.
//!
//! A decoder names a form by the sentence that it shows for anything else; here each sentence has
//! what a schema can say of it. A pattern takes all that the decoder takes, and as little else as a
//! regular expression can tell.

use serde_json::{Map, Value, json};

use super::rules;
use crate::resources::sketch::Note;

/// A form of text.
struct Form {
    /// As the decoder's fault says.
    what: &'static str,
    /// Without anchors; empty: none.
    pattern: &'static str,
    most: Option<u32>,
}

const LABEL: &str = "[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?";
const SUBDOMAIN: &str =
    "[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*";
const HOST: &str =
    "(\\*\\.)?[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*";
const LABEL_VALUE: &str = "[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?";
const DURATION: &str = "([0-9]{1,5}(h|m|s|ms)){1,4}";
/// RFC 9110, 5.6.2.
const TOKEN: &str = "[!#$%&'*+.^_`|~0-9A-Za-z-]+";

const fn form(what: &'static str, pattern: &'static str, most: Option<u32>) -> Form {
    Form { what, pattern, most }
}

const FORMS: &[Form] = &[
    form("text", "", None),
    form(DURATIONS, DURATION, Some(28)),
    form("a name of at most 63 lower-case letters, digits and inner `-`", LABEL, Some(63)),
    form(
        "a name of at most 253 lower-case letters, digits, inner `-` and `.`",
        SUBDOMAIN,
        Some(253),
    ),
    form("a value of at most 63 letters, digits, inner `-`, `_` and `.`", LABEL_VALUE, Some(63)),
    form("a header's name such as x-user", TOKEN, None),
    form("a cookie's name, without spaces, `=` or `;`", TOKEN, None),
    form("a path such as /", "/[ -:<-~]*", None),
    form("the name of a query parameter", "(.|\\n)+", None),
    form("an IP address or a host name, without port", "[0-9A-Za-z_.:%-]+", Some(254)),
    form(
        "a range of statuses within 200-599, such as 520-529",
        "[2-5][0-9]{2}-[2-5][0-9]{2}",
        Some(7),
    ),
    form(
        "a SPIFFE id such as spiffe://cluster.local/ns/default/sa/web, or * for anybody of the mesh",
        "(\\*|spiffe://[a-z0-9._-]+/ns/[A-Za-z0-9._-]+/sa/[A-Za-z0-9._-]+)",
        Some(2048),
    ),
    form(
        "a block of addresses such as 10.0.0.0/8 or fd00::/8",
        "[0-9A-Fa-f.:]+(/[0-9]+)?",
        Some(49),
    ),
    form("the name of a key", "(.|\\n)+", None),
    form(
        "one of total, identity, ip, header:<name>, claim:<name>, apiKey",
        "(total|identity|ip|apiKey|header:[!#$%&'*+.^_`|~0-9A-Za-z-]+|claim:(.|\\n)+)",
        None,
    ),
    form(
        "a header's value, or text*, *text or *: printable ASCII without spaces around it, a star only at one end",
        "[ -~]+",
        None,
    ),
    form("an issuer, as the claim `iss` has it", "(.|\\n)+", None),
    form("an audience, as in the claim `aud`", "(.|\\n)+", None),
    form("the name of a client", "(.|\\n)+", None),
    form(
        "a URL such as https://idp.example/jwks.json, without a user in it",
        "https?://[!-~]+",
        None,
    ),
    form("a JWK set, as JSON in a text", "", None),
    form("a path", "(.|\\n)+", None),
    form("the name of a header", TOKEN, None),
    form("what stands before the token, such as \"Bearer \"", "[ -~]*", Some(64)),
    form("the name of a cookie", "[A-Za-z0-9._-]+", None),
    form("a method such as GET", "[!#$%&'*+.^_`|~0-9A-Z-]+", None),
    form("a path such as /api/* or /users/{id}", "/[!-~]*", None),
    form("a host name or *.example.com, in lower case, without port", HOST, Some(255)),
    form("a service such as api, api.shop or api.shop:80", "[0-9A-Za-z.-]+(:[0-9]+)?", Some(300)),
];

/// The form that has a rule of its own: zero never means off.
const DURATIONS: &str = "a duration such as 250ms, 1s or 5m";

/// What a schema says of a place that takes text or words, or both.
pub(super) fn limits(notes: &[Note]) -> Map<String, Value> {
    let words = notes.iter().find_map(|note| match note {
        Note::Words(words) => Some(words),
        _ => None,
    });
    let form = notes.iter().find_map(|note| match note {
        Note::Text(what) => FORMS.iter().find(|form| form.what == what),
        _ => None,
    });
    let mut schema = Map::new();
    match (words, form) {
        (Some(words), None) => schema.extend([("enum".into(), json!(words))]),
        (words, Some(form)) => schema.extend(pattern(words, form)),
        (None, None) => {}
    }
    schema
}

fn pattern(words: Option<&Vec<String>>, form: &Form) -> Map<String, Value> {
    let mut schema = Map::new();
    schema.extend(form.most.map(|most| ("maxLength".into(), json!(most))));
    let words = words.map_or(&[][..], Vec::as_slice);
    if !form.pattern.is_empty() {
        let all: Vec<&str> = words.iter().map(String::as_str).chain([form.pattern]).collect();
        let text = if words.is_empty() { all.concat() } else { format!("({})", all.join("|")) };
        schema.insert("pattern".into(), json!(format!("^{text}$")));
    }
    if form.what == DURATIONS {
        let words = words.iter().map(|word| format!("self == '{word}' || ")).collect::<String>();
        let rule = format!("{words}duration(self) > duration('0s')");
        let why = "zero never means off; leave the field out";
        schema.insert(rules::KEY.into(), json!([{"rule": rule, "message": why}]));
    }
    schema
}

/// Of a label's value, which may be empty.
pub(super) fn label_value() -> Map<String, Value> {
    let pattern = json!(format!("^({LABEL_VALUE})?$"));
    [("maxLength".into(), json!(63)), ("pattern".into(), pattern)].into_iter().collect()
}

/// Whether a decoder's sentence is known here.
#[cfg(test)]
pub(super) fn is_known(what: &str) -> bool {
    FORMS.iter().any(|form| form.what == what)
}
