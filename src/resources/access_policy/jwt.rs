//! `jwt`: whose tokens count, where they stand in a request, and what the app gets of them.
//!
//! A token is verified by the issuer's keys, or, where it says nothing by itself, by asking the
//! issuer (`introspection`, RFC 7662). Nothing secret is written in a policy: a client's secret
//! stands in a file beside the sidecar.

mod place;
mod print;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderName;

pub(super) use self::place::own_header;
use self::place::{places, usable};
pub(super) use self::print::spec;
use super::rule::{at_most, values};
use crate::jwt::{Expectation, Keys};
use crate::model::Url;
use crate::resources::decode::{Decoder, Fields, distinct_values, list};
use crate::resources::node::{Key, Node, Value as Read, quote};
use crate::resources::scalar::{boolean, duration, parsed, path, text_in, text_of};
use crate::resources::sketch::Note;

/// An issuer, and what is done with its tokens.
#[derive(Clone, Debug, PartialEq)]
pub struct Jwt {
    pub expects: Expectation,
    pub judge: Judge,
    /// At least one.
    pub from: Vec<TokenPlace>,
    /// Whether the app gets the token too.
    pub forward: bool,
    /// Headers for the app, each with the name of the claim that it has.
    pub claim_headers: Vec<(HeaderName, String)>,
}

/// What verifies a token.
#[derive(Clone, Debug, PartialEq)]
pub enum Judge {
    Keys(KeySource),
    Introspection(Introspection),
}

/// Where keys come from.
#[derive(Clone, Debug, PartialEq)]
pub enum KeySource {
    /// Fetched again and again.
    Url { url: Url, ca_file: Option<PathBuf> },
    /// A JWK set, which was found sound.
    Inline(Arc<str>),
    /// Beside the sidecar, and read again when it changes.
    File(PathBuf),
}

/// Asking the issuer.
#[derive(Clone, Debug, PartialEq)]
pub struct Introspection {
    pub url: Url,
    pub client_id: String,
    pub client_secret_file: PathBuf,
    pub ca_file: Option<PathBuf>,
    /// How long an answer holds at most.
    pub cache_for: Duration,
}

/// Where a token stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenPlace {
    /// After the prefix, which may be empty.
    Header {
        name: HeaderName,
        prefix: String,
    },
    Cookie(String),
    Query(String),
}

/// More is a slip of the pen. Arbitrary.
const MOST_ISSUERS: usize = 50;

/// As long as a token that was withdrawn may still be taken. Arbitrary.
const CACHE_FOR: Duration = Duration::from_secs(30);
const MOST_CACHE_FOR: Duration = Duration::from_secs(3600);

const URL: &str = "a URL such as https://idp.example/jwks.json, without a user in it";

pub(super) fn decode(node: &Node, decoder: &mut Decoder) -> Option<Vec<Jwt>> {
    at_most(MOST_ISSUERS, "issuers", node, decoder)?;
    if matches!(&node.value, Read::List(items) if items.is_empty()) {
        decoder.fault(&node.at, "names no issuer; leave out `jwt` where no token counts");
        return None;
    }
    list(node, decoder, issuer)
}

fn issuer(node: &Node, decoder: &mut Decoder) -> Option<Jwt> {
    let mut fields = Fields::open(node, decoder)?;
    fields.refuse_empty();
    let filled = |what| move |n: &Node, d: &mut Decoder| filled(n, d, what);
    let issuer = fields.required("issuer", filled("an issuer, as the claim `iss` has it"));
    let audiences = fields.optional("audiences", audiences);
    let keys = fields.optional("jwks", keys);
    let introspection = fields.optional("introspection", introspection);
    let from = fields.optional("from", places);
    let forward = fields.optional("forward", boolean);
    let claim_headers = fields.optional("claimHeaders", claim_headers);
    match (fields.is_absent("jwks"), fields.is_absent("introspection")) {
        (true, true) => fields.fault(
            "jwks",
            "is missing: write `jwks: {url: …}` where the issuer publishes keys, or \
             `introspection` where it is to be asked about each token",
        ),
        (false, false) => fields.fault(
            "introspection",
            "stands beside `jwks`: a token is verified by one of them; write two issuers",
        ),
        _ => {}
    }
    fields.close();
    let judge = keys.map(Judge::Keys).or(introspection.map(Judge::Introspection))?;
    Some(Jwt {
        expects: Expectation { issuer: issuer?, audiences: audiences.unwrap_or_default() },
        judge,
        from: from.unwrap_or_else(|| vec![TokenPlace::bearer()]),
        forward: forward.unwrap_or(false),
        claim_headers: claim_headers.unwrap_or_default(),
    })
}

fn filled(node: &Node, decoder: &mut Decoder, what: &str) -> Option<String> {
    parsed(node, decoder, what, |text| (!text.is_empty()).then(|| text.to_owned()))
}

fn audiences(node: &Node, decoder: &mut Decoder) -> Option<Vec<String>> {
    if matches!(&node.value, Read::List(items) if items.is_empty()) {
        let message = "names nobody; leave out `audiences` to take tokens for any audience";
        decoder.fault(&node.at, message);
        return None;
    }
    let all = values(node, decoder, |n, d| filled(n, d, "an audience, as in the claim `aud`"))?;
    distinct_values(node, decoder, &all);
    Some(all)
}

fn keys(node: &Node, decoder: &mut Decoder) -> Option<KeySource> {
    let mut fields = Fields::open(node, decoder)?;
    fields.refuse_empty();
    let url = fields.optional("url", url);
    let inline = fields.optional("inline", inline);
    let file = fields.optional("file", path);
    let ca_file = fields.optional("caFile", path);
    let names = ["url", "inline", "file"];
    let said = names.iter().filter(|name| !fields.is_absent(name)).count();
    if fields.is_absent("url") && !fields.is_absent("caFile") {
        fields.fault("caFile", "is about `url`, which is missing");
    }
    fields.close();
    if said != 1 {
        decoder.fault(&node.at, "expected one of `url`, `inline` and `file`");
    }
    let of_url = url.map(|url| KeySource::Url { url, ca_file });
    of_url.or(inline.map(KeySource::Inline)).or(file.map(KeySource::File)).filter(|_| said == 1)
}

/// Keys that come in plaintext could be anybody's.
fn url(node: &Node, decoder: &mut Decoder) -> Option<Url> {
    let url = parsed(node, decoder, URL, Url::parse)?;
    if !url.is_tls && !url.is_local() {
        let message = format!(
            "{} could be answered by anybody on the way: write https, or for a service of the mesh \
             http://127.0.0.1 with the port of an `outbound.upstreams` listener",
            quote(url.as_str())
        );
        decoder.fault(&node.at, message);
        return None;
    }
    Some(url)
}

fn inline(node: &Node, decoder: &mut Decoder) -> Option<Arc<str>> {
    let text = text_of(node, decoder, "a JWK set, as JSON in a text")?;
    match Keys::read(text.as_bytes()) {
        Ok(_) => Some(text.into()),
        // What it holds is not shown: it may be a private key.
        Err(why) => {
            decoder.fault(&node.at, format!("can't be used: {why}"));
            None
        }
    }
}

fn introspection(node: &Node, decoder: &mut Decoder) -> Option<Introspection> {
    let mut fields = Fields::open(node, decoder)?;
    fields.refuse_empty();
    let url = fields.required("url", url);
    let client_id = fields.required("clientId", |n, d| filled(n, d, "the name of a client"));
    let client_secret_file = fields.required("clientSecretFile", path);
    fields.refused(&["clientSecret"], "would show a secret: write `clientSecretFile`");
    let ca_file = fields.optional("caFile", path);
    let cache_for = fields.optional("cacheFor", duration);
    if cache_for.is_some_and(|time| time > MOST_CACHE_FOR) {
        fields
            .fault("cacheFor", "is longer than an hour: a token that is withdrawn counts so long");
    }
    fields.close();
    Some(Introspection {
        url: url?,
        client_id: client_id?,
        client_secret_file: client_secret_file?,
        ca_file,
        cache_for: cache_for.unwrap_or(CACHE_FOR),
    })
}

fn claim_headers(node: &Node, decoder: &mut Decoder) -> Option<Vec<(HeaderName, String)>> {
    decoder.note(|| Note::Texts);
    at_most(super::rule::MOST_VALUES, "headers", node, decoder)?;
    let Read::Map(entries) = &node.value else {
        decoder.expected("a map of headers, each with the name of a claim", node);
        return None;
    };
    let mut all: Vec<(HeaderName, String)> = Vec::with_capacity(entries.len());
    for (key, value) in entries {
        all.extend(decoder.field(&key.name, |decoder| claim_header(key, value, &all, decoder)));
    }
    (all.len() == entries.len()).then_some(all)
}

fn claim_header(
    key: &Key,
    node: &Node,
    before: &[(HeaderName, String)],
    decoder: &mut Decoder,
) -> Option<(HeaderName, String)> {
    let name = usable(&key.name, &key.at, decoder)?;
    if before.iter().any(|(other, _)| *other == name) {
        decoder.fault(&key.at, format!("{name} is named twice"));
        return None;
    }
    let text = text_in(node, decoder, "the name of a claim")?;
    if text.is_empty() {
        decoder.expected("the name of a claim", node);
        return None;
    }
    Some((name, text.to_owned()))
}
