//! Join tokens: what can be made, what is shown of it, and how it ends.

use std::error::Error;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use super::*;
use crate::control::catalog::Token;
use crate::control::grant::Grant;
use crate::control::tokens::Minted;
use crate::wire::v1::tokens_server::Tokens as _;

#[derive(Default)]
struct Numbered(AtomicUsize);

impl Mint for Numbered {
    fn mint(
        &self,
        grant: &Grant,
        now: SystemTime,
        ttl: Duration,
    ) -> Result<Minted, Box<dyn Error + Send + Sync>> {
        if grant.service_account == "unlucky" {
            return Err("the key is locked".into());
        }
        let id = format!("t-{}", self.0.fetch_add(1, Ordering::Relaxed));
        Ok(Minted { token: format!("secret of {id}"), id, expires: now + ttl })
    }
}

fn tokens(bench: &Bench) -> Tokens {
    let store: Arc<dyn Store> = Arc::clone(&bench.store) as _;
    Tokens::new(Arc::clone(&bench.catalog), store, Arc::new(Numbered::default()))
}

fn wish() -> v1::CreateTokenRequest {
    v1::CreateTokenRequest {
        namespace: "shop".into(),
        service_account: "web".into(),
        labels: [("app".into(), "web".into())].into(),
        address: "10.0.0.5/24".into(),
        ttl_ms: 3_600_000,
        uses: 3,
    }
}

async fn listed(tokens: &Tokens) -> Vec<v1::Token> {
    let answer = tokens.list(Request::new(v1::ListTokensRequest {})).await.expect("a list");
    answer.into_inner().tokens
}

async fn made(tokens: &Tokens, wish: v1::CreateTokenRequest) -> v1::CreateTokenResponse {
    tokens.create(Request::new(wish)).await.expect("a token").into_inner()
}

#[tokio::test]
async fn a_token_is_held_before_it_is_shown_and_without_its_text() {
    let bench = Bench::new();
    let tokens = tokens(&bench);
    let answer = made(&tokens, wish()).await;
    assert_eq!((answer.id.as_str(), answer.token.as_str()), ("t-0", "secret of t-0"));
    let stored: Token = serde_json::from_slice(&bench.store.records()[0].value).expect("a token");
    assert_eq!(stored.grant.address.as_deref(), Some("10.0.0.0/24"));
    assert_eq!(stored.uses_left, 3);
    for record in bench.store.records() {
        assert!(!String::from_utf8_lossy(&record.value).contains("secret"));
    }
    let shown = listed(&tokens).await;
    assert_eq!(shown.len(), 1);
    let v1::Token { id, namespace, service_account, labels, address, expires_ms, uses_left } =
        &shown[0];
    assert_eq!((id.as_str(), namespace.as_str(), service_account.as_str()), ("t-0", "shop", "web"));
    assert_eq!((labels, address.as_str(), *uses_left), (&wish().labels, "10.0.0.0/24", 3));
    assert_eq!(*expires_ms, stored.expires_ms);
}

#[tokio::test]
async fn addresses_are_kept_in_one_spelling() {
    let bench = Bench::new();
    let tokens = tokens(&bench);
    let rows = [
        ("", ""),
        ("10.0.0.5", "10.0.0.5/32"),
        ("10.1.2.3/8", "10.0.0.0/8"),
        ("FD00:0::1/16", "fd00::/16"),
        ("::ffff:10.0.0.5", "10.0.0.5/32"),
        ("::ffff:10.0.0.5/120", "10.0.0.0/24"),
        ("::/0", "::/0"),
    ];
    for (written, kept) in rows {
        let id =
            made(&tokens, v1::CreateTokenRequest { address: written.into(), ..wish() }).await.id;
        let stored = bench.catalog.token(&id).expect("held").value;
        assert_eq!(stored.grant.address.clone().unwrap_or_default(), kept, "{written}");
    }
}

#[tokio::test]
async fn everything_that_is_wrong_is_said_at_once() {
    let bench = Bench::new();
    let tokens = tokens(&bench);
    let wrong = v1::CreateTokenRequest {
        namespace: "Shop".into(),
        service_account: "-".into(),
        labels: [("a b".into(), "x".into()), ("app".into(), "w/b".into())].into(),
        address: "10.0.0".into(),
        ttl_ms: 999,
        uses: 0,
    };
    let refused = tokens.create(Request::new(wrong)).await.expect_err("refused");
    assert_eq!(refused.code(), Code::InvalidArgument);
    let said: Vec<&str> = refused.message().split("; ").collect();
    let parts = ["\"Shop\"", "\"-\"", "\"a b\"", "\"w/b\"", "\"10.0.0\"", "0.999 s", "uses, not 0"];
    assert_eq!(said.len(), parts.len(), "{said:?}");
    for (said, part) in said.iter().zip(parts) {
        assert!(said.contains(part), "{said} {part}");
    }
    let day = 24 * 3_600_000;
    let rows = [(365 * day, 10_000, true), (365 * day + 1, 1, false), (1_000, 10_001, false)];
    for (ttl_ms, uses, fine) in rows {
        let wish = v1::CreateTokenRequest { ttl_ms, uses, ..wish() };
        assert_eq!(tokens.create(Request::new(wish)).await.is_ok(), fine, "{ttl_ms} {uses}");
    }
    let labels = (0..5_000).map(|n| (format!("-{n}"), String::new())).collect();
    let wish = v1::CreateTokenRequest { labels, ..wish() };
    let refused = tokens.create(Request::new(wish)).await.expect_err("refused");
    assert!(refused.message().len() < 2_000 && refused.message().ends_with("and 4980 more"));
    assert_eq!(bench.store.commits(), 1);
}

#[tokio::test]
async fn what_can_no_longer_be_used_is_not_listed() {
    let bench = Bench::new();
    let tokens = tokens(&bench);
    for _ in 0..3 {
        made(&tokens, wish()).await;
    }
    let mut writes = Vec::new();
    for (id, change) in [("t-0", (0, 1)), ("t-1", (i64::MAX, 0))] {
        let held = bench.catalog.token(id).expect("held");
        let (expires_ms, uses_left) = change;
        let value = Token { expires_ms, uses_left, ..(*held.value).clone() };
        let value = Some(crate::control::catalog::encoded(&value));
        let key = Key { shelf: Shelf::Tokens, name: id.into() };
        writes.push(Write { key, expect: Expect::Version(held.version), value });
    }
    bench.store.commit(writes).await.expect("nobody else");
    let ids: Vec<String> = listed(&tokens).await.into_iter().map(|token| token.id).collect();
    assert_eq!(ids, ["t-2"]);
}

#[tokio::test]
async fn a_revoked_token_is_gone() {
    let bench = Bench::new();
    let tokens = tokens(&bench);
    let id = made(&tokens, wish()).await.id;
    let revoke = |id: &str| Request::new(v1::RevokeTokenRequest { id: id.into() });
    // Somebody uses it at the same time.
    let held = bench.catalog.token(&id).expect("held");
    let used = Token { uses_left: 2, ..(*held.value).clone() };
    let key = Key { shelf: Shelf::Tokens, name: id.as_str().into() };
    let value = Some(crate::control::catalog::encoded(&used));
    bench.store.interfere(vec![Write { key, expect: Expect::Version(held.version), value }]);
    tokens.revoke(revoke(&id)).await.expect("revoked");
    assert!(bench.store.records().is_empty() && bench.catalog.token(&id).is_none());
    let refused = tokens.revoke(revoke(&id)).await.expect_err("gone");
    assert_eq!(refused.code(), Code::NotFound);
}

#[tokio::test]
async fn no_token_is_shown_that_is_not_held() {
    let bench = Bench::new();
    let tokens = tokens(&bench);
    let unlucky = v1::CreateTokenRequest { service_account: "unlucky".into(), ..wish() };
    let refused = tokens.create(Request::new(unlucky)).await.expect_err("unsigned");
    assert_eq!((refused.code(), bench.store.commits()), (Code::Internal, 0));
    bench.store.fail();
    let refused = tokens.create(Request::new(wish())).await.expect_err("unwritten");
    assert_eq!(refused.code(), Code::Unavailable);
    assert!(listed(&tokens).await.is_empty());
}
