//! `apiKeys`: who is known by a key in a header.
//!
//! A policy has the SHA-256 of each key, never a key: `printf %s "$KEY" | sha256sum`. Keys are long
//! and random, so that nobody finds one from its hash by guessing.

use http::HeaderName;
use serde_json::{Map, Value, json};

use super::jwt::own_header;
use super::rule::at_most;
use crate::resources::decode::{Decoder, Fields};
use crate::resources::manifest::object;
use crate::resources::node::{Key, Node, Value as Read};
use crate::resources::scalar::text_in;
use crate::resources::sketch::Note;

/// Who is known by which key.
#[derive(Clone, Debug, PartialEq)]
pub struct ApiKeys {
    pub header: HeaderName,
    /// The name that rules use, and the SHA-256 of the key.
    pub sha256: Vec<(String, [u8; 32])>,
}

/// Each is compared with every key that comes. Arbitrary.
const MOST_KEYS: usize = 1_000;

/// The SHA-256 of nothing, which is what a variable that is not set comes to.
const OF_NOTHING: [u8; 4] = [0xe3, 0xb0, 0xc4, 0x42];

pub(super) fn decode(node: &Node, decoder: &mut Decoder) -> Option<ApiKeys> {
    let mut fields = Fields::open(node, decoder)?;
    fields.refuse_empty();
    let header = fields.required("header", own_header);
    let sha256 = fields.required("sha256", keys);
    fields.close();
    Some(ApiKeys { header: header?, sha256: sha256? })
}

fn keys(node: &Node, decoder: &mut Decoder) -> Option<Vec<(String, [u8; 32])>> {
    decoder.note(|| Note::Texts);
    at_most(MOST_KEYS, "keys", node, decoder)?;
    let Read::Map(entries) = &node.value else {
        decoder.expected("a map of names, each with the SHA-256 of a key", node);
        return None;
    };
    if entries.is_empty() {
        decoder.fault(&node.at, "names nobody; leave out `apiKeys` where no key counts");
        return None;
    }
    let mut all: Vec<(String, [u8; 32])> = Vec::with_capacity(entries.len());
    for (key, value) in entries {
        let hash = decoder.field(&key.name, |decoder| hash(key, value, decoder));
        let Some(hash) = hash else { continue };
        if let Some((other, _)) = all.iter().find(|(_, of)| *of == hash) {
            let message = format!("is the same key as that of {other}");
            decoder.field(&key.name, |decoder| decoder.fault(&value.at, message));
        }
        all.push((key.name.clone(), hash));
    }
    (all.len() == entries.len()).then_some(all)
}

/// What is wrong is not shown: it may be the key itself.
fn hash(key: &Key, node: &Node, decoder: &mut Decoder) -> Option<[u8; 32]> {
    if !(1..=253).contains(&key.name.len()) {
        decoder.fault(&key.at, "a key's name has 1 to 253 bytes");
        return None;
    }
    if !matches!(node.value, Read::String(_)) {
        decoder.fault(&node.at, "expected 64 hexadecimal digits in quotes");
        return None;
    }
    let text = text_in(node, decoder, "64 hexadecimal digits")?;
    let Some(hash) = read_hex(text) else {
        let message = "expected 64 hexadecimal digits, the SHA-256 of the key: \
                       printf %s \"$KEY\" | sha256sum";
        decoder.fault(&node.at, message);
        return None;
    };
    if hash.starts_with(&OF_NOTHING) {
        decoder.fault(&node.at, "is the SHA-256 of nothing: the key was empty when it was made");
        return None;
    }
    Some(hash)
}

fn read_hex(text: &str) -> Option<[u8; 32]> {
    let mut hash = [0; 32];
    let digits = text.as_bytes();
    if digits.len() != 64 {
        return None;
    }
    for (byte, pair) in hash.iter_mut().zip(digits.chunks(2)) {
        let digit = |at: usize| (pair[at] as char).to_digit(16);
        *byte = u8::try_from(digit(0)? << 4 | digit(1)?).ok()?;
    }
    Some(hash)
}

/// What it says, in the shape it is written in.
pub(super) fn spec(keys: &ApiKeys) -> Value {
    let hex = |hash: &[u8; 32]| hash.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let all = keys.sha256.iter().map(|(name, hash)| (name.clone(), json!(hex(hash))));
    let all: Map<String, Value> = all.collect();
    object([("header", Some(json!(keys.header.as_str()))), ("sha256", Some(all.into()))])
}
