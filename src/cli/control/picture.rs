//! What a watcher has been shown, so that after a broken connection only what changed meanwhile is
//! shown again. Synchronous: it is told events and says which of them are news.

use std::collections::{BTreeMap, BTreeSet};

use super::convert::{Event, Held, Key};

/// What has been shown, by key.
#[derive(Debug, Default)]
pub(super) struct Picture {
    versions: BTreeMap<Key, String>,
    /// While a connection still says what there was at its beginning: the keys that it named.
    syncing: Option<BTreeSet<Key>>,
    /// Whether there was a first picture.
    is_complete: bool,
}

/// Something that a watcher has not seen.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum News {
    /// It was there when the watch began.
    Present(Held),
    New(Held),
    Changed(Held),
    Gone(Key),
    /// The first picture is whole.
    Complete,
}

impl Picture {
    /// A connection begins to say what there is.
    pub(super) fn begin(&mut self) {
        self.syncing = Some(BTreeSet::new());
    }

    /// Whether the connection has not yet said all of it.
    pub(super) fn is_syncing(&self) -> bool {
        self.syncing.is_some()
    }

    /// What of it is news, in the order to be shown.
    pub(super) fn take(&mut self, event: Event) -> Vec<News> {
        match event {
            Event::Upserted(held) => self.upsert(held).into_iter().collect(),
            Event::Deleted(key) => self.remove(&key).into_iter().collect(),
            Event::Synced => self.synced(),
        }
    }

    fn upsert(&mut self, held: Held) -> Option<News> {
        if let Some(named) = &mut self.syncing {
            named.insert(held.key.clone());
        }
        match self.versions.insert(held.key.clone(), held.version.clone()) {
            Some(version) if version == held.version => None,
            Some(_) => Some(News::Changed(held)),
            None if self.is_complete => Some(News::New(held)),
            None => Some(News::Present(held)),
        }
    }

    fn remove(&mut self, key: &Key) -> Option<News> {
        self.versions.remove(key).map(|_| News::Gone(key.clone()))
    }

    /// What a connection did not name any more went away while there was none.
    fn synced(&mut self) -> Vec<News> {
        let named = self.syncing.take().unwrap_or_default();
        let lost = |key: &Key| !named.contains(key);
        let gone: Vec<Key> = self.versions.keys().filter(|key| lost(key)).cloned().collect();
        let gone = gone.iter().filter_map(|key| self.remove(key)).collect::<Vec<_>>();
        let first = !std::mem::replace(&mut self.is_complete, true);
        gone.into_iter().chain(first.then_some(News::Complete)).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use serde_json::Value;

    use super::*;

    fn key(name: &str) -> Key {
        Key { namespace: "shop".into(), kind: "Service".into(), name: name.into() }
    }

    fn held(name: &str, version: &str) -> Held {
        let (manifest, version) = (Value::Null, version.into());
        let (key, status) = (key(name), String::new());
        Held { key, manifest, version, created: UNIX_EPOCH, source: "applied", status }
    }

    fn told(picture: &mut Picture, events: &[Event]) -> Vec<News> {
        events.iter().flat_map(|event| picture.take(event.clone())).collect()
    }

    #[test]
    fn after_a_break_only_what_changed_is_news() {
        let up = |name: &str, version: &str| Event::Upserted(held(name, version));
        let mut picture = Picture::default();
        picture.begin();
        let first = told(&mut picture, &[up("a", "1"), up("b", "1"), up("c", "1"), Event::Synced]);
        let present = |name: &str| News::Present(held(name, "1"));
        assert_eq!(first, [present("a"), present("b"), present("c"), News::Complete]);
        let later = told(&mut picture, &[up("d", "1"), up("a", "2"), Event::Deleted(key("d"))]);
        let expected =
            [News::New(held("d", "1")), News::Changed(held("a", "2")), News::Gone(key("d"))];
        assert_eq!(later, expected);

        assert!(!picture.is_syncing());
        picture.begin();
        assert!(picture.is_syncing());
        let again = told(&mut picture, &[up("a", "2"), up("b", "2"), up("e", "1"), Event::Synced]);
        let expected =
            [News::Changed(held("b", "2")), News::New(held("e", "1")), News::Gone(key("c"))];
        assert_eq!(again, expected);
    }

    #[test]
    fn a_break_in_the_first_picture_loses_nothing() {
        let mut picture = Picture::default();
        picture.begin();
        told(&mut picture, &[Event::Upserted(held("a", "1"))]);
        picture.begin();
        let news = told(&mut picture, &[Event::Upserted(held("b", "1")), Event::Synced]);
        assert_eq!(news, [News::Present(held("b", "1")), News::Gone(key("a")), News::Complete]);
        assert_eq!(told(&mut picture, &[Event::Deleted(key("a"))]), []);
    }
}
