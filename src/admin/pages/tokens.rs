//! Whose tokens and keys count at a port of the app: where what verifies them comes from, how old it
//! is, and what is wrong. Neither a token nor a key is shown, nor the hash of one.

use std::time::Instant;

use serde_json::{Value, json};

use crate::access::tokens::{By, Intake, Ring, RingFacts};
use crate::resources::access_policy::{KeySource, TokenPlace};

pub fn issuers(intake: &Intake) -> Vec<Value> {
    let all = intake.issuers().map(|(issuer, by)| {
        let written = &issuer.written;
        let verified = match &issuer.by {
            By::Keys(ring) => keys_of(ring),
            By::Answers(asker) => json!({
                "source": asker.written.url.as_str(),
                "asked": true,
                "error": asker.error(),
            }),
        };
        let headers = written.claim_headers.iter();
        json!({
            "issuer": written.expects.issuer,
            "audiences": written.expects.audiences,
            "policy": &*by.title,
            "from": written.from.iter().map(place).collect::<Vec<_>>(),
            "forwarded": written.forward,
            "headers": headers.map(|(name, claim)| format!("{name}: {claim}")).collect::<Vec<_>>(),
            "verifiedBy": verified,
        })
    });
    all.collect()
}

fn keys_of(ring: &Ring) -> Value {
    let RingFacts { keys, left_out, taken, error } = ring.facts(Instant::now());
    let source = match &ring.source {
        KeySource::Url { url, .. } => url.to_string(),
        KeySource::File(file) => file.display().to_string(),
        KeySource::Inline(_) => "inline".to_owned(),
    };
    json!({
        "source": source,
        "keys": keys,
        "leftOut": left_out,
        "ageSeconds": taken.map(|(age, _)| age.as_secs()),
        "error": error,
    })
}

fn place(place: &TokenPlace) -> String {
    match place {
        TokenPlace::Header { name, prefix } if prefix.is_empty() => format!("header {name}"),
        TokenPlace::Header { name, prefix } => format!("header {name}, after {prefix:?}"),
        TokenPlace::Cookie(name) => format!("cookie {name}"),
        TokenPlace::Query(name) => format!("query {name}"),
    }
}

pub fn keys(intake: &Intake) -> Vec<Value> {
    let all = intake.keys().map(|(set, by)| {
        let names: Vec<&str> = set.names().collect();
        json!({"header": set.header.as_str(), "names": names, "policy": &*by.title})
    });
    all.collect()
}
