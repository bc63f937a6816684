//! Tokens: a key verifies what its owner signed and nothing else, and what is taken says in one way
//! what a reader that knows nothing of ours reads in it.
//!
//! An input is read as a token, as a set of keys, and, in two lines, as the header and the claims of
//! a token that is signed here: by the issuer, and by somebody who would like to be it.

#[path = "../../signer.rs"]
mod signer;

use std::sync::LazyLock;

use outrigger::jwt::{Expectation, Keys, MOST_BYTES, SKEW, Unverified};
use serde_json::Value;

use self::signer::{Signer, jwks};

const ISSUER: &str = "https://idp.example";
const AUDIENCE: &str = "api";
const NOW: u64 = 1_800_000_000;

struct Parties {
    issuer: Signer,
    thief: Signer,
    keys: Keys,
    expected: Expectation,
}

static PARTIES: LazyLock<Parties> = LazyLock::new(|| {
    let (issuer, thief) = (Signer::new("ES256", "a"), Signer::new("ES256", "a"));
    let keys = Keys::read(jwks(&[&issuer]).as_bytes()).expect("a sound set");
    let audiences = vec![AUDIENCE.to_owned()];
    Parties { issuer, thief, keys, expected: Expectation { issuer: ISSUER.to_owned(), audiences } }
});

pub fn hold(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    nobody_makes_one_up(text);
    secrets_are_no_sets(text);
    if let Some((header, claims)) = text.split_once('\n') {
        taken_means_sound(header, claims);
    }
}

/// The keys are of this process alone.
fn nobody_makes_one_up(text: &str) {
    if let Ok(read) = Unverified::read(text) {
        assert!(text.len() <= MOST_BYTES && text.split('.').count() == 3, "it was read");
        assert!(read.signed_by(&PARTIES.keys).is_err(), "made up and verified");
    }
}

fn secrets_are_no_sets(text: &str) {
    let Ok(set) = Keys::read(text.as_bytes()) else { return };
    let plain: Value = serde_json::from_str(text).expect("what is a set is JSON");
    let keys = plain["keys"].as_array().expect("a list");
    assert_eq!(set.len() + set.left_out().len(), keys.len(), "each is there or left out");
    assert!(!set.is_empty(), "a set that lets nobody in");
    for secret in ["d", "p", "q", "dp", "dq", "qi", "oth", "k"] {
        assert!(keys.iter().all(|key| key.get(secret).is_none()), "`{secret}` is taken");
    }
}

fn taken_means_sound(header: &str, claims: &str) {
    let Parties { issuer, thief, keys, expected } = &*PARTIES;
    let stolen = thief.signed(header, claims);
    if let Ok(read) = Unverified::read(&stolen) {
        assert!(read.signed_by(keys).is_err(), "another's signature: {header}");
    }
    let token = issuer.signed(header, claims);
    let Ok(read) = Unverified::read(&token) else { return };
    let (head, body) = (plain(header), plain(claims));
    assert_eq!(read.issuer(), body["iss"].as_str(), "{claims}");
    if read.signed_by(keys).is_err() {
        assert_ne!(head["alg"].as_str(), Some("ES256").filter(|_| head["kid"] == "a"), "{header}");
        return;
    }
    assert_eq!(head["alg"], "ES256", "{header}");
    assert!(head.get("crit").is_none() && head.get("b64").is_none(), "{header}");
    let Ok(ends) = expected.check(read.claims(), NOW) else { return };
    assert!(ends.saturating_add(SKEW) > NOW && body["exp"].is_number(), "{claims}");
    assert_eq!(body["iss"], ISSUER, "{claims}");
    let is_for = |aud: &Value| aud == AUDIENCE;
    let audiences =
        body["aud"].as_array().map_or_else(|| is_for(&body["aud"]), |all| all.iter().any(is_for));
    assert!(audiences, "{claims}");
    let begins = body["nbf"].as_f64().unwrap_or_default();
    assert!(begins <= (NOW + SKEW + 1) as f64, "{claims}");
    let later = expected.check(read.claims(), ends.saturating_add(SKEW));
    assert!(later.is_err(), "it does not end: {claims}");
}

fn plain(text: &str) -> Value {
    serde_json::from_str(text).expect("what is read is JSON")
}
