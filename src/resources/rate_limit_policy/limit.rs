//! One limit: how many requests, in what time, for each of what.
//!
//! What would limit nobody, or could not be kept for as long as it says, is refused here, so that
//! arithmetic further on can't overflow.

use std::fmt;
use std::time::Duration;

use http::{HeaderName, Method};
use serde_json::{Value, json};

use crate::resources::access_policy::operation::method;
use crate::resources::access_policy::pattern::{PathPattern, path};
use crate::resources::access_policy::rule::{texts, values};
use crate::resources::decode::{Decoder, Fields};
use crate::resources::manifest::object;
use crate::resources::node::{Node, quote};
use crate::resources::scalar::{duration, text_of};
use crate::resources::traffic_policy::words::{count, written};

/// So many requests in so much time, for each key.
#[derive(Clone, Debug, PartialEq)]
pub struct Limit {
    pub key: Key,
    /// From 1, in `per`.
    pub requests: u32,
    pub per: Duration,
    /// How many of them may come at once, from 1; as many as `requests` unless said.
    pub burst: u32,
    /// The requests that count.
    pub matches: Matches,
}

/// What is counted apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Key {
    /// Nothing: all requests together.
    Total,
    /// Whom the caller has proven to be.
    Identity,
    /// The connection's source.
    Ip,
    Header(HeaderName),
    /// Of the caller's token.
    Claim(String),
    /// The name of the caller's key.
    ApiKey,
}

/// The requests that a limit is about. An empty field says nothing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Matches {
    pub methods: Vec<Method>,
    pub paths: Vec<PathPattern>,
}

/// A limit is kept in the sidecar's memory, and gone with it: what is meant to hold for longer
/// belongs elsewhere. A day.
const LONGEST: Duration = Duration::from_secs(86_400);
/// Between two requests; a faster limit is none. Arbitrary.
const SHORTEST_PAUSE_NS: u128 = 100;

const KEY: &str = "one of total, identity, ip, header:<name>, claim:<name>, apiKey";

pub(super) fn decode(node: &Node, decoder: &mut Decoder) -> Option<Limit> {
    let mut fields = Fields::open(node, decoder)?;
    fields.refuse_empty();
    let key = fields.required("key", key);
    let requests = fields.required("requests", count);
    let per = fields.required("per", duration);
    let burst = fields.optional("burst", count);
    let matches = fields.optional("match", matches);
    if let (Some(requests), Some(per)) = (requests, per) {
        let pause_ns = per.as_nanos() / u128::from(requests);
        if per > LONGEST {
            let why = "is longer than a day: what was counted does not outlive the sidecar";
            fields.fault("per", why);
        } else if pause_ns < SHORTEST_PAUSE_NS {
            fields.fault("requests", "is more than 10000000 in a second, which limits nobody");
        }
    }
    fields.close();
    let requests = requests?;
    Some(Limit {
        key: key?,
        requests,
        per: per?,
        burst: burst.unwrap_or(requests),
        matches: matches.unwrap_or_default(),
    })
}

fn key(node: &Node, decoder: &mut Decoder) -> Option<Key> {
    let text = text_of(node, decoder, KEY)?;
    let named = text.split_once(':');
    let fault = |decoder: &mut Decoder, why: String| {
        decoder.fault(&node.at, why);
        None
    };
    match (text, named) {
        ("total", _) => Some(Key::Total),
        ("identity", _) => Some(Key::Identity),
        ("ip", _) => Some(Key::Ip),
        ("apiKey", _) => Some(Key::ApiKey),
        (_, Some(("claim", ""))) => fault(decoder, "names no claim: write claim:sub".to_owned()),
        (_, Some(("claim", name))) => Some(Key::Claim(name.to_owned())),
        (_, Some(("header", "x-outrigger-peer"))) => {
            fault(decoder, "callers can't say who they are: write identity".to_owned())
        }
        (_, Some(("header", name))) => match name.parse() {
            Ok(name) => Some(Key::Header(name)),
            Err(_) => fault(decoder, format!("{} is not the name of a header", quote(name))),
        },
        _ => {
            decoder.expected(KEY, node);
            None
        }
    }
}

fn matches(node: &Node, decoder: &mut Decoder) -> Option<Matches> {
    let mut fields = Fields::open(node, decoder)?;
    fields.refuse_empty();
    let methods = fields.optional("methods", |n, d| values(n, d, method));
    let paths = fields.optional("paths", |n, d| values(n, d, path));
    fields.close();
    let matches =
        Matches { methods: methods.unwrap_or_default(), paths: paths.unwrap_or_default() };
    if decoder.is_clean() && matches == Matches::default() {
        decoder.fault(&node.at, "says nothing; leave out `match` to mean every request");
        return None;
    }
    Some(matches)
}

pub(super) fn spec(limit: &Limit) -> Value {
    let Limit { key, requests, per, burst, matches } = limit;
    let Matches { methods, paths } = matches;
    let which = object([("methods", texts(methods)), ("paths", texts(paths))]);
    object([
        ("key", Some(json!(key.to_string()))),
        ("requests", Some(json!(requests))),
        ("per", Some(json!(written(*per)))),
        ("burst", (burst != requests).then(|| json!(burst))),
        ("match", (*matches != Matches::default()).then_some(which)),
    ])
}

/// As policies write it.
impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Key::Total => f.write_str("total"),
            Key::Identity => f.write_str("identity"),
            Key::Ip => f.write_str("ip"),
            Key::Header(name) => write!(f, "header:{name}"),
            Key::Claim(name) => write!(f, "claim:{name}"),
            Key::ApiKey => f.write_str("apiKey"),
        }
    }
}
