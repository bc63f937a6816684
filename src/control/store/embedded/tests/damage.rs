//! Files that are not as they were left: refused with a cause, never made anew.

use std::error::Error;

use redb::Database;

use super::super::file::META;
use super::*;
use crate::runtime::clock::Rng;

/// The error of opening, and proof that the file was left alone.
fn refusal(folder: &Folder) -> OpenError {
    let before = fs::read(folder.file()).expect("there");
    let refused = Embedded::open(&folder.0).expect_err("not sound");
    assert!(fs::read(folder.file()).expect("there") == before, "the file was changed");
    assert!(refused.to_string().contains(&folder.file().display().to_string()), "{refused}");
    refused
}

fn assert_damaged(folder: &Folder) {
    let refused = refusal(folder);
    assert!(matches!(refused, OpenError::Damaged { .. }), "{refused:?}");
    assert!(refused.source().is_some());
}

async fn filled(folder: &Folder) {
    let store = folder.open();
    for n in 0..40 {
        let value = "v".repeat(300);
        store.commit(vec![put(&format!("k{n}"), Expect::Any, &value)]).await.expect("made");
    }
}

#[tokio::test]
async fn an_empty_foreign_or_cut_file_is_refused() {
    let folder = Folder::new();
    fs::write(folder.file(), "").expect("written");
    assert_damaged(&folder);
    fs::write(folder.file(), "apiVersion: v1\n".repeat(1000)).expect("written");
    assert_damaged(&folder);
    fs::remove_file(folder.file()).expect("removed");
    filled(&folder).await;
    let whole = fs::read(folder.file()).expect("there");
    for part in [100, 4096, whole.len() / 2] {
        fs::write(folder.file(), &whole[..part]).expect("written");
        assert_damaged(&folder);
    }
}

#[tokio::test]
async fn a_file_of_a_newer_version_is_refused() {
    let folder = Folder::new();
    filled(&folder).await;
    let database = Database::open(folder.file()).expect("sound");
    let transaction = database.begin_write().expect("begun");
    transaction.open_table(META).expect("there").insert("format", 2).expect("written");
    transaction.commit().expect("made");
    drop(database);
    let refused = Embedded::open(&folder.0).expect_err("newer");
    assert!(matches!(refused, OpenError::Newer { found: 2, .. }), "{refused:?}");
    assert!(refused.to_string().contains("a newer version wrote it"), "{refused}");
}

#[test]
fn a_folder_that_is_not_there_is_named() {
    let folder = Folder::new();
    let refused = Embedded::open(&folder.0.join("none")).expect_err("nowhere");
    assert!(matches!(refused, OpenError::Io { .. }), "{refused:?}");
    assert!(refused.to_string().contains("none/store.redb"), "{refused}");
}

/// What a crash leaves of a file that was just being made.
#[test]
fn a_half_made_file_is_made_again() {
    let folder = Folder::new();
    fs::write(folder.0.join("store.redb.new"), vec![0; 5000]).expect("written");
    assert_eq!(held(&folder.open()), (0, is(&[])));
}

/// A flipped byte is found, or stood where nothing is kept.
#[tokio::test]
async fn flipped_bytes_never_change_what_is_read() {
    let folder = Folder::new();
    filled(&folder).await;
    let whole = fs::read(folder.file()).expect("there");
    let expected = held(&folder.open());
    let used = whole.iter().rposition(|byte| *byte != 0).expect("not empty") + 1;
    let (mut rng, mut found) = (Rng::seeded(5), 0);
    for round in 0..60 {
        let at = if round < 20 { rng.below(512) } else { rng.below(used) };
        let mut bytes = whole.clone();
        bytes[at] ^= 1 << rng.below(8);
        fs::write(folder.file(), &bytes).expect("written");
        match Embedded::open(&folder.0) {
            Ok(store) => assert!(held(&store) == expected, "byte {at} changed what is read"),
            Err(OpenError::Damaged { .. }) => found += 1,
            Err(other) => panic!("{other:?}"),
        }
    }
    assert!(found > 5, "only {found} were found");
}
