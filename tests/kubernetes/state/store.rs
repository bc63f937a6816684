//! The store in a Secret: several replicas at once, lost answers, damage, and its end of room.

use std::sync::{Arc, Mutex};

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::{DeleteParams, PostParams};
use outrigger::control::kube::state::{OpenError, SECRET, State};
use outrigger::control::store::{CommitError, Committed, Expect, Key, Record, Shelf, Store, Write};
use proptest::collection::vec;
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;

use super::cluster::{Cluster, cluster, eventually};
use super::lossy::lossy;
use model::{Held, Model, key, wish};

#[path = "../../../src/control/store/model.rs"]
mod model;

fn put(name: &str, expect: Expect, value: &str) -> Write {
    Write { key: key(name), expect, value: Some(value.as_bytes().into()) }
}

/// A replica's store, and what its follower made of what it was told.
struct Replica {
    store: State,
    picture: Arc<Mutex<Model>>,
}

impl Replica {
    async fn open(cluster: &Cluster) -> Self {
        Self::over(cluster, cluster.client.clone()).await
    }

    async fn over(cluster: &Cluster, client: kube::Client) -> Self {
        let store = State::open(client, &cluster.namespace).await.expect("opened");
        let picture = Arc::new(Mutex::new(Model::default()));
        let told = Arc::clone(&picture);
        let mut first = picture.lock().expect("alive");
        let sink = move |commit: &Committed| {
            let mut picture = told.lock().expect("alive");
            assert!(commit.revision >= picture.revision, "told in order");
            picture.told(commit);
        };
        let (revision, records) = store.follow(Box::new(sink)).expect("read");
        *first = Model { revision, held: records.iter().map(entry).collect() };
        drop(first);
        Self { store, picture }
    }

    fn told(&self) -> (u64, Held) {
        let picture = self.picture.lock().expect("alive");
        (picture.revision, picture.held.clone())
    }
}

fn entry(record: &Record) -> (String, (u64, String)) {
    let text = String::from_utf8(record.value.to_vec()).expect("text");
    (record.key.name.to_string(), (record.version, text))
}

fn secrets(cluster: &Cluster) -> Api<Secret> {
    Api::namespaced(cluster.client.clone(), &cluster.namespace)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_history_is_a_maps_for_two_replicas_in_turn() {
    let Some(cluster) = cluster().await else { return };
    let mut runner = TestRunner::deterministic();
    let histories = vec((vec(wish(), 0..4), 0..2usize, 0..12u8), 1..25);
    for case in 0..12 {
        let history = histories.new_tree(&mut runner).expect("a history").current();
        let namespace = format!("{}-{case}", cluster.namespace);
        cluster.make_namespace(&namespace).await;
        let own = Cluster { client: cluster.client.clone(), namespace };
        let mut replicas = [Replica::open(&own).await, Replica::open(&own).await];
        let mut model = Model::default();
        for (wishes, at, reopen) in history {
            if reopen == 0 {
                replicas[at] = Replica::open(&own).await;
            }
            let writes: Vec<_> = wishes.iter().map(|wish| wish.write(model.revision)).collect();
            // Who lags may refuse by what it knew; it was told when the other's commit shows.
            eventually("the replica has caught up", || async {
                replicas[at].told().0 == model.revision
            })
            .await;
            match (replicas[at].store.commit(writes.clone()).await, model.commit(&writes)) {
                (Ok(revision), expected) => assert_eq!(Some(revision), expected),
                (Err(CommitError::Conflict { key, found }), None) => {
                    assert_eq!(found, model.version(&key.name));
                }
                (verdict, expected) => panic!("{verdict:?} and {expected:?}"),
            }
            assert_eq!(replicas[at].told(), (model.revision, model.held.clone()));
        }
        for replica in &replicas {
            eventually("both know", || async { replica.told().0 == model.revision }).await;
            assert_eq!(replica.told().1, model.held);
        }
        let anew = Replica::open(&own).await;
        assert_eq!(anew.told(), (model.revision, model.held));
    }
}

/// Each adds 1 to one of a few counters, by what its replica was told stands there, until it
/// succeeds; `ways` are the replicas' ways to the API server.
async fn count(cluster: &Cluster, ways: Vec<kube::Client>, authors: usize, each: usize) {
    let mut replicas = Vec::new();
    for way in ways {
        replicas.push(Arc::new(Replica::over(cluster, way).await));
    }
    let author = |author: usize| {
        let replica = Arc::clone(&replicas[author % replicas.len()]);
        async move {
            let name = (author % 3).to_string();
            let mut conflicts = 0;
            let mut left = each;
            while left > 0 {
                let (expect, count) = match replica.told().1.get(&name) {
                    Some((version, text)) => {
                        (Expect::Version(*version), text.parse::<usize>().expect("a number"))
                    }
                    None => (Expect::Absent, 0),
                };
                let write = put(&name, expect, &(count + 1).to_string());
                match replica.store.commit(vec![write]).await {
                    Ok(revision) => {
                        assert!(replica.told().0 >= revision, "told first");
                        left -= 1;
                    }
                    Err(CommitError::Conflict { .. }) => conflicts += 1,
                    Err(other) => panic!("{other:?}"),
                }
            }
            conflicts
        }
    };
    let running: Vec<_> = (0..authors).map(|n| tokio::spawn(author(n))).collect();
    let mut conflicts = 0;
    for author in running {
        conflicts += author.await.expect("no panic");
    }
    assert!(conflicts > 0, "nobody met anybody");
    for replica in &replicas {
        let total = (authors * each) as u64;
        eventually("everybody knows everything", || async { replica.told().0 == total }).await;
        let held = replica.told().1;
        let sum: usize = held.values().map(|held| held.1.parse::<usize>().expect("a number")).sum();
        assert_eq!(sum, authors * each);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_at_once_on_three_replicas_lose_no_update() {
    let Some(cluster) = cluster().await else { return };
    count(&cluster, vec![cluster.client.clone(); 3], 24, 6).await;
}

/// Nothing is done twice, and nothing that was done is called failed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_gets_lost_on_the_way_is_neither_lost_nor_doubled() {
    let Some(cluster) = cluster().await else { return };
    let ways = (1..=2).map(|seed| lossy(cluster.client.clone(), seed)).collect();
    count(&cluster, ways, 8, 8).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn resources_are_kubernetes_own() {
    let Some(cluster) = cluster().await else { return };
    let replica = Replica::open(&cluster).await;
    let key = || Key { shelf: Shelf::Resources, name: "Workload/default/web".into() };
    for (expect, value) in [(Expect::Absent, Some("{}")), (Expect::Any, None)] {
        let value = value.map(|value| value.as_bytes().into());
        let refused = replica.store.commit(vec![Write { key: key(), expect, value }]).await;
        let refused = refused.expect_err("refused").to_string();
        assert!(refused.contains("with kubectl"), "{refused}");
    }
    // Who registers says that nobody applied one of this name.
    let none = Write { key: key(), expect: Expect::Absent, value: None };
    let both = vec![put("web", Expect::Absent, "1"), none];
    assert_eq!(replica.store.commit(both).await.expect("made"), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_secret_is_said_before_kubernetes_says_it() {
    let Some(cluster) = cluster().await else { return };
    let replica = Replica::open(&cluster).await;
    let large = "x".repeat(400_000);
    for name in ["a", "b"] {
        replica.store.commit(vec![put(name, Expect::Absent, &large)]).await.expect("room");
    }
    // In one group with one that fits.
    let (refused, fits) = tokio::join!(
        replica.store.commit(vec![put("c", Expect::Absent, &large)]),
        replica.store.commit(vec![put("d", Expect::Absent, "small")]),
    );
    let refused = refused.expect_err("no room");
    let CommitError::Write(cause) = &refused else { panic!("{refused:?}") };
    assert!(cause.to_string().contains("1048576 at most"), "{cause}");
    fits.expect("room");
    let remove = Write { key: key("a"), expect: Expect::Any, value: None };
    replica.store.commit(vec![remove]).await.expect("less is always taken");
    replica.store.commit(vec![put("c", Expect::Absent, &large)]).await.expect("room again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_survives_its_removal_and_an_old_copy() {
    let Some(cluster) = cluster().await else { return };
    let secrets = secrets(&cluster);
    let (first, second) = (Replica::open(&cluster).await, Replica::open(&cluster).await);
    first.store.commit(vec![put("a", Expect::Absent, "1")]).await.expect("made");
    let old = secrets.get(SECRET).await.expect("there");
    first.store.commit(vec![put("b", Expect::Absent, "2")]).await.expect("made");
    eventually("both know", || async { second.told().0 == 2 }).await;
    secrets.delete(SECRET, &DeleteParams::default()).await.expect("removed");
    eventually("it is there again", || async {
        secrets.get_opt(SECRET).await.expect("asked").is_some()
    })
    .await;
    assert_eq!(Replica::open(&cluster).await.told(), first.told());
    second.store.commit(vec![put("c", Expect::Absent, "3")]).await.expect("made");
    let before = secrets.get(SECRET).await.expect("there");
    let mut restored = before.clone();
    restored.data = old.data;
    secrets.replace(SECRET, &PostParams::default(), &restored).await.expect("put");
    eventually("it is the newest again", || async {
        let now = secrets.get(SECRET).await.expect("there");
        now.metadata.resource_version != before.metadata.resource_version
            && Replica::open(&cluster).await.told().0 == 3
    })
    .await;
    first.store.commit(vec![put("d", Expect::Absent, "4")]).await.expect("made");
    assert_eq!(Replica::open(&cluster).await.told(), first.told());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_secret_is_said_and_what_is_known_stays() {
    let Some(cluster) = cluster().await else { return };
    let secrets = secrets(&cluster);
    let replica = Replica::open(&cluster).await;
    replica.store.commit(vec![put("a", Expect::Absent, "1")]).await.expect("made");
    let sound = secrets.get(SECRET).await.expect("there");
    let rows = [
        ("store.json", Some("{"), "store.json is no document of ours"),
        ("store.json", Some(r#"{"format": 2}"#), "a newer version wrote"),
        ("store.json", None, "store.json is missing"),
        ("tokens.json", None, "tokens.json is missing"),
        ("tokens.json", Some(r#"{"a": {"version": 1}}"#), "tokens.json is no document of ours"),
        ("tokens.json", Some(r#"{"a": {"version": 9, "value": ""}}"#), "after the newest, 1"),
    ];
    for (field, text, said) in rows {
        let mut damaged = sound.clone();
        damaged.metadata.resource_version = None;
        let data = damaged.data.get_or_insert_default();
        match text {
            Some(text) => drop(data.insert(field.into(), ByteString(text.into()))),
            None => drop(data.remove(field)),
        }
        secrets.replace(SECRET, &PostParams::default(), &damaged).await.expect("put");
        let Err(OpenError::Damaged { source, .. }) =
            State::open(cluster.client.clone(), &cluster.namespace).await
        else {
            panic!("{said}: it was opened");
        };
        assert!(source.to_string().contains(said), "{said}: {source}");
        // Until its watch has told, it refuses for what was wrong before.
        eventually(said, || async {
            let refused = replica.store.commit(vec![put("b", Expect::Any, "2")]).await;
            let Err(CommitError::Write(cause)) = refused else { panic!("{said}: {refused:?}") };
            cause.to_string().contains(said)
        })
        .await;
        assert_eq!(replica.told().1.len(), 1);
    }
    // Put right, it goes on; removed, too.
    let mut mended = sound.clone();
    mended.metadata.resource_version = None;
    secrets.replace(SECRET, &PostParams::default(), &mended).await.expect("put");
    eventually("it writes again", || async {
        replica.store.commit(vec![put("b", Expect::Any, "2")]).await.is_ok()
    })
    .await;
    assert_eq!(Replica::open(&cluster).await.told(), replica.told());
}
