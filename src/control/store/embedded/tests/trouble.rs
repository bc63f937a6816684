//! A disk that fails at the worst moments: nothing is told that is not in the file, nothing that is
//! in the file is untold, and the store goes on.

use std::io;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64};

use super::*;

/// Makes the disk fail after so many more changes, never while negative; counts syncs.
#[derive(Debug)]
pub(in super::super) struct Trouble {
    left: AtomicI64,
    /// Fails once only.
    passing: AtomicBool,
    syncs: AtomicU64,
}

impl Default for Trouble {
    fn default() -> Self {
        Self { left: AtomicI64::new(-1), passing: AtomicBool::new(false), syncs: AtomicU64::new(0) }
    }
}

impl Trouble {
    pub(in super::super) fn strike(&self, operation: &str) -> io::Result<()> {
        if operation == "sync_data" {
            self.syncs.fetch_add(1, Relaxed);
        }
        let left = self.left.load(Relaxed);
        if left > 0 || (left == 0 && self.passing.load(Relaxed)) {
            self.left.store(left - 1, Relaxed);
        }
        if left == 0 { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }

    fn begins_after(&self, changes: i64, passing: bool) {
        self.passing.store(passing, Relaxed);
        self.left.store(changes, Relaxed);
    }

    fn ends(&self) {
        self.left.store(-1, Relaxed);
    }

    pub(super) fn syncs(&self) -> u64 {
        self.syncs.load(Relaxed)
    }
}

/// A store whose disk can be made to fail.
pub(super) fn store(folder: &Folder) -> (Embedded, Arc<Trouble>) {
    let place = Place::open(&folder.0).expect("a new file");
    let trouble = Arc::clone(&place.disk.trouble);
    (Embedded::start(place).expect("sound"), trouble)
}

#[tokio::test]
async fn a_full_disk_refuses_and_the_store_goes_on_when_there_is_room() {
    let folder = Folder::new();
    let (store, trouble) = store(&folder);
    let told = Told::default();
    store.follow(told.sink()).expect("readable");
    store.commit(vec![put("a", Expect::Any, "1")]).await.expect("made");
    trouble.begins_after(0, false);
    for _ in 0..3 {
        let refused = store.commit(vec![put("a", Expect::Any, "lost")]).await;
        assert!(matches!(refused, Err(CommitError::Write(_))), "{refused:?}");
    }
    assert_eq!(told.revisions(), [1]);
    trouble.ends();
    assert_eq!(store.commit(vec![put("b", Expect::Absent, "2")]).await.expect("made"), 2);
    assert_eq!(told.revisions(), [1, 2]);
    drop(store);
    assert_eq!(held(&folder.open()), (2, is(&[("a", 1, "1"), ("b", 2, "2")])));
}

/// What became of commits whose disk failed.
#[derive(Debug, Default)]
struct Fates {
    made: u32,
    refused: u32,
    /// Refused, because nobody could look, and found in the file later.
    found: u32,
}

/// Lets the disk fail after so many changes of a commit, and looks what became of it.
async fn fail_after(changes: i64, passing: bool, fates: &mut Fates) {
    let folder = Folder::new();
    let (store, trouble) = store(&folder);
    let told = Told::default();
    store.follow(told.sink()).expect("readable");
    store.commit(vec![put("a", Expect::Any, "1")]).await.expect("made");
    trouble.begins_after(changes, passing);
    let verdict = store.commit(vec![put("a", Expect::Version(1), "2")]).await;
    let before = told.revisions();
    trouble.ends();
    let current = store.commit(vec![]).await.expect("sound again");
    match verdict {
        Ok(revision) => {
            assert_eq!((revision, &*before), (2, &[1, 2][..]), "told before its author");
            fates.made += 1;
        }
        Err(CommitError::Write(_)) if current == 1 => fates.refused += 1,
        Err(CommitError::Write(_)) => fates.found += 1,
        Err(other) => panic!("{other:?}"),
    }
    let next = store.commit(vec![put("a", Expect::Version(current), "3")]).await;
    assert_eq!(next.expect("made"), current + 1);
    assert_eq!(told.revisions(), (1..=current + 1).collect::<Vec<_>>());
    drop(store);
    assert_eq!(held(&folder.open()), (current + 1, is(&[("a", current + 1, "3")])));
}

/// Wherever the disk fails, for a moment or for longer, the sink's picture is the file's.
#[tokio::test]
async fn whatever_operation_fails_the_picture_is_the_files() {
    let (mut moments, mut spells) = (Fates::default(), Fates::default());
    for changes in 0..24 {
        fail_after(changes, true, &mut moments).await;
        fail_after(changes, false, &mut spells).await;
    }
    assert!(moments.refused > 0 && moments.made > 0 && moments.found == 0, "{moments:?}");
    assert!(spells.refused > 0 && spells.made > 0 && spells.found > 0, "{spells:?}");
}
