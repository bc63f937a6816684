//! What is still missing before traffic may come.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

/// Shared by whoever makes the sidecar ready and whoever is asked about it.
#[derive(Clone, Debug, Default)]
pub struct Readiness(Arc<Mutex<BTreeSet<&'static str>>>);

impl Readiness {
    /// Something that must be there first.
    pub fn need(&self, what: &'static str) {
        self.lock().insert(what);
    }

    /// It is there.
    pub fn have(&self, what: &'static str) {
        self.lock().remove(what);
    }

    /// What is still missing; empty is ready.
    pub fn missing(&self) -> Vec<&'static str> {
        self.lock().iter().copied().collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeSet<&'static str>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
