//! When each service changed last, also those that are gone.
//!
//! A sidecar that was away is told what changed since. What is gone is remembered for that, up to a
//! bound; whoever comes from before the last forgetting can't know what it missed. Kept by the
//! picture.

use std::collections::HashMap;

use crate::model::ServiceName;

/// Services that are gone are remembered up to this many. Arbitrary; few in tests, to get there.
const GONE: usize = if cfg!(test) { 100 } else { 100_000 };

#[derive(Default)]
pub struct Ages {
    changed_at: HashMap<ServiceName, u64>,
    forgotten_at: u64,
}

impl Ages {
    pub fn note(&mut self, name: ServiceName, revision: u64) {
        self.changed_at.insert(name, revision);
    }

    /// When a service changed last; one that never was has never changed.
    pub fn changed_at(&self, name: &ServiceName) -> u64 {
        self.changed_at.get(name).copied().unwrap_or_default()
    }

    /// When services that were gone were forgotten last. Who was told of a moment before that builds
    /// on nothing; zero: never.
    pub fn forgotten_at(&self) -> u64 {
        self.forgotten_at
    }

    /// Forgets those that are gone where they are too many. There are `live` others.
    pub fn prune(&mut self, live: usize, is_live: impl Fn(&ServiceName) -> bool, revision: u64) {
        if self.changed_at.len() > live + GONE {
            self.changed_at.retain(|name, _| is_live(name));
            self.forgotten_at = revision;
        }
    }
}
