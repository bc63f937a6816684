//! Random histories, one by one and by many at once, compared with a map.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

/// The store as it should be.
#[derive(Default)]
struct Model {
    revision: u64,
    held: Held,
}

impl Model {
    fn version(&self, name: &str) -> Option<u64> {
        self.held.get(name).map(|held| held.0)
    }

    /// `None`: a conflict.
    fn commit(&mut self, writes: &[Write]) -> Option<u64> {
        let holds = |write: &Write| match write.expect {
            Expect::Any => true,
            Expect::Absent => self.version(&write.key.name).is_none(),
            Expect::Version(version) => self.version(&write.key.name) == Some(version),
        };
        if !writes.iter().all(holds) {
            return None;
        }
        let mut changed = false;
        for write in writes {
            let name = write.key.name.to_string();
            changed |= match &write.value {
                Some(value) => {
                    let value = String::from_utf8(value.to_vec()).expect("text");
                    self.held.insert(name, (self.revision + 1, value));
                    true
                }
                None => self.held.remove(&name).is_some(),
            };
        }
        self.revision += u64::from(changed);
        Some(self.revision)
    }

    fn told(&mut self, commit: &Committed) {
        for (key, value) in &commit.changes {
            let name = key.name.to_string();
            match value {
                Some(value) => {
                    let value = String::from_utf8(value.to_vec()).expect("text");
                    self.held.insert(name, (commit.revision, value))
                }
                None => self.held.remove(&name),
            };
        }
        self.revision = commit.revision;
    }
}

/// A write to one of a few keys, that expects a version `back` commits ago.
#[derive(Clone, Debug)]
struct Wish {
    name: u8,
    expect: u8,
    back: u64,
    value: Option<u8>,
}

impl Wish {
    fn write(&self, revision: u64) -> Write {
        let expect = match self.expect {
            0..4 => Expect::Any,
            4 => Expect::Absent,
            _ => Expect::Version(revision.saturating_sub(self.back)),
        };
        let value = self.value.map(|value| value.to_string().into_bytes().into());
        Write { key: key(&self.name.to_string()), expect, value }
    }
}

fn wish() -> impl Strategy<Value = Wish> {
    let value = proptest::option::weighted(0.7, any::<u8>());
    (0..4u8, 0..7u8, 0..3u64, value).prop_map(|(name, expect, back, value)| Wish {
        name,
        expect,
        back,
        value,
    })
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().expect("a runtime").block_on(future)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn a_history_is_a_maps(history in vec(vec(wish(), 0..4), 1..25), reopen in 0..25usize) {
        let folder = Folder::new();
        let mut store = folder.open();
        let mut model = Model::default();
        for (step, wishes) in history.iter().enumerate() {
            if step == reopen {
                drop(store);
                store = folder.open();
            }
            let writes: Vec<_> = wishes.iter().map(|wish| wish.write(model.revision)).collect();
            let verdict = block_on(store.commit(writes.clone()));
            match (verdict, model.commit(&writes)) {
                (Ok(revision), expected) => prop_assert_eq!(Some(revision), expected),
                (Err(CommitError::Conflict { key, found }), None) => {
                    prop_assert_eq!(found, model.version(&key.name));
                }
                (verdict, expected) => prop_assert!(false, "{:?} and {:?}", verdict, expected),
            }
        }
        drop(store);
        prop_assert_eq!(held(&folder.open()), (model.revision, model.held));
    }
}

/// Each adds 1 to one of a few counters, by what it was told stands there, until it succeeds.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_at_once_lose_no_update() {
    const AUTHORS: usize = 64;
    const EACH: usize = 8;
    let folder = Folder::new();
    let store = Arc::new(folder.open());
    let picture = Arc::new(Mutex::new(Model::default()));
    let seen = Arc::clone(&picture);
    store.follow(Box::new(move |commit| seen.lock().expect("alive").told(commit))).expect("read");
    let author = |author: usize| {
        let (store, picture) = (Arc::clone(&store), Arc::clone(&picture));
        async move {
            let name = (author % 3).to_string();
            let mut conflicts = 0;
            let mut left = EACH;
            while left > 0 {
                let stands = picture.lock().expect("alive").held.get(&name).cloned();
                let (expect, count) = match stands {
                    Some((version, text)) => {
                        (Expect::Version(version), text.parse::<usize>().expect("a number"))
                    }
                    None => (Expect::Absent, 0),
                };
                match store.commit(vec![put(&name, expect, &(count + 1).to_string())]).await {
                    Ok(revision) => {
                        assert!(picture.lock().expect("alive").revision >= revision);
                        left -= 1;
                    }
                    Err(CommitError::Conflict { .. }) => conflicts += 1,
                    Err(other) => panic!("{other:?}"),
                }
            }
            conflicts
        }
    };
    let authors: Vec<_> = (0..AUTHORS).map(|n| tokio::spawn(author(n))).collect();
    let mut conflicts = 0;
    for author in authors {
        conflicts += author.await.expect("no panic");
    }
    assert!(conflicts > 0, "nobody met anybody");
    let (revision, held) = held(&store);
    assert_eq!(revision, (AUTHORS * EACH) as u64);
    let sum: usize = held.values().map(|held| held.1.parse::<usize>().expect("a number")).sum();
    assert_eq!(sum, AUTHORS * EACH);
    assert_eq!(picture.lock().expect("alive").held, held);
}
