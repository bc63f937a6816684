//! An issuer of `jwt`, as it is written.

use serde_json::{Map, Value, json};

use super::{Introspection, Judge, Jwt, KeySource, TokenPlace};
use crate::jwt::Expectation;
use crate::resources::access_policy::rule::texts;
use crate::resources::manifest::object;
use crate::resources::traffic_policy::words::written;

/// What it says, in the shape it is written in.
pub(in super::super) fn spec(jwt: &Jwt) -> Value {
    let Jwt { expects: Expectation { issuer, audiences }, judge, from, forward, claim_headers } =
        jwt;
    let headers = claim_headers.iter().map(|(name, claim)| (name.to_string(), json!(claim)));
    let headers: Map<String, Value> = headers.collect();
    let (jwks, introspection) = match judge {
        Judge::Keys(source) => (Some(source_spec(source)), None),
        Judge::Introspection(asked) => (None, Some(introspection_spec(asked))),
    };
    object([
        ("issuer", Some(json!(issuer))),
        ("audiences", texts(audiences)),
        ("jwks", jwks),
        ("introspection", introspection),
        ("from", Some(from.iter().map(place_spec).collect())),
        ("forward", Some(json!(forward))),
        ("claimHeaders", (!headers.is_empty()).then(|| headers.into())),
    ])
}

fn source_spec(source: &KeySource) -> Value {
    match source {
        KeySource::Url { url, ca_file } => object([
            ("url", Some(json!(url.as_str()))),
            ("caFile", ca_file.as_ref().map(|file| json!(file))),
        ]),
        KeySource::Inline(text) => json!({"inline": &**text}),
        KeySource::File(file) => json!({"file": file}),
    }
}

fn introspection_spec(asked: &Introspection) -> Value {
    let Introspection { url, client_id, client_secret_file, ca_file, cache_for } = asked;
    object([
        ("url", Some(json!(url.as_str()))),
        ("clientId", Some(json!(client_id))),
        ("clientSecretFile", Some(json!(client_secret_file))),
        ("caFile", ca_file.as_ref().map(|file| json!(file))),
        ("cacheFor", Some(json!(written(*cache_for)))),
    ])
}

fn place_spec(place: &TokenPlace) -> Value {
    match place {
        TokenPlace::Header { name, prefix } => json!({"header": name.as_str(), "prefix": prefix}),
        TokenPlace::Cookie(name) => json!({"cookie": name}),
        TokenPlace::Query(name) => json!({"query": name}),
    }
}
