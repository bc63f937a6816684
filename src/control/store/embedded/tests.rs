//! The store, opened on folders of its own: what it keeps, refuses and tells.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use super::*;
use crate::control::store::model::{Held, key};
use crate::control::store::{Committed, Expect, Key, Shelf};

mod crash;
mod damage;
mod histories;
mod trouble;

pub(super) use trouble::Trouble;

/// A data folder, removed at the end of the test.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let path =
            std::env::temp_dir().join(format!("outrigger-store-{}-{count}", std::process::id()));
        fs::create_dir_all(&path).expect("a temporary folder");
        Self(path)
    }

    fn file(&self) -> PathBuf {
        self.0.join("store.redb")
    }

    fn open(&self) -> Embedded {
        Embedded::open(&self.0).expect("sound")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn put(name: &str, expect: Expect, value: &str) -> Write {
    Write { key: key(name), expect, value: Some(value.as_bytes().into()) }
}

fn remove(name: &str, expect: Expect) -> Write {
    Write { key: key(name), expect, value: None }
}

fn held(store: &Embedded) -> (u64, Held) {
    let (revision, records) = store.follow(Box::new(|_| {})).expect("readable");
    let text = |record: &Record| String::from_utf8(record.value.to_vec()).expect("text");
    let entry = |record: &Record| (record.key.name.to_string(), (record.version, text(record)));
    (revision, records.iter().map(entry).collect())
}

fn is(entries: &[(&str, u64, &str)]) -> Held {
    let entry = |(name, version, value): &(&str, u64, &str)| {
        (name.to_string(), (*version, value.to_string()))
    };
    entries.iter().map(entry).collect()
}

/// Everything that a sink was told.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<Vec<Committed>>>);

impl Told {
    fn sink(&self) -> Sink {
        let told = self.clone();
        Box::new(move |commit| told.0.lock().expect("not poisoned").push(commit.clone()))
    }

    fn revisions(&self) -> Vec<u64> {
        self.0.lock().expect("not poisoned").iter().map(|commit| commit.revision).collect()
    }
}

#[tokio::test]
async fn what_is_committed_is_there_after_reopening() {
    let folder = Folder::new();
    let store = folder.open();
    assert_eq!(held(&store), (0, is(&[])));
    let first = store.commit(vec![put("a", Expect::Absent, "1"), put("b", Expect::Any, "2")]).await;
    assert_eq!(first.expect("made"), 1);
    assert_eq!(store.commit(vec![put("b", Expect::Version(1), "3")]).await.expect("made"), 2);
    assert_eq!(store.commit(vec![remove("a", Expect::Version(1))]).await.expect("made"), 3);
    drop(store);
    let store = folder.open();
    assert_eq!(held(&store), (3, is(&[("b", 2, "3")])));
    assert_eq!(store.commit(vec![put("c", Expect::Any, "")]).await.expect("made"), 4);
}

#[tokio::test]
async fn the_shelves_are_apart() {
    let folder = Folder::new();
    let store = folder.open();
    for shelf in Shelf::ALL {
        let key = Key { shelf, name: "same".into() };
        let value = Some(shelf.as_str().as_bytes().into());
        store.commit(vec![Write { key, expect: Expect::Absent, value }]).await.expect("made");
    }
    let (_, records) = store.follow(Box::new(|_| {})).expect("readable");
    let shelves: Vec<_> = records.iter().map(|record| record.key.shelf).collect();
    assert_eq!(shelves, Shelf::ALL);
    assert!(records.iter().all(|record| &*record.value == record.key.shelf.as_str().as_bytes()));
}

#[tokio::test]
async fn a_conflict_changes_nothing_and_says_what_stands_there() {
    let folder = Folder::new();
    let store = folder.open();
    let told = Told::default();
    store.follow(told.sink()).expect("readable");
    store.commit(vec![put("a", Expect::Any, "1")]).await.expect("made");
    let cases = [
        (put("a", Expect::Absent, "x"), Some(1)),
        (put("a", Expect::Version(2), "x"), Some(1)),
        (remove("a", Expect::Version(7)), Some(1)),
        (put("b", Expect::Version(1), "x"), None),
        (remove("b", Expect::Version(1)), None),
    ];
    for (write, stands) in cases {
        let name = write.key.clone();
        let both = vec![put("c", Expect::Any, "x"), write];
        match store.commit(both).await {
            Err(CommitError::Conflict { key, found }) => assert_eq!((key, found), (name, stands)),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(told.revisions(), [1]);
    assert_eq!(held(&store), (1, is(&[("a", 1, "1")])));
}

#[tokio::test]
async fn a_commit_that_changes_nothing_takes_no_revision() {
    let folder = Folder::new();
    let store = folder.open();
    let told = Told::default();
    store.follow(told.sink()).expect("readable");
    assert_eq!(store.commit(vec![]).await.expect("made"), 0);
    store.commit(vec![put("a", Expect::Any, "1")]).await.expect("made");
    assert_eq!(store.commit(vec![]).await.expect("made"), 1);
    assert_eq!(store.commit(vec![remove("b", Expect::Absent)]).await.expect("made"), 1);
    assert_eq!(store.commit(vec![remove("a", Expect::Any)]).await.expect("made"), 2);
    assert_eq!(told.revisions(), [1, 2]);
    let told = told.0.lock().expect("not poisoned");
    assert_eq!(told[1].changes, [(key("a"), None)]);
}

#[tokio::test]
async fn who_follows_is_told_of_later_commits_only_and_first() {
    let folder = Folder::new();
    let store = folder.open();
    store.commit(vec![put("a", Expect::Any, "1")]).await.expect("made");
    let told = Told::default();
    let (revision, records) = store.follow(told.sink()).expect("readable");
    assert_eq!((revision, records.len()), (1, 1));
    assert!(told.revisions().is_empty());
    for revision in 2..20 {
        let made = store.commit(vec![put("a", Expect::Version(revision - 1), "x")]).await;
        assert_eq!(made.expect("made"), revision);
        assert_eq!(told.revisions().last(), Some(&revision));
    }
    assert_eq!(told.revisions(), (2..20).collect::<Vec<_>>());
}

/// The writer waits in the sink while the others queue up, so they are one group.
#[tokio::test]
async fn a_group_is_checked_in_order_and_synced_together() {
    let folder = Folder::new();
    let (store, trouble) = trouble::store(&folder);
    let told = Told::default();
    let (entered, inside) = mpsc::channel();
    let (go, gate) = mpsc::channel::<()>();
    let gate = Mutex::new(gate);
    let record = told.sink();
    let sink = move |commit: &Committed| {
        record(commit);
        if commit.revision == 1 {
            entered.send(()).expect("the test waits");
            gate.lock().expect("not poisoned").recv().expect("the test lets go");
        }
    };
    store.follow(Box::new(sink)).expect("readable");
    let store = Arc::new(store);
    let commit = |writes| {
        let store = Arc::clone(&store);
        tokio::spawn(async move { store.commit(writes).await })
    };
    let first = commit(vec![put("a", Expect::Any, "0")]);
    tokio::task::yield_now().await;
    inside.recv().expect("the writer is in the sink");
    let before = trouble.syncs();
    let group = [
        commit(vec![put("a", Expect::Version(1), "1"), put("b", Expect::Absent, "1")]),
        commit(vec![put("a", Expect::Version(1), "lost"), put("c", Expect::Absent, "lost")]),
        commit(vec![]),
        commit(vec![put("a", Expect::Version(2), "2"), remove("b", Expect::Version(2))]),
        commit(vec![put("b", Expect::Absent, "3")]),
    ];
    tokio::task::yield_now().await;
    go.send(()).expect("the writer waits");
    assert_eq!(first.await.expect("no panic").expect("made"), 1);
    let mut verdicts = Vec::new();
    for verdict in group {
        verdicts.push(verdict.await.expect("no panic").ok());
    }
    assert_eq!(verdicts, [Some(2), None, Some(2), Some(3), Some(4)]);
    assert_eq!(told.revisions(), [1, 2, 3, 4]);
    assert_eq!(trouble.syncs() - before, 2, "one transaction in two phases");
    assert_eq!(held(&store), (4, is(&[("a", 3, "2"), ("b", 4, "3")])));
}

#[tokio::test]
async fn dropping_the_handle_writes_what_was_queued() {
    let folder = Folder::new();
    let store = folder.open();
    {
        let mut commits: Vec<_> =
            (0..100).map(|n| store.commit(vec![put(&format!("k{n}"), Expect::Any, "x")])).collect();
        // Asked once, then forgotten.
        for commit in &mut commits {
            let _ =
                std::future::poll_fn(|cx| std::task::Poll::Ready(commit.as_mut().poll(cx))).await;
        }
    }
    drop(store);
    let (revision, held) = held(&folder.open());
    assert_eq!((revision, held.len()), (100, 100));
}

#[tokio::test]
async fn a_sink_that_panics_does_not_end_the_store() {
    let folder = Folder::new();
    let store = folder.open();
    let told = Told::default();
    let record = told.sink();
    let sink = move |commit: &Committed| {
        assert_ne!(commit.revision, 1, "on purpose");
        record(commit);
    };
    store.follow(Box::new(sink)).expect("readable");
    assert_eq!(store.commit(vec![put("a", Expect::Any, "1")]).await.expect("made"), 1);
    assert_eq!(store.commit(vec![put("a", Expect::Any, "2")]).await.expect("made"), 2);
    assert_eq!(told.revisions(), [2]);
}

#[test]
fn a_second_opener_is_refused_until_the_first_is_gone() {
    let folder = Folder::new();
    let first = folder.open();
    let refused = Embedded::open(&folder.0).expect_err("locked");
    assert!(matches!(refused, OpenError::InUse(_)), "{refused:?}");
    assert!(refused.to_string().contains("another control plane runs on this folder"));
    drop(first);
    folder.open();
}

#[test]
fn the_file_is_its_owners_alone() {
    let folder = Folder::new();
    let _store = folder.open();
    let mode = fs::metadata(folder.file()).expect("there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert!(!folder.0.join("store.redb.new").exists());
}
