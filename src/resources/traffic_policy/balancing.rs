//! `loadBalancing`: which endpoint takes a request.
//!
//! A rule that hashes needs to know what, and no other takes it: a key that nobody hashes would
//! look like stickiness that isn't there.

use serde_json::{Value, json};

use super::words::{header_name, only_true, threshold, written};
use crate::model::{Balancing, BalancingPolicy, HashOn};
use crate::resources::decode::{Decoder, Fields};
use crate::resources::manifest::object;
use crate::resources::node::Node;
use crate::resources::scalar::{choice, duration, parsed};

#[derive(Clone, Copy)]
enum Word {
    Plain(fn() -> BalancingPolicy),
    Hashing(fn(HashOn) -> BalancingPolicy),
}

const WORDS: &[(&str, Word)] = &[
    ("peakEwma", Word::Plain(|| BalancingPolicy::PeakEwma)),
    ("leastRequest", Word::Plain(|| BalancingPolicy::LeastRequest)),
    ("roundRobin", Word::Plain(|| BalancingPolicy::RoundRobin)),
    ("random", Word::Plain(|| BalancingPolicy::Random)),
    ("ringHash", Word::Hashing(BalancingPolicy::RingHash)),
    ("maglev", Word::Hashing(BalancingPolicy::Maglev)),
];

const LOCALITIES: &[(&str, bool)] = &[("preferZone", true), ("off", false)];

const KEYS: [&str; 5] = ["header", "cookie", "query", "path", "sourceIp"];

pub(super) fn decode(node: &Node, decoder: &mut Decoder) -> Option<Balancing> {
    let usual = Balancing::default();
    let mut fields = Fields::open(node, decoder)?;
    let word = fields.optional("policy", choice(WORDS));
    let hash_on = fields.optional("hashOn", hash_on);
    let prefers_zone = fields.optional("locality", choice(LOCALITIES));
    let warmup = fields.optional("warmup", duration);
    let panic_threshold = fields.optional("panicThreshold", threshold);
    let hashes = matches!(word, Some(Word::Hashing(_)));
    if hashes && fields.is_absent("hashOn") {
        fields.fault("policy", "needs hashOn, which says what the key of a request is");
    }
    let is_clear = word.is_some() || fields.is_absent("policy");
    if is_clear && !hashes && !fields.is_absent("hashOn") {
        fields.fault("hashOn", "only ringHash and maglev hash; choose one of them or remove it");
    }
    fields.close();
    let policy = match word {
        None => usual.policy,
        Some(Word::Plain(policy)) => policy(),
        Some(Word::Hashing(policy)) => policy(hash_on?),
    };
    let prefers_zone = prefers_zone.unwrap_or(usual.prefers_zone);
    Some(Balancing { policy, prefers_zone, warmup, panic_threshold })
}

fn hash_on(node: &Node, decoder: &mut Decoder) -> Option<HashOn> {
    let mut fields = Fields::open(node, decoder)?;
    let header = fields.optional("header", header_name).map(HashOn::Header);
    let cookie = fields.optional("cookie", cookie);
    let query = fields.optional("query", query).map(|name| HashOn::Query(name.into()));
    let path = fields.optional("path", only_true).map(|()| HashOn::Path);
    let source_ip = fields.optional("sourceIp", only_true).map(|()| HashOn::SourceIp);
    let given = KEYS.iter().filter(|key| !fields.is_absent(key)).count();
    fields.close();
    if given != 1 {
        let keys = KEYS.join(", ");
        decoder.fault(&node.at, format!("names {given} keys; name exactly one of {keys}"));
    }
    header.or(cookie).or(query).or(path).or(source_ip)
}

fn query(node: &Node, decoder: &mut Decoder) -> Option<String> {
    let name = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    parsed(node, decoder, "the name of a query parameter", name)
}

fn cookie(node: &Node, decoder: &mut Decoder) -> Option<HashOn> {
    let mut fields = Fields::open(node, decoder)?;
    let name = fields.required("name", cookie_name);
    let path = fields.optional("path", cookie_path);
    let ttl = fields.optional("ttl", duration);
    if ttl.is_some_and(|ttl| ttl.subsec_nanos() > 0) {
        fields.fault("ttl", "cookies live whole seconds");
    }
    fields.close();
    Some(HashOn::Cookie { name: name?.into(), path: path.map(Into::into), ttl })
}

/// A token (RFC 6265, 4.1.1), which is also what a header's name is.
fn cookie_name(node: &Node, decoder: &mut Decoder) -> Option<String> {
    let is_token = |text: &str| http::HeaderName::from_bytes(text.as_bytes()).is_ok();
    parsed(node, decoder, "a cookie's name, without spaces, `=` or `;`", |text| {
        is_token(text).then(|| text.to_owned())
    })
}

/// RFC 6265, 4.1.1: anything but controls and `;`; it holds for nothing unless it begins with `/`.
fn cookie_path(node: &Node, decoder: &mut Decoder) -> Option<String> {
    let is_legal = |b: u8| (b' '..=b'~').contains(&b) && b != b';';
    parsed(node, decoder, "a path such as /", |text| {
        (text.starts_with('/') && text.bytes().all(is_legal)).then(|| text.to_owned())
    })
}

pub(super) fn print(balancing: &Balancing) -> Value {
    let Balancing { policy, prefers_zone, warmup, panic_threshold } = balancing;
    let locality = LOCALITIES.iter().find(|(_, prefers)| prefers == prefers_zone);
    object([
        ("policy", Some(json!(policy.as_str()))),
        ("hashOn", policy.hash_on().map(print_hash_on)),
        ("locality", locality.map(|(word, _)| json!(word))),
        ("warmup", warmup.map(|warmup| json!(written(warmup)))),
        ("panicThreshold", panic_threshold.map(|percent| json!(percent))),
    ])
}

fn print_hash_on(on: &HashOn) -> Value {
    match on {
        HashOn::Header(name) => json!({"header": name.as_str()}),
        HashOn::Query(name) => json!({"query": &**name}),
        HashOn::Path => json!({"path": true}),
        HashOn::SourceIp => json!({"sourceIp": true}),
        HashOn::Cookie { name, path, ttl } => {
            let cookie = object([
                ("name", Some(json!(&**name))),
                ("path", path.as_ref().map(|path| json!(&**path))),
                ("ttl", ttl.map(|ttl| json!(written(ttl)))),
            ]);
            json!({"cookie": cookie})
        }
    }
}
