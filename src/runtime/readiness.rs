//! What is still missing before traffic may come.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

/// Shared by whoever makes the sidecar ready and whoever is asked about it.
#[derive(Clone, Debug, Default)]
pub struct Readiness(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    missing: BTreeSet<&'static str>,
    was_ready: bool,
}

impl Readiness {
    /// Something that must be there first.
    pub fn need(&self, what: &'static str) {
        self.lock().missing.insert(what);
    }

    /// It is there.
    pub fn have(&self, what: &'static str) {
        let mut state = self.lock();
        state.missing.remove(what);
        state.was_ready |= state.missing.is_empty();
    }

    /// What is still missing; empty is ready.
    pub fn missing(&self) -> Vec<&'static str> {
        self.lock().missing.iter().copied().collect()
    }

    /// Whether nothing was missing at any time.
    pub fn was_ready(&self) -> bool {
        self.lock().was_ready
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
