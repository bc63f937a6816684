//! Tokens that are taken, and those that somebody would like to be taken.

#[path = "../../tests/signer.rs"]
pub(crate) mod signer;

use serde_json::{Value, json};

use self::signer::{Signer, claims, encode, jwks};
use super::*;

const NOW: u64 = 1_800_000_000;
const ISSUER: &str = "https://idp.example";

fn expectation(audiences: &[&str]) -> Expectation {
    let audiences = audiences.iter().map(|aud| (*aud).to_owned()).collect();
    Expectation { issuer: ISSUER.to_owned(), audiences }
}

fn set(signers: &[&Signer]) -> Keys {
    Keys::read(jwks(signers).as_bytes()).expect("a sound set")
}

/// What becomes of a token, from its text to the end.
fn judge(token: &str, keys: &Keys) -> Result<Claims, Invalid> {
    let read = Unverified::read(token)?;
    read.signed_by(keys)?;
    let ends = expectation(&["api"]).check(read.claims(), NOW)?;
    Ok(Claims::new(read.into_claims(), ends))
}

#[test]
fn each_algorithm_is_taken_with_a_key_that_is_for_it() {
    let algorithms =
        ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"];
    let signers = algorithms.map(|alg| Signer::new(alg, alg));
    let keys = set(&signers.each_ref());
    assert_eq!((keys.len(), keys.left_out().len()), (10, 0));
    for signer in &signers {
        let token = signer.token(&claims(ISSUER, NOW, json!({})));
        judge(&token, &keys).expect(signer.alg);
        // No name: every key that is for the algorithm is tried.
        let header = json!({"alg": signer.alg}).to_string();
        let nameless = signer.signed(&header, &claims(ISSUER, NOW, json!({})).to_string());
        judge(&nameless, &keys).expect(signer.alg);
        let others: Vec<&Signer> = signers.iter().filter(|other| other.kid != signer.kid).collect();
        assert_eq!(judge(&token, &set(&others)).err(), Some(Invalid::UnknownKey), "{}", signer.alg);
        // The name of another's key does not make it another's.
        let other = if signer.alg == "ES256" { "EdDSA" } else { "ES256" };
        let header = json!({"alg": signer.alg, "kid": other}).to_string();
        let moved = signer.signed(&header, &claims(ISSUER, NOW, json!({})).to_string());
        assert_eq!(judge(&moved, &keys).err(), Some(Invalid::UnfitKey), "{}", signer.alg);
    }
    assert_eq!(Algorithm::parse("Ed25519"), Some(Algorithm::EdDsa));
}

#[test]
fn what_claims_must_say() {
    let signer = Signer::new("ES256", "a");
    let keys = set(&[&signer]);
    let rows: &[(Value, Option<Invalid>)] = &[
        (json!({}), None),
        (json!({"aud": ["other", "api"]}), None),
        (json!({"aud": "other"}), Some(Invalid::Audience)),
        (json!({"aud": ["other"]}), Some(Invalid::Audience)),
        (json!({"aud": {"api": true}}), Some(Invalid::Audience)),
        (json!({"aud": null}), Some(Invalid::Audience)),
        (json!({"iss": "https://idp.example/"}), Some(Invalid::Issuer)),
        (json!({"iss": ["https://idp.example"]}), Some(Invalid::Issuer)),
        (json!({"iss": null}), Some(Invalid::Issuer)),
        (json!({"exp": null}), Some(Invalid::Endless)),
        (json!({"exp": "1900000000"}), Some(Invalid::Claims)),
        (json!({"exp": -1}), Some(Invalid::Claims)),
        (json!({"exp": [1_900_000_000]}), Some(Invalid::Claims)),
        (json!({"exp": 1e300}), None),
        (json!({"exp": NOW - 59}), None),
        (json!({"exp": NOW - 60}), Some(Invalid::Expired)),
        (json!({"exp": 0}), Some(Invalid::Expired)),
        (json!({"exp": NOW as f64 + 0.5}), None),
        (json!({"nbf": NOW + 60}), None),
        (json!({"nbf": NOW + 61}), Some(Invalid::Early)),
        (json!({"nbf": u64::MAX}), Some(Invalid::Early)),
        (json!({"nbf": "soon"}), Some(Invalid::Claims)),
    ];
    for (more, expected) in rows {
        let token = signer.token(&claims(ISSUER, NOW, more.clone()));
        assert_eq!(judge(&token, &keys).err(), *expected, "{more}");
    }
    let mut endless = claims(ISSUER, NOW, json!({}));
    endless.as_object_mut().expect("an object").remove("exp");
    assert_eq!(judge(&signer.token(&endless), &keys).err(), Some(Invalid::Endless));
    let any = expectation(&[]).check(endless.as_object().expect("one"), NOW);
    assert_eq!(any, Err(Invalid::Endless), "whatever the audience");
}

/// Each is what somebody has let himself in with somewhere.
#[test]
fn attacks_are_no_tokens() {
    let (signer, thief) = (Signer::new("ES256", "a"), Signer::new("ES256", "a"));
    let rsa = Signer::new("RS256", "r");
    let keys = set(&[&signer, &rsa]);
    let body = claims(ISSUER, NOW, json!({})).to_string();
    let token = signer.signed(r#"{"alg":"ES256","kid":"a"}"#, &body);
    let (head, signature) = token.rsplit_once('.').expect("three parts");
    let signed = |header: &str| signer.signed(header, &body);
    let hmac = |header: &str, secret: &[u8]| {
        let text = format!("{}.{}", encode(header.as_bytes()), encode(body.as_bytes()));
        let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, secret);
        let tag = aws_lc_rs::hmac::sign(&key, text.as_bytes());
        format!("{text}.{}", encode(tag.as_ref()))
    };
    let none = |alg: &str| {
        format!(
            "{}.{}.",
            encode(format!("{{\"alg\":\"{alg}\"}}").as_bytes()),
            encode(body.as_bytes())
        )
    };
    let own_key = json!({"alg": "ES256", "jwk": thief.jwk()}).to_string();
    let far_key =
        r#"{"alg":"ES256","kid":"a","jku":"https://evil.example/jwks","x5u":"https://e"}"#;
    let mut der = vec![0x30, 0x44, 0x02, 0x20];
    der.extend([1; 32]);
    der.extend([0x02, 0x20]);
    der.extend([1; 32]);
    let long = format!("{}.{}.{signature}", encode(b"{}"), "A".repeat(MOST_BYTES));
    let rows: Vec<(&str, String, Invalid)> = vec![
        ("none", none("none"), Invalid::Algorithm),
        ("None", none("None"), Invalid::Algorithm),
        ("no algorithm", none(""), Invalid::Algorithm),
        ("the signature left out", format!("{head}."), Invalid::Signature),
        (
            "hmac by the public key",
            hmac(r#"{"alg":"HS256","kid":"a"}"#, &signer.public()),
            Invalid::Algorithm,
        ),
        (
            "hmac by the public RSA key",
            hmac(r#"{"alg":"HS256","kid":"r"}"#, &rsa.public()),
            Invalid::Algorithm,
        ),
        (
            "hmac said to be RSA",
            hmac(r#"{"alg":"RS256","kid":"r"}"#, &rsa.public()),
            Invalid::Signature,
        ),
        ("RSA's name for a curve's key", signed(r#"{"alg":"RS256","kid":"a"}"#), Invalid::UnfitKey),
        ("another curve", signed(r#"{"alg":"ES384","kid":"a"}"#), Invalid::UnfitKey),
        ("crit", signed(r#"{"alg":"ES256","kid":"a","crit":["exp"]}"#), Invalid::Critical),
        ("empty crit", signed(r#"{"alg":"ES256","kid":"a","crit":[]}"#), Invalid::Critical),
        ("b64", signed(r#"{"alg":"ES256","kid":"a","b64":false}"#), Invalid::Critical),
        (
            "a log-out notice",
            signed(r#"{"alg":"ES256","kid":"a","typ":"logout+jwt"}"#),
            Invalid::Type,
        ),
        ("a token within", signed(r#"{"alg":"ES256","kid":"a","cty":"JWT"}"#), Invalid::Type),
        ("encrypted", format!("{token}.a.b"), Invalid::Form),
        ("its own key", thief.signed(&own_key, &body), Invalid::UnknownKey),
        ("its own place of keys", thief.signed(far_key, &body), Invalid::Signature),
        (
            "a path for a name",
            signed(r#"{"alg":"ES256","kid":"../../dev/null"}"#),
            Invalid::UnknownKey,
        ),
        ("SQL for a name", signed(r#"{"alg":"ES256","kid":"a' OR '1'='1"}"#), Invalid::UnknownKey),
        ("a number for a name", signed(r#"{"alg":"ES256","kid":1}"#), Invalid::Header),
        ("a list for a name", signed(r#"{"alg":"ES256","kid":["a"]}"#), Invalid::Header),
        ("two algorithms", signed(r#"{"alg":"none","alg":"ES256","kid":"a"}"#), Invalid::Header),
        ("two names", signed(r#"{"alg":"ES256","kid":"x","kid":"a"}"#), Invalid::Header),
        (
            "somebody else's signature",
            thief.signed(r#"{"alg":"ES256","kid":"a"}"#, &body),
            Invalid::Signature,
        ),
        ("a signature as DER", format!("{head}.{}", encode(&der)), Invalid::Signature),
        ("a signature of zeros", format!("{head}.{}", encode(&[0; 64])), Invalid::Signature),
        ("half a signature", format!("{head}.{}", &signature[..44]), Invalid::Signature),
        ("padding", format!("{token}=="), Invalid::Form),
        ("a space", format!("{token} "), Invalid::Form),
        ("too long", long, Invalid::Long),
        ("one part", encode(body.as_bytes()), Invalid::Form),
        ("two parts", head.to_owned(), Invalid::Form),
        ("four parts", format!("a.{token}"), Invalid::Form),
        ("nothing", String::new(), Invalid::Form),
        ("dots", "..".to_owned(), Invalid::Header),
        (
            "claims that are a list",
            signer.signed(r#"{"alg":"ES256","kid":"a"}"#, "[]"),
            Invalid::Claims,
        ),
        (
            "two issuers",
            signer.signed(
                r#"{"alg":"ES256","kid":"a"}"#,
                &body.replacen('{', r#"{"iss":"https://evil.example","#, 1),
            ),
            Invalid::Claims,
        ),
        (
            "two roles, deep within",
            signer.signed(
                r#"{"alg":"ES256","kid":"a"}"#,
                &body.replacen('{', r#"{"x":[{"role":"a","role":"b"}],"#, 1),
            ),
            Invalid::Claims,
        ),
    ];
    judge(&token, &keys).expect("the sound one");
    for (name, token, expected) in rows {
        assert_eq!(judge(&token, &keys).err(), Some(expected), "{name}: {token}");
    }
    // Each part of one token on the rest of another.
    let other = signer.signed(r#"{"alg":"ES256","kid":"a"}"#, &body.replace("ann", "bob"));
    let (a, b): (Vec<&str>, Vec<&str>) = (token.split('.').collect(), other.split('.').collect());
    for swapped in [[a[0], b[1], a[2]], [a[0], a[1], b[2]]] {
        assert_eq!(judge(&swapped.join("."), &keys).err(), Some(Invalid::Signature));
    }
    // Any one letter.
    for at in (0..token.len()).step_by(7) {
        let mut changed = token.clone().into_bytes();
        changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8(changed).expect("ASCII");
        assert!(judge(&changed, &keys).is_err(), "{at}");
    }
}

#[test]
fn keys_that_are_for_something_else_verify_nothing() {
    let signer = Signer::new("ES256", "a");
    let with = |name: &str, value: Value| {
        let mut key = signer.jwk();
        key[name] = value;
        Keys::read(json!({"keys": [key]}).to_string().as_bytes())
    };
    for (name, value, part) in [
        ("use", json!("enc"), "not for signatures"),
        ("key_ops", json!(["sign"]), "not for verifying"),
        ("alg", json!("ES384"), "`alg` that is not for it"),
        ("alg", json!("HS256"), "`alg` that is not for it"),
        ("crv", json!("secp256k1"), "which is not used here"),
        ("crv", json!("Ed25519"), "which is not used here"),
        ("crv", json!("P-384"), "not of 48 bytes"),
        ("kty", json!("oct"), "which is not used here"),
        ("kty", json!(1), "does not say its kind"),
        ("x", json!("AAAA"), "not of 32 bytes"),
        ("x", json!("!"), "not base64url"),
        ("y", json!(encode(&[1; 32])), "no point of P-256"),
    ] {
        let said = with(name, value.clone()).expect_err(part).to_string();
        assert!(said.contains(part) && said.contains("keys[0]"), "{name} {value}: {said}");
    }
    for part in ["d", "p", "k"] {
        let said = with(part, json!("secret")).expect_err("a secret").to_string();
        assert!(said.contains("private or shared") && !said.contains("secret\""), "{said}");
    }
    assert_eq!(with("use", json!("sig")).expect("sound").len(), 1);
    assert_eq!(with("key_ops", json!(["verify"])).expect("sound").len(), 1);
    let mixed = json!({"keys": [signer.jwk(), {"kty": "oct", "kid": "x"}]}).to_string();
    let mixed = Keys::read(mixed.as_bytes()).expect("one is enough");
    assert_eq!((mixed.len(), mixed.left_out().len()), (1, 1));
    for wrong in ["", "[]", "{}", r#"{"keys": {}}"#, r#"{"keys": [1]}"#] {
        assert_eq!(Keys::read(wrong.as_bytes()).err(), Some(KeysError::Form), "{wrong}");
    }
    assert_eq!(Keys::read(br#"{"keys": []}"#).err(), Some(KeysError::Empty));
    let many = json!({"keys": vec![signer.jwk(); 101]}).to_string();
    assert_eq!(Keys::read(many.as_bytes()).err(), Some(KeysError::Many(101)));
    let small = json!({"keys": [{"kty": "RSA", "n": encode(&[0xff; 128]), "e": "AQAB"}]});
    let said = Keys::read(small.to_string().as_bytes()).expect_err("1024 bits").to_string();
    assert!(said.contains("has 1024 bits"), "{said}");
}

#[test]
fn claims_have_what_rules_ask_for() {
    let all = json!({
        "sub": "ann", "level": 3, "share": 0.5, "big": 9_007_199_254_740_993_u64, "vip": true,
        "roles": ["ops", "admin", 7], "none": null, "empty": [],
        "scope": "read write", "words": "read write",
        "realm_access": {"roles": ["admin"], "deep": {"er": "x"}},
        "https://idp.example/groups": ["a"], "a": {"b.c": "inner"}, "a.b": {"c": "outer"},
    });
    let claims = Claims::new(all.as_object().cloned().expect("an object"), NOW);
    let rows = [
        ("sub", "ann", true),
        ("sub", "an", false),
        ("level", "3", true),
        ("level", "03", false),
        ("share", "0.5", true),
        ("big", "9007199254740993", true),
        ("big", "9007199254740992", false),
        ("vip", "true", true),
        ("vip", "false", false),
        ("vip", "1", false),
        ("roles", "admin", true),
        ("roles", "7", true),
        ("roles", "adm", false),
        ("scope", "write", true),
        ("scope", "read write", true),
        ("scope", "rea", false),
        ("words", "write", false),
        ("realm_access.roles", "admin", true),
        ("realm_access.deep.er", "x", true),
        ("realm_access", "admin", false),
        ("realm_access", "*", true),
        ("https://idp.example/groups", "a", true),
        ("a.b.c", "outer", true),
        ("none", "*", false),
        ("empty", "*", false),
        ("absent", "*", false),
        ("sub", "*", true),
        ("", "*", false),
    ];
    for (name, value, has) in rows {
        let found = claims.have(&ClaimName::new(name), &[Wanted::new("-"), Wanted::new(value)]);
        assert_eq!(found, has, "{name}: {value}");
    }
    let text = |name: &str| claims.text(&ClaimName::new(name)).map(std::borrow::Cow::into_owned);
    assert_eq!(text("roles").as_deref(), Some("ops,admin,7"));
    assert_eq!((text("level").as_deref(), text("realm_access")), (Some("3"), None));
    assert!(!claims.have_ended(NOW + SKEW - 1) && claims.have_ended(NOW + SKEW));
}
