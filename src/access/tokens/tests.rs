//! What requests may come with, and what becomes of them.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use http::request::Parts;
use serde_json::{Value, json};

use super::*;
use crate::access::tests::policy;
use crate::access::{Ask, Policy, Request, What};
use crate::jwt::tests::signer::{Signer, claims, jwks};
use crate::jwt::{Invalid, Keys};
use crate::model::{Reason, SpiffeId, TrustDomain};
use crate::resources::AccessPolicy;
use crate::telemetry::metrics::Registry;
use crate::telemetry::traffic::TrafficMetrics;

const NOW: u64 = 1_800_000_000;
const IDP: &str = "https://idp.example";

fn compiled(policies: &[Arc<AccessPolicy>], tokens: &Tokens) -> Policy {
    let metrics = TrafficMetrics::register(&Registry::default());
    let policy = Policy::with(policies, TrustDomain::default(), &metrics, tokens);
    tokens.settle(&policy.issuers());
    policy
}

/// A policy of these parts, beside `jwt` with a signer's keys.
fn with_keys(signer: &Signer, more: &str, rest: &str) -> String {
    let keys = jwks(&[signer]);
    format!(
        "{{jwt: [{{issuer: {IDP:?}, audiences: [api], jwks: {{inline: '{keys}'}}{more}}}]{rest}}}"
    )
}

fn request(path: &str, headers: &[(&str, &str)]) -> Parts {
    let mut request = http::Request::get(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(()).expect("a request").into_parts().0
}

/// The refusal, and the sentence about it; and the request as the app would get it.
fn judged(policy: &Policy, parts: &Parts) -> (Option<Reason>, String, Parts) {
    let id = SpiffeId::parse("spiffe://cluster.local/ns/shop/sa/web").expect("an id");
    let at = policy.at(80);
    let known = match at.intake().map(|intake| intake.present(parts, NOW, false)) {
        Some(Presented::Known(known)) => known,
        Some(Presented::Waits(_)) => panic!("nobody may wait"),
        None => Known::default(),
    };
    let read = Request::of(parts, at.has_paths()).showing(&known);
    let what = What::Request(&read);
    let ask = Ask { port: 80, source: [10, 0, 0, 1].into(), id: Some(&id), what };
    let decision = policy.decide(&ask);
    let found = (decision.refusal(), decision.sentence(Some(&id)));
    let mut parts = parts.clone();
    if let Some(intake) = at.intake() {
        intake.strip(&known, &mut parts);
        known.credentials.dress(intake.cleared(), &mut parts.headers);
    }
    (found.0, found.1, parts)
}

fn reason(policy: &Policy, parts: &Parts) -> &'static str {
    judged(policy, parts).0.map_or("in", |reason| reason.as_str())
}

fn bearer(token: &str) -> Parts {
    request("/", &[("authorization", &format!("Bearer {token}"))])
}

const ADMINS: &str = ", rules: [{action: allow, from: [{claims: {roles: [admin]}}]}]";

#[test]
fn claims_decide_and_who_shows_none_is_asked_for_a_token() {
    let signer = Signer::new("ES256", "a");
    let policy = compiled(&[policy("shop/a", &with_keys(&signer, "", ADMINS))], &Tokens::default());
    let token = |more: Value| signer.token(&claims(IDP, NOW, more));
    let admin = token(json!({"roles": ["admin"]}));
    assert_eq!(reason(&policy, &bearer(&admin)), "in");
    assert_eq!(reason(&policy, &bearer(&admin)), "in", "and once more, remembered");
    assert_eq!(reason(&policy, &bearer(&token(json!({"roles": ["ops"]})))), "denied");
    assert_eq!(reason(&policy, &bearer(&token(json!({})))), "denied");
    assert_eq!(reason(&policy, &request("/", &[])), "token-missing");
    let (_, said, _) = judged(&policy, &request("/", &[]));
    assert!(said.contains("may not do this without a token"), "{said}");
    let foreign = signer.token(&claims("https://other.example", NOW, json!({"roles": ["admin"]})));
    assert_eq!(reason(&policy, &bearer(&foreign)), "token-invalid");
    // A scheme of another kind is no token.
    assert_eq!(reason(&policy, &request("/", &[("authorization", "Basic YTpi")])), "token-missing");
    for odd in ["bearer", "BEARER"] {
        let odd = request("/", &[("authorization", &format!("{odd} {admin}"))]);
        assert_eq!(reason(&policy, &odd), "in");
    }
}

#[test]
fn a_bad_token_is_refused_where_none_is_needed() {
    let signer = Signer::new("EdDSA", "a");
    let policy = compiled(&[policy("shop/a", &with_keys(&signer, "", ""))], &Tokens::default());
    assert_eq!(reason(&policy, &request("/", &[])), "in");
    assert_eq!(reason(&policy, &bearer("")), "in", "an empty one is none");
    let expired = signer.token(&claims(IDP, NOW, json!({"exp": NOW - 61})));
    let (found, said, _) = judged(&policy, &bearer(&expired));
    assert_eq!((found, said.as_str()), (Some(Reason::TokenInvalid), "the token has expired"));
    for bad in ["x", "a.b.c", "..", &"x".repeat(20_000)] {
        assert_eq!(reason(&policy, &bearer(bad)), "token-invalid");
    }
    let sound = signer.token(&claims(IDP, NOW, json!({})));
    let twice = |second: &str| {
        let (first, second) = (format!("Bearer {sound}"), format!("Bearer {second}"));
        request("/", &[("authorization", &first), ("authorization", &second)])
    };
    assert_eq!(reason(&policy, &twice(&sound)), "in", "the same twice is one");
    let (_, said, _) = judged(&policy, &twice("x"));
    assert!(said.contains("several tokens"), "{said}");
    let text = http::HeaderValue::from_bytes(b"Bearer \xff").expect("a value");
    let mut unreadable = request("/", &[]);
    unreadable.headers.insert("authorization", text);
    assert_eq!(reason(&policy, &unreadable), "token-invalid");
}

#[test]
fn who_is_denied_anyway_is_not_asked_for_a_token() {
    let signer = Signer::new("ES256", "a");
    let rows = [
        (", rules: [{action: allow, from: [{claims: {a: b}}], to: [{paths: [/x]}]}]", "denied"),
        (", rules: [{action: deny}, {action: allow, from: [{claims: {a: b}}]}]", "denied"),
        (", rules: [{action: allow, from: [{claims: {a: b}, namespaces: [far]}]}]", "denied"),
        (", rules: [{action: allow, from: [{apiKeys: [k]}]}]", "denied"),
        (", default: deny", "denied"),
        (
            ", rules: [{action: allow, from: [{claims: {a: b}, namespaces: [shop]}]}]",
            "token-missing",
        ),
        // Leaving the token out is no way round a rule that denies by what it says.
        (", rules: [{action: deny, from: [{claims: {a: b}}]}]", "token-missing"),
        (", default: deny, rules: [{action: deny, from: [{claims: {a: b}}]}]", "denied"),
        (", mode: observe, rules: [{action: allow, from: [{claims: {a: b}}]}]", "in"),
    ];
    for (rest, expected) in rows {
        let policy =
            compiled(&[policy("shop/a", &with_keys(&signer, "", rest))], &Tokens::default());
        assert_eq!(reason(&policy, &request("/", &[])), expected, "{rest}");
    }
    let denied = ", rules: [{action: deny, from: [{claims: {a: [b]}}]}]";
    let policy = compiled(&[policy("shop/a", &with_keys(&signer, "", denied))], &Tokens::default());
    for (value, expected) in [("b", "denied"), ("c", "in")] {
        let token = signer.token(&claims(IDP, NOW, json!({"a": value})));
        assert_eq!(reason(&policy, &bearer(&token)), expected);
    }
}

#[test]
fn a_token_is_found_where_it_may_stand_and_the_app_gets_what_it_should() {
    let signer = Signer::new("ES256", "a");
    let token = signer.token(&claims(IDP, NOW, json!({"roles": ["admin"], "n": "a\nb"})));
    let places = ", from: [{header: x-jwt}, {cookie: token}, {query: t}, {header: authorization}], \
                  claimHeaders: {x-user: sub, x-roles: roles, x-none: absent, x-n: n}";
    let spec = with_keys(&signer, places, ADMINS);
    let policies = [policy("shop/a", &spec)];
    let policy = compiled(&policies, &Tokens::default());
    let cookie = format!("a=b; token=\"{token}\"; c=d");
    let rows = [
        ("/p?q=1", vec![("x-jwt", token.as_str())]),
        ("/p?q=1", vec![("cookie", cookie.as_str())]),
        (&*format!("/p?t={token}&q=1"), vec![]),
        (&*format!("/p?q=1&%74={token}"), vec![]),
    ];
    for (path, mut headers) in rows {
        headers.extend([("x-user", "root"), ("x_user", "root"), ("X-None", "root"), ("x-n", "r")]);
        let (refusal, said, parts) = judged(&policy, &request(path, &headers));
        assert_eq!(refusal, None, "{path} {said}");
        assert_eq!(parts.uri.to_string(), "/p?q=1");
        let all = format!("{:?}", parts.headers);
        assert!(!all.contains(&token) && !all.contains("root"), "{all}");
        assert_eq!(parts.headers["x-user"], "ann");
        assert_eq!(parts.headers["x-roles"], "admin");
        assert!(!parts.headers.contains_key("x-n"), "a line break passes nowhere");
        if headers.iter().any(|(name, _)| *name == "cookie") {
            assert_eq!(parts.headers["cookie"], "a=b; c=d");
        }
    }
    let (_, _, parts) = judged(&policy, &request("/", &[("x-user", "root"), ("a", "b")]));
    assert!(!parts.headers.contains_key("x-user"), "also when no token comes");
    // A place that is not named is not looked at.
    assert_eq!(reason(&policy, &request("/", &[("x-token", &token)])), "token-missing");
    let forward = with_keys(&signer, ", forward: true", "");
    let policies = [self::policy("shop/a", &forward)];
    let (_, _, parts) = judged(&compiled(&policies, &Tokens::default()), &bearer(&token));
    assert_eq!(parts.headers["authorization"], format!("Bearer {token}"));
}

#[test]
fn several_issuers_unite_and_each_vouches_for_its_own() {
    let (one, two) = (Signer::new("ES256", "a"), Signer::new("ES256", "a"));
    let other = with_keys(&two, "", "").replace(IDP, "https://two.example");
    let policies = [policy("shop/one", &with_keys(&one, "", "")), policy("shop/two", &other)];
    let policy = compiled(&policies, &Tokens::default());
    let token = |signer: &Signer, issuer: &str| signer.token(&claims(issuer, NOW, json!({})));
    assert_eq!(reason(&policy, &bearer(&token(&one, IDP))), "in");
    assert_eq!(reason(&policy, &bearer(&token(&two, "https://two.example"))), "in");
    assert_eq!(reason(&policy, &bearer(&token(&two, IDP))), "token-invalid");
    assert_eq!(reason(&policy, &bearer(&token(&one, "https://two.example"))), "token-invalid");
    // One issuer, for two audiences.
    let first = with_keys(&one, "", "").replace("[api]", "[shop]");
    let policies =
        [self::policy("shop/a", &first), self::policy("shop/b", &with_keys(&one, "", ""))];
    let policy = compiled(&policies, &Tokens::default());
    assert_eq!(reason(&policy, &bearer(&token(&one, IDP))), "in");
}

#[test]
fn what_is_remembered_counts_only_where_it_still_would() {
    let (one, two) = (Signer::new("ES256", "a"), Signer::new("ES256", "b"));
    let tokens = Tokens::default();
    let file = "{jwt: [{issuer: 'https://idp.example', jwks: {file: /nowhere/keys.json}}]}";
    let narrow = file.replace("jwks", "audiences: [other], jwks");
    let policies = [policy("shop/a", file), policy("shop/b", "{ports: [81]}")];
    let policy = compiled(&policies, &tokens);
    let token = one.token(&claims(IDP, NOW, json!({})));
    let (_, said, _) = judged(&policy, &bearer(&token));
    assert!(said.contains("have not been fetched yet"), "{said}");
    let rings = || match &tokens.sources().borrow()[..] {
        [Source::Keys(ring)] => Arc::clone(ring),
        other => panic!("{other:?}"),
    };
    let ring = rings();
    let take = |signers: &[&Signer]| {
        let keys = Keys::read(jwks(signers).as_bytes()).map_err(|error| error.to_string());
        ring.take(keys, Instant::now(), SystemTime::now());
    };
    take(&[&one]);
    assert_eq!(reason(&policy, &bearer(&token)), "in");
    take(&[&one, &two]);
    assert_eq!(reason(&policy, &bearer(&token)), "in");
    ring.take(Err("it is down".to_owned()), Instant::now(), SystemTime::now());
    assert_eq!(reason(&policy, &bearer(&token)), "in", "the last good keys stay");
    assert_eq!(ring.facts(Instant::now()).error.as_deref(), Some("it is down"));
    take(&[&two]);
    assert_eq!(reason(&policy, &bearer(&token)), "token-invalid", "its key is gone");
    take(&[&one]);
    // The same keys, for another audience.
    let policies = [self::policy("shop/a", &narrow)];
    let narrower = compiled(&policies, &tokens);
    assert!(Arc::ptr_eq(&ring, &rings()), "keys of one file are read once");
    let (_, said, _) = judged(&narrower, &bearer(&token));
    assert!(said.contains("another audience"), "{said}");
    let again = compiled(&[self::policy("shop/a", file)], &tokens);
    assert_eq!(reason(&again, &bearer(&token)), "in");
    // It ends while it is remembered.
    let at = again.at(80).intake().expect("tokens count");
    let later = |now| match at.present(&bearer(&token), now, false) {
        Presented::Known(known) => known.fault.map(|fault| fault.trouble),
        Presented::Waits(_) => panic!("nobody may wait"),
    };
    assert_eq!(later(NOW + 659), None);
    assert_eq!(later(NOW + 660), Some(Trouble::Invalid(Invalid::Expired)));
}

#[test]
fn an_unknown_key_asks_for_newer_ones_but_a_flood_asks_once() {
    let (one, two) = (Signer::new("ES256", "a"), Signer::new("ES256", "b"));
    let tokens = Tokens::default();
    let spec = "{jwt: [{issuer: 'https://idp.example', jwks: {url: 'https://idp.example/k'}}]}";
    let policy = compiled(&[policy("shop/a", spec)], &tokens);
    let ring = match &tokens.sources().borrow()[..] {
        [Source::Keys(ring)] => Arc::clone(ring),
        other => panic!("{other:?}"),
    };
    let intake = policy.at(80).intake().expect("tokens count");
    let waits =
        |token: &str| matches!(intake.present(&bearer(token), NOW, true), Presented::Waits(_));
    let taken = |signers: &[&Signer]| {
        let keys = Keys::read(jwks(signers).as_bytes()).map_err(|error| error.to_string());
        ring.take(keys, Instant::now(), SystemTime::now());
    };
    let (first, second) =
        (one.token(&claims(IDP, NOW, json!({}))), two.token(&claims(IDP, NOW, json!({}))));
    ring.begin();
    assert!(waits(&first), "the first keys are on their way");
    taken(&[&one]);
    assert!(!waits(&first));
    assert!(waits(&second), "its key may be newer");
    assert!(waits(&second), "the look is under way");
    taken(&[&one]);
    assert!(!waits(&second), "and was a moment ago");
    assert_eq!(reason(&policy, &bearer(&second)), "token-invalid");
    assert!(ring.ask(Instant::now()).is_none());
    assert!(ring.ask(Instant::now() + super::ring::APART).is_some());
    taken(&[&one, &two]);
    assert_eq!(reason(&policy, &bearer(&second)), "in");
    // A signature that is wrong is not a key that is new.
    let forged = format!("{}A", &first[..first.len() - 1]);
    assert!(!waits(&forged));
}

#[test]
fn an_issuer_that_is_asked_is_asked_once_and_its_silence_keeps_out() {
    let tokens = Tokens::default();
    let spec = "{jwt: [{issuer: 'https://idp.example', audiences: [api], introspection: \
                {url: 'https://idp.example/i', clientId: me, clientSecretFile: /s}}], \
                rules: [{action: allow, from: [{claims: {scope: read}}]}]}";
    let policy = compiled(&[policy("shop/a", spec)], &tokens);
    let asker = match &tokens.sources().borrow()[..] {
        [Source::Answers(asker)] => Arc::clone(asker),
        other => panic!("{other:?}"),
    };
    let mut queue = asker.queue().expect("nobody has it");
    let intake = policy.at(80).intake().expect("tokens count");
    let waits =
        |token: &str, now| matches!(intake.present(&bearer(token), now, true), Presented::Waits(_));
    let mut answer = |token: &str, answer: Result<Option<Value>, &str>| {
        assert!(waits(token, NOW) && waits(token, NOW), "{token}");
        let question = queue.try_recv().expect("it was asked");
        assert_eq!(&*question.token, token);
        assert!(queue.try_recv().is_err(), "once");
        let answer = answer.map(|claims| claims.and_then(|of| of.as_object().cloned()));
        question.answer(answer.map_err(str::to_owned), NOW);
    };
    answer("good", Ok(Some(json!({"aud": "api", "scope": "read write"}))));
    assert_eq!(reason(&policy, &bearer("good")), "in");
    for (token, said, part) in [
        ("gone", Ok(None), "not in force"),
        ("far", Ok(Some(json!({"aud": "else"}))), "another audience"),
        ("nobody's", Ok(Some(json!({"scope": "read"}))), "another audience"),
        ("old", Ok(Some(json!({"aud": "api", "exp": NOW - 100}))), "expired"),
        ("alien", Ok(Some(json!({"aud": "api", "iss": "https://evil"}))), "another issuer"),
        ("unheard", Err("no answer"), "could not be asked"),
    ] {
        answer(token, said);
        let (refusal, sentence, _) = judged(&policy, &bearer(token));
        assert_eq!(refusal, Some(Reason::TokenInvalid), "{token}");
        assert!(sentence.contains(part), "{token}: {sentence}");
    }
    assert_eq!(asker.error().as_deref(), Some("no answer"));
    assert!(!waits("good", NOW + 29) && waits("good", NOW + 30), "it is asked about again");
    // Its clock may be set back: nobody knew it then.
    assert!(!waits("good", NOW - 5) && waits("good", NOW - 3600));
    assert!(!waits("gone", NOW - 5) && waits("gone", NOW - 3600));
    drop(queue);
    assert!(!waits("more", NOW), "nobody asks any more");
}

#[test]
fn keys_are_known_by_name_and_go_no_further() {
    // printf %s hunter2 | sha256sum
    let spec = "{apiKeys: {header: x-api-key, sha256: \
                {partner: f52fbd32b2b3b86ff88ef6c490628285f482af15ddcb29541f94bcf526a3f6c7}}, \
                rules: [{action: allow, from: [{apiKeys: [partner]}]}]}";
    let policies = [policy("shop/a", spec)];
    let policy = compiled(&policies, &Tokens::default());
    let with = |keys: &[&str]| {
        let headers: Vec<(&str, &str)> = keys.iter().map(|key| ("x-api-key", *key)).collect();
        request("/", &headers)
    };
    let (refusal, _, parts) = judged(&policy, &with(&["hunter2"]));
    assert!(refusal.is_none() && !parts.headers.contains_key("x-api-key"));
    for bad in ["hunter3", "", "partner"] {
        let (refusal, said, _) = judged(&policy, &with(&[bad]));
        assert_eq!(
            (refusal, said.as_str()),
            (Some(Reason::TokenInvalid), "the API key is not known")
        );
    }
    assert_eq!(reason(&policy, &with(&["hunter2", "hunter2"])), "token-invalid");
    assert_eq!(reason(&policy, &with(&[])), "token-missing");
    let (_, said, _) = judged(&policy, &with(&[]));
    assert!(said.contains("without an API key"), "{said}");
    // Keys of two policies in one header.
    let more = spec.replace("partner", "other").replace("f52f", "f52e");
    let policies = [self::policy("shop/b", &more), self::policy("shop/a", spec)];
    let both = compiled(&policies, &Tokens::default());
    assert_eq!(reason(&both, &with(&["hunter2"])), "in");
    assert_eq!(reason(&both, &with(&["hunter3"])), "token-invalid");
}
