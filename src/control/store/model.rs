//! A store as it should be, and histories for it; for the tests of every kind of store.

use std::collections::HashMap;

use proptest::prelude::*;

use super::{Committed, Expect, Key, Shelf, Write};

/// By name: version and value.
pub type Held = HashMap<String, (u64, String)>;

pub fn key(name: &str) -> Key {
    Key { shelf: Shelf::Tokens, name: name.into() }
}

/// The store as it should be.
#[derive(Default)]
pub struct Model {
    pub revision: u64,
    pub held: Held,
}

impl Model {
    pub fn version(&self, name: &str) -> Option<u64> {
        self.held.get(name).map(|held| held.0)
    }

    /// `None`: a conflict.
    pub fn commit(&mut self, writes: &[Write]) -> Option<u64> {
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

    pub fn told(&mut self, commit: &Committed) {
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
pub struct Wish {
    name: u8,
    expect: u8,
    back: u64,
    value: Option<u8>,
}

impl Wish {
    pub fn write(&self, revision: u64) -> Write {
        let expect = match self.expect {
            0..4 => Expect::Any,
            4 => Expect::Absent,
            _ => Expect::Version(revision.saturating_sub(self.back)),
        };
        let value = self.value.map(|value| value.to_string().into_bytes().into());
        Write { key: key(&self.name.to_string()), expect, value }
    }
}

pub fn wish() -> impl Strategy<Value = Wish> {
    let value = proptest::option::weighted(0.7, any::<u8>());
    (0..4u8, 0..7u8, 0..3u64, value).prop_map(|(name, expect, back, value)| Wish {
        name,
        expect,
        back,
        value,
    })
}
