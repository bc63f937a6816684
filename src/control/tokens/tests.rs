//! Tokens as they are made, and as others would like to make them.

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, UNIX_EPOCH};

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use rcgen::KeyPair;
use serde_json::{Value, json};

use super::*;
use crate::control::files::tests::Folder;
use crate::control::grant::Grant;
use crate::identity::private_key;

const HOUR: Duration = Duration::from_secs(3600);
const NOW: u64 = 1_767_225_600;

fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(NOW)
}

fn signer(folder: &Folder) -> Signer {
    Signer::open(&folder.0, &TrustDomain::default()).expect("a signer")
}

fn grant() -> Grant {
    Grant {
        namespace: "shop".into(),
        service_account: "web".into(),
        labels: BTreeMap::from([("app".into(), "web".into())]),
        address: Some("10.0.0.0/24".into()),
    }
}

fn claims() -> Value {
    json!({
        "iss": "spiffe://cluster.local",
        "aud": ["outrigger"],
        "sub": "spiffe://cluster.local/ns/shop/sa/web",
        "jti": "1",
        "iat": NOW,
        "exp": NOW + 60,
        "outrigger": {"namespace": "shop", "serviceAccount": "web"},
    })
}

/// What the control plane itself would sign if it said something else.
fn signed(folder: &Folder, claims: &Value) -> String {
    let pem = fs::read(folder.0.join("tokens.key")).expect("a key");
    let der = private_key(&pem).expect("PEM");
    let key = EncodingKey::from_ec_der(der.secret_der());
    encode(&Header::new(Algorithm::ES256), claims, &key).expect("signed")
}

#[test]
fn what_was_granted_is_read_back_after_a_restart() {
    let folder = Folder::new("tokens");
    let minted = signer(&folder).mint(&grant(), now(), HOUR).expect("a token");
    assert_eq!(minted.expires, now() + HOUR);
    assert_eq!(folder.mode("tokens.key"), 0o600);
    let claims = signer(&folder).read(&minted.token, now()).expect("it is ours");
    let expires = now() + HOUR;
    assert_eq!(claims, Claims { id: minted.id.clone(), grant: grant(), expires });
    let second = signer(&folder).mint(&grant(), now(), HOUR).expect("a token");
    assert_ne!(minted.id, second.id);
    assert!(!format!("{minted:?}").contains(&minted.token));
}

#[test]
fn a_token_holds_to_the_second() {
    let folder = Folder::new("tokens");
    let signer = signer(&folder);
    let made = now() + Duration::from_millis(300);
    let minted = signer.mint(&grant(), made, HOUR).expect("a token");
    assert_eq!(minted.expires, now() + HOUR + Duration::from_secs(1));
    let ended = TokenError::Expired { at: minted.expires };
    let early = TokenError::FromTheFuture { issued: now() };
    for (at, expected) in [
        (made, None),
        (minted.expires - Duration::from_millis(1), None),
        (minted.expires, Some(&ended)),
        (minted.expires + HOUR, Some(&ended)),
        (now() - Duration::from_secs(60), None),
        (now() - Duration::from_secs(61), Some(&early)),
    ] {
        assert_eq!(signer.read(&minted.token, at).err().as_ref(), expected);
    }
}

#[test]
fn every_changed_character_is_noticed() {
    let folder = Folder::new("tokens");
    let signer = signer(&folder);
    let token = signer.mint(&grant(), now(), HOUR).expect("a token").token;
    for index in 0..token.len() {
        let other = if token.as_bytes()[index] == b'A' { "B" } else { "A" };
        let mut changed = token.clone();
        changed.replace_range(index..=index, other);
        let refused = signer.read(&changed, now()).expect_err("it was changed");
        let expected = [TokenError::Foreign, TokenError::Malformed, TokenError::Algorithm];
        assert!(expected.contains(&refused), "{index}: {refused:?}");
    }
    for text in ["", ".", "..", "...", &token[..token.len() - 1], &format!("{token}."), "é.é.é"]
    {
        assert!(signer.read(text, now()).is_err(), "{text}");
    }
    let long = "a".repeat(LONGEST + 1);
    assert_eq!(signer.read(&long, now()), Err(TokenError::TooLong(LONGEST + 1)));
}

#[test]
fn only_our_key_and_algorithm_count() {
    let (folder, stranger) = (Folder::new("tokens"), Folder::new("tokens"));
    let (ours, theirs) = (signer(&folder), signer(&stranger));
    let token = theirs.mint(&grant(), now(), HOUR).expect("a token").token;
    assert_eq!(ours.read(&token, now()), Err(TokenError::Foreign));

    // The public key is no secret: who takes it for an HMAC's would take this.
    let pem = fs::read_to_string(folder.0.join("tokens.key")).expect("a key");
    let key = KeyPair::from_pem(&pem).expect("a key");
    for public in [key.public_key_raw().to_vec(), key.public_key_pem().into_bytes()] {
        let header = Header::new(Algorithm::HS256);
        let token = encode(&header, &claims(), &EncodingKey::from_secret(&public));
        let token = token.expect("signed");
        assert_eq!(ours.read(&token, now()), Err(TokenError::Algorithm));
        // The same under a header that says ES256.
        let (_, rest) = token.split_once('.').expect("three parts");
        let ours_head = ours.mint(&grant(), now(), HOUR).expect("a token").token;
        let (head, _) = ours_head.split_once('.').expect("three parts");
        assert_eq!(ours.read(&format!("{head}.{rest}"), now()), Err(TokenError::Foreign));
    }

    // `{"alg":"none","typ":"JWT"}`, with the signature of a good token and without.
    let good = signed(&folder, &claims());
    ours.read(&good, now()).expect("it is ours");
    let parts: Vec<&str> = good.split('.').collect();
    for signature in ["", parts[2]] {
        let none = format!("eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.{}.{signature}", parts[1]);
        assert_eq!(ours.read(&none, now()), Err(TokenError::Malformed));
    }
}

#[test]
fn what_we_signed_for_something_else_is_no_join_token() {
    let folder = Folder::new("tokens");
    let signer = signer(&folder);
    let ours = TrustDomain::default();
    let elsewhere = TokenError::WrongTrustDomain { ours };
    let rows: [(&str, Value, Option<TokenError>); 14] = [
        ("jti", json!("2"), None),
        ("iss", json!("spiffe://other.mesh"), Some(elsewhere)),
        ("aud", json!(["other"]), Some(TokenError::WrongAudience)),
        ("aud", json!(["outrigger", "other"]), Some(TokenError::WrongAudience)),
        ("aud", json!("outrigger"), Some(TokenError::Malformed)),
        ("sub", json!("spiffe://cluster.local/ns/shop/sa/api"), Some(TokenError::Contradiction)),
        (
            "outrigger",
            json!({"namespace": "", "serviceAccount": "web"}),
            Some(TokenError::Contradiction),
        ),
        ("outrigger", json!({"namespace": "shop"}), Some(TokenError::Malformed)),
        ("outrigger", Value::Null, Some(TokenError::Malformed)),
        ("exp", Value::Null, Some(TokenError::Malformed)),
        ("exp", json!("soon"), Some(TokenError::Malformed)),
        ("exp", json!(u64::MAX), Some(TokenError::Malformed)),
        ("iat", json!(u64::MAX), Some(TokenError::Malformed)),
        ("nbf", json!(0), Some(TokenError::Malformed)),
    ];
    for (claim, value, expected) in rows {
        let mut changed = claims();
        changed[claim] = value.clone();
        let read = signer.read(&signed(&folder, &changed), now());
        assert_eq!(read.err(), expected, "{claim}: {value}");
    }
    for claim in ["iss", "aud", "sub", "jti", "iat", "exp", "outrigger"] {
        let mut less = claims();
        less.as_object_mut().expect("an object").remove(claim);
        let read = signer.read(&signed(&folder, &less), now());
        assert_eq!(read, Err(TokenError::Malformed), "without {claim}");
    }
}

#[test]
fn a_token_of_a_mesh_that_was_renamed_is_refused() {
    let folder = Folder::new("tokens");
    let token = signer(&folder).mint(&grant(), now(), HOUR).expect("a token").token;
    let ours = TrustDomain::parse("other.mesh").expect("a trust domain");
    let renamed = Signer::open(&folder.0, &ours).expect("a signer");
    assert_eq!(renamed.read(&token, now()), Err(TokenError::WrongTrustDomain { ours }));
}

#[test]
fn rights_that_cannot_be_are_not_granted() {
    let folder = Folder::new("tokens");
    let signer = signer(&folder);
    let labels = |count: usize, length: usize| {
        (0..count).map(|n| (n.to_string(), "v".repeat(length))).collect()
    };
    let mint = |change: &dyn Fn(&mut Grant), ttl| {
        let mut grant = grant();
        change(&mut grant);
        signer.mint(&grant, now(), ttl)
    };
    mint(&|g| g.labels = labels(64, 60), HOUR).expect("64 labels are fine");
    mint(&|g| g.address = None, HOUR).expect("no address is fine");
    let centuries = HOUR * 24 * 366 * 8000;
    assert!(matches!(mint(&|g| g.labels = labels(65, 1), HOUR), Err(Error::ManyLabels(65))));
    assert!(matches!(mint(&|g| g.labels = labels(8, 1000), HOUR), Err(Error::TooLong(_))));
    assert!(matches!(mint(&|g| g.address = Some("10.0.0.1".into()), HOUR), Err(Error::Address(_))));
    assert!(matches!(mint(&|g| g.namespace = "a/b".into(), HOUR), Err(Error::NoIdentity { .. })));
    for ttl in [Duration::ZERO, centuries, Duration::MAX] {
        assert!(matches!(mint(&|_| {}, ttl), Err(Error::Lifetime)), "{ttl:?}");
    }
}

#[test]
fn a_key_of_another_kind_or_mode_is_refused() {
    let folder = Folder::new("tokens");
    signer(&folder);
    let open = || Signer::open(&folder.0, &TrustDomain::default());
    folder.chmod("tokens.key", 0o644);
    assert!(matches!(open(), Err(Error::File(FileError::KeyExposed { .. }))));
    folder.chmod("tokens.key", 0o600);
    let other = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).expect("a key");
    fs::write(folder.0.join("tokens.key"), other.serialize_pem()).expect("written");
    assert!(matches!(open(), Err(Error::KeyKind { .. })));
    fs::write(folder.0.join("tokens.key"), "").expect("written");
    assert!(matches!(open(), Err(Error::KeyUnusable { .. })));
}

#[test]
fn refusals_say_nothing_of_the_token() {
    let folder = Folder::new("tokens");
    let mut secret = claims();
    secret["sub"] = json!("spiffe://cluster.local/ns/shop/sa/confidential");
    secret["iss"] = json!("spiffe://confidential");
    let signer = signer(&folder);
    let token = signed(&folder, &secret);
    let refused = signer.read(&token, now()).expect_err("another trust domain");
    let texts = format!("{refused} {refused:?}");
    assert!(!texts.contains("confidential") && !texts.contains(&token[..20]), "{texts}");
}
