//! What a watch has told, by name: complete after its first list, and again after each new one.

use std::collections::BTreeMap;

use kube::runtime::watcher::Event;

/// One value for each name.
#[derive(Debug)]
pub struct Index<V> {
    values: BTreeMap<String, V>,
    /// A list under way, which replaces everything once it is whole.
    coming: Option<BTreeMap<String, V>>,
    is_whole: bool,
}

/// What an event concerns.
#[derive(Debug, PartialEq, Eq)]
pub enum About {
    One(String),
    All,
    /// Nothing yet: a list is under way.
    Nothing,
}

impl<V> Default for Index<V> {
    fn default() -> Self {
        Self { values: BTreeMap::new(), coming: None, is_whole: false }
    }
}

impl<V> Index<V> {
    pub fn take<K>(&mut self, event: &Event<K>, read: impl Fn(&K) -> (String, V)) -> About {
        match event {
            Event::Init => {
                self.coming = Some(BTreeMap::new());
                About::Nothing
            }
            Event::InitApply(object) => {
                let (name, value) = read(object);
                self.coming.get_or_insert_default().insert(name, value);
                About::Nothing
            }
            Event::InitDone => {
                self.values = self.coming.take().unwrap_or_default();
                self.is_whole = true;
                About::All
            }
            Event::Apply(object) => {
                let (name, value) = read(object);
                self.values.insert(name.clone(), value);
                About::One(name)
            }
            Event::Delete(object) => {
                let (name, _) = read(object);
                self.values.remove(&name);
                About::One(name)
            }
        }
    }

    /// Whether everything was told once.
    pub fn is_whole(&self) -> bool {
        self.is_whole
    }

    pub fn value(&self, name: &str) -> Option<&V> {
        self.values.get(name)
    }

    pub fn names(&self) -> impl Iterator<Item = &String> {
        self.values.keys()
    }

    /// Known from elsewhere than the watch, and earlier.
    pub fn set(&mut self, name: String, value: V) {
        self.values.insert(name, value);
    }

    /// Nothing counts any more of what was told.
    pub fn clear(&mut self) {
        self.values.clear();
        self.coming.iter_mut().for_each(BTreeMap::clear);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(object: &(&str, u8)) -> (String, u8) {
        (object.0.to_owned(), object.1)
    }

    #[test]
    fn a_new_list_replaces_the_old_one_when_it_is_whole() {
        let mut index = Index::default();
        let mut take = |event: Event<(&str, u8)>| {
            let about = index.take(&event, read);
            (about, index.is_whole(), index.names().cloned().collect::<Vec<_>>())
        };
        let (none, one) = (About::Nothing, |name: &str| About::One(name.to_owned()));
        assert_eq!(take(Event::Init), (About::Nothing, false, vec![]));
        assert_eq!(take(Event::InitApply(("a", 1))), (none, false, vec![]));
        assert_eq!(take(Event::InitDone), (About::All, true, vec!["a".into()]));
        let both = vec!["a".to_owned(), "b".into()];
        assert_eq!(take(Event::Apply(("b", 2))), (one("b"), true, both.clone()));
        assert_eq!(take(Event::Init), (About::Nothing, true, both.clone()));
        assert_eq!(take(Event::InitApply(("b", 3))), (About::Nothing, true, both));
        assert_eq!(take(Event::InitDone), (About::All, true, vec!["b".into()]));
        assert_eq!(take(Event::Delete(("b", 3))), (one("b"), true, vec![]));
    }
}
