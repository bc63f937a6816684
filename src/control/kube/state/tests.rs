//! What stands in the Secret, without one: written and read back, and how one state follows another.

use proptest::collection::vec;
use proptest::prelude::*;

use super::apply::apply;
use super::document::{Document, size};
use crate::control::kube::secret::Data;
use crate::control::store::model::{Held, Model, key, wish};
use crate::control::store::{CommitError, Expect, Write};

fn held(document: &Document) -> Held {
    let text = |value: &[u8]| String::from_utf8(value.to_vec()).expect("text");
    let records = document.records().into_iter();
    records
        .map(|record| (record.key.name.to_string(), (record.version, text(&record.value))))
        .collect()
}

proptest! {
    /// Two readers: one that looks after each group, one that looks now and then.
    #[test]
    fn a_history_is_a_maps(history in vec((vec(vec(wish(), 0..4), 0..4), any::<bool>()), 1..12)) {
        let (mut document, mut model) = (Document::default(), Model::default());
        let (mut close, mut late) = (Model::default(), Model::default());
        let mut known = Document::default();
        for (group, looks) in history {
            let group: Vec<Vec<Write>> = group
                .iter()
                .map(|wishes| wishes.iter().map(|wish| wish.write(model.revision)).collect())
                .collect();
            let mut applied = apply(document, group.iter().map(Vec::as_slice));
            for (writes, verdict) in group.iter().zip(applied.verdicts) {
                let expected = model.commit(writes);
                prop_assert_eq!(verdict.ok(), expected);
            }
            applied.made.iter().for_each(|commit| close.told(commit));
            document = Document::read(&applied.document.write("mark")).expect("read back");
            prop_assert_eq!((document.revision, held(&document)), (model.revision, model.held.clone()));
            prop_assert_eq!(&close.held, &model.held);
            if looks {
                document.since(&known).iter().for_each(|commit| late.told(commit));
                known = document.clone();
                prop_assert_eq!((late.revision, &late.held), (model.revision, &model.held));
            }
        }
    }
}

#[test]
fn what_is_written_says_who_wrote_it_for_a_while() {
    let mut document = Document::default();
    for mark in 0..40 {
        document.write(&format!("m{mark}"));
    }
    let document = Document::read(&document.write("last")).expect("read back");
    assert!(document.has("last") && document.has("m39"));
    assert!(!document.has("m1"), "the oldest make room");
}

#[test]
fn an_empty_secret_is_an_empty_store() {
    assert_eq!(Document::read(&Data::new()).expect("empty"), Document::default());
    assert!(size(&Document::default().write("m")) > 0);
}

#[test]
fn what_is_no_text_is_refused() {
    let value: &[u8] = &[0xff];
    let write = Write { key: key("a"), expect: Expect::Any, value: Some(value.into()) };
    let applied = apply(Document::default(), [&[write][..]].into_iter());
    assert!(matches!(applied.verdicts[..], [Err(CommitError::Write(_))]));
    assert_eq!(applied.document, Document::default());
}
