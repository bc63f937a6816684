//! Replicas that come and go, and what they leave to the others.
//!
//! Each is given the time; the shared state is one store in memory.

use std::time::SystemTime;

use serde_json::json;

use super::*;
use crate::control::catalog::Catalog;
use crate::control::grant::Grant;
use crate::control::registrar::Offer;
use crate::control::store::Store;
use crate::control::store::memory::Memory;
use crate::model::{SpiffeId, TrustDomain};

const SECOND: u64 = 1_000_000;

/// One shared state, as each replica sees it.
struct Bench {
    store: Arc<Memory>,
    catalog: Arc<Catalog>,
}

impl Bench {
    fn new() -> Self {
        let store = Arc::new(Memory::default());
        let catalog = Arc::new(Catalog::new(TrustDomain::default(), 0, &[]));
        let follower = Arc::clone(&catalog);
        store.follow(Box::new(move |committed| follower.absorb(committed))).expect("readable");
        Self { store, catalog }
    }

    fn replica(&self) -> Registrar {
        let store = Arc::clone(&self.store) as Arc<dyn Store>;
        let lease = Duration::from_secs(10);
        Registrar::new(Arc::clone(&self.catalog), store, lease, Holders::Replicas, 0)
    }

    fn is_there(&self) -> bool {
        self.catalog.registration("shop/web-1").is_some()
    }
}

async fn register(replica: &Registrar, session: u64) {
    let offer = Offer {
        session,
        identity: SpiffeId::parse("spiffe://cluster.local/ns/shop/sa/web").expect("an id"),
        enrollment: 7,
        connected_from: "10.0.1.1".parse().expect("an address"),
        manifest: json!({"apiVersion": "outrigger.dev/v1alpha1", "kind": "Workload",
            "metadata": {"name": "web-1", "namespace": "shop"},
            "spec": {"address": "10.0.1.1", "serviceAccount": "web"}}),
    };
    let grant = Grant {
        namespace: "shop".into(),
        service_account: "web".into(),
        labels: Default::default(),
        address: None,
    };
    replica.register(offer, &grant, SystemTime::now()).await.expect("taken");
}

/// Looks every [`LOOK`] from `from` on, up to `until` seconds.
async fn looks(replica: &Registrar, from: u64, until: u64) {
    for at in (from..=until).step_by(5) {
        replica.end_strays(at * SECOND).await;
    }
}

#[tokio::test]
async fn what_a_replica_held_that_died_is_ended_by_another_and_not_at_once() {
    let bench = Bench::new();
    let (first, second) = (bench.replica(), bench.replica());
    register(&first, 1).await;
    looks(&second, 0, 145).await;
    assert!(bench.is_there());
    looks(&second, 150, 160).await;
    assert!(!bench.is_there());
}

#[tokio::test]
async fn what_is_kept_up_or_comes_back_stays() {
    let bench = Bench::new();
    let (first, second) = (bench.replica(), bench.replica());
    register(&first, 1).await;
    let versions = || {
        let held = bench.catalog.registration("shop/web-1").expect("registered");
        (held.version, held.since)
    };
    let before = versions();
    for at in (0..600).step_by(30) {
        first.refresh(at * SECOND).await;
        looks(&second, at, at + 25).await;
    }
    assert_eq!(versions(), (before.0 + 20, before.1), "whoever watches is told nothing");
    // The first dies; the sidecar is with the second just in time, and the second keeps it up.
    looks(&second, 600, 725).await;
    register(&second, 1).await;
    let third = bench.replica();
    for at in (725..1325).step_by(30) {
        second.refresh(at * SECOND).await;
        looks(&second, at, at + 25).await;
        looks(&third, at, at + 25).await;
        // The first was only away, and has not noticed that its session is over.
        first.refresh(at * SECOND).await;
    }
    assert!(bench.is_there());
    let version = |replica: &Registrar| replica.held().get("shop/web-1").map(|h| h.version);
    let newest = bench.catalog.registration("shop/web-1").map(|held| held.version);
    assert!(version(&second) == newest && version(&first) < newest, "one holds it");
}

#[tokio::test]
async fn time_that_nobody_saw_and_sidecars_that_wait_end_nothing() {
    let bench = Bench::new();
    let (first, second) = (bench.replica(), bench.replica());
    register(&first, 1).await;
    looks(&second, 0, 10).await;
    looks(&second, 3600, 3610).await;
    assert!(bench.is_there(), "it was stopped meanwhile");
    second.spare(Duration::from_secs(60), 3610 * SECOND);
    looks(&second, 3615, 3810).await;
    assert!(bench.is_there(), "its sidecar may be the one that was told to wait");
    looks(&second, 3815, 3830).await;
    assert!(!bench.is_there());
}

#[tokio::test]
async fn what_was_taken_out_while_its_replica_was_cut_off_is_put_back() {
    let bench = Bench::new();
    let (first, second) = (bench.replica(), bench.replica());
    register(&first, 1).await;
    looks(&second, 0, 160).await;
    assert!(!bench.is_there());
    first.refresh(170 * SECOND).await;
    assert!(bench.is_there());
    // One that is taken back elsewhere is not.
    register(&second, 1).await;
    assert!(second.withdraw(&"shop/web-1".into(), 1, 7).await.expect("written"));
    first.refresh(200 * SECOND).await;
    assert!(!bench.is_there());
}

impl Bench {
    /// Another replica writes the registration once more, right before the next commit: the one
    /// that commits can't have seen it.
    fn another_writes_first(&self) {
        let record = self.store.records().pop().expect("registered");
        let value = Some(record.value);
        self.store.interfere(vec![Write { key: record.key, expect: Expect::Any, value }]);
    }

    /// Somebody takes it out, whoever has it.
    async fn take_out(&self) {
        let key = Key { shelf: Shelf::Registrations, name: "shop/web-1".into() };
        let write = Write { key, expect: Expect::Any, value: None };
        self.store.commit(vec![write]).await.expect("written");
    }
}

#[tokio::test]
async fn what_another_replica_has_by_now_is_not_ended() {
    let name = Arc::from("shop/web-1");
    let bench = Bench::new();
    let first = bench.replica();
    register(&first, 1).await;
    bench.another_writes_first();
    assert!(!first.withdraw(&name, 1, 7).await.expect("no fault"));
    assert!(bench.is_there());

    register(&first, 2).await;
    first.release(&name, 2);
    bench.another_writes_first();
    for at in 0..60 {
        first.expire(at * SECOND / 2).await;
    }
    assert!(bench.is_there(), "its lease ended here alone");
    assert!(!first.lock().contains(&name));
    // What has not moved since ends.
    register(&first, 3).await;
    first.release(&name, 3);
    for at in 60..120 {
        first.expire(at * SECOND / 2).await;
    }
    assert!(!bench.is_there());
}

#[tokio::test]
async fn a_sidecar_that_came_back_is_written_again() {
    let bench = Bench::new();
    let (first, second) = (bench.replica(), bench.replica());
    register(&first, 1).await;
    register(&second, 1).await;
    // The first still believes that its session lives: it must not rest on that.
    register(&first, 2).await;
    let newest = bench.catalog.registration("shop/web-1").map(|held| held.version);
    assert_eq!(newest, Some(3));
    second.release(&"shop/web-1".into(), 1);
    for at in 0..60 {
        second.expire(at * SECOND / 2).await;
    }
    assert!(bench.is_there());
}

#[tokio::test]
async fn what_is_taken_out_while_its_session_lives_is_put_back_unless_it_left() {
    let bench = Bench::new();
    let first = bench.replica();
    register(&first, 1).await;
    bench.take_out().await;
    first.refresh(30 * SECOND).await;
    assert!(!bench.is_there(), "its session may be over, and nobody noticed yet");
    first.refresh(60 * SECOND).await;
    assert!(bench.is_there());
    assert!(first.withdraw(&"shop/web-1".into(), 1, 7).await.expect("written"));
    first.refresh(90 * SECOND).await;
    first.refresh(120 * SECOND).await;
    assert!(!bench.is_there());
}
