//! Sessions in the ledger: listed while they live, and what each is known to have.

use super::*;

fn facts(workload: &str, ends: SystemTime) -> SessionFacts {
    SessionFacts {
        identity: SpiffeId::parse("spiffe://cluster.local/ns/shop/sa/web").expect("an id"),
        workload: workload.to_owned(),
        address: "10.0.0.1:4321".parse().expect("an address"),
        software: "outrigger-proxy 0.1.0".to_owned(),
        certificate_begins: SystemTime::UNIX_EPOCH,
        certificate_ends: ends,
        acknowledges_bundles: true,
    }
}

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

#[test]
fn a_session_is_listed_until_its_entry_is_dropped() {
    let sessions = Arc::new(Sessions::default());
    let b = sessions.enter(facts("b.shop", at(100)));
    let a = sessions.enter(facts("a.shop", at(100)));
    let again = sessions.enter(facts("a.shop", at(200)));
    let listed = || -> Vec<(String, SystemTime)> {
        let rows = sessions.list().into_iter();
        rows.map(|s| (s.facts.workload, s.facts.certificate_ends)).collect()
    };
    let row = |name: &str, ends| (name.to_owned(), at(ends));
    assert_eq!(listed(), [row("a.shop", 100), row("a.shop", 200), row("b.shop", 100)]);
    drop(a);
    again.renewed(at(50), at(300));
    assert_eq!(listed(), [row("a.shop", 300), row("b.shop", 100)]);
    assert_eq!(sessions.list()[0].facts.certificate_begins, at(50));
    drop((b, again));
    assert_eq!(listed(), []);
    let counts = SessionCounts { entered: 3, ..SessionCounts::default() };
    assert_eq!(sessions.counts(), counts);
}

#[test]
fn versions_only_grow_and_a_refusal_lasts_until_something_newer_is_taken() {
    let sessions = Arc::new(Sessions::default());
    let entry = sessions.enter(facts("a.shop", at(1)));
    let now = || sessions.list().remove(0);
    entry.subscribed(3);
    entry.sent(7);
    entry.sent(5);
    assert_eq!((now().subscriptions, now().sent, now().acknowledged), (3, 7, 0));
    entry.refused(7, vec!["no such filter".to_owned()]);
    let refused = Refused { version: 7, errors: vec!["no such filter".to_owned()] };
    assert_eq!(now().refused.as_ref(), Some(&refused));
    entry.acknowledged(6);
    assert_eq!(now().refused, Some(refused), "an older one says nothing of this one");
    let counts = sessions.counts();
    assert_eq!((counts.live, counts.behind, counts.refusing), (1, 1, 1));
    entry.sent(8);
    entry.acknowledged(8);
    assert_eq!((now().acknowledged, now().refused), (8, None));
    let counts = sessions.counts();
    assert_eq!((counts.live, counts.behind, counts.refusing), (1, 0, 0));
}

#[test]
fn a_bundle_is_taken_when_its_sidecar_says_so_or_renews_after_it() {
    let sessions = Arc::new(Sessions::default());
    let entry = sessions.enter(facts("a.shop", at(1)));
    let now = || sessions.list().remove(0).bundle;
    entry.bundle_sent(2);
    entry.renewed(at(1), at(2));
    assert_eq!(now(), 0, "it would say so");
    entry.bundle_taken(7);
    assert_eq!(now(), 2, "nobody has what nobody sent");
    drop(entry);
    let old = SessionFacts { acknowledges_bundles: false, ..facts("b.shop", at(1)) };
    let entry = sessions.enter(old);
    entry.bundle_sent(2);
    assert_eq!(now(), 0);
    entry.renewed(at(1), at(2));
    entry.bundle_sent(3);
    assert_eq!(now(), 2, "of the third nothing is known");
}

#[test]
fn silence_is_counted_from_the_last_word() {
    let sessions = Arc::new(Sessions::default());
    let entry = sessions.enter(facts("a.shop", at(1)));
    let entered_us = entry.live.since_us;
    entry.live.heard_us.store(entered_us + 1_000_000, Relaxed);
    assert_eq!(entry.live.read(entered_us + 5_000_000).silent_for, Duration::from_secs(4));
    assert_eq!(entry.live.read(entered_us).silent_for, Duration::ZERO);
    entry.live.heard_us.store(0, Relaxed);
    entry.heard();
    assert!(entry.live.heard_us.load(Relaxed) >= entered_us);
}

#[test]
fn what_a_sidecar_writes_is_bounded() {
    let sessions = Arc::new(Sessions::default());
    let entry = sessions.enter(facts("a.shop", at(1)));
    entry.refused(1, vec!["\u{e4}".repeat(100_000); 100]);
    let refused = sessions.list().remove(0).refused.expect("a refusal");
    assert_eq!(refused.errors.len(), ERRORS);
    assert!(refused.errors.iter().all(|error| error.chars().count() == ERROR_CHARS));
}

/// 5,000 of them are about 1 MiB with their names.
#[test]
fn a_session_is_small() {
    assert!(size_of::<Live>() <= 192, "{} bytes", size_of::<Live>());
}
