//! Random histories, one by one and by many at once, compared with a map.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::control::store::model::{Model, wish};

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
