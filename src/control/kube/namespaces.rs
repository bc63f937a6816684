//! The labels of namespaces, for the injector: whether all pods of one ask for a sidecar.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::resources::Labels;

/// Of every namespace that was seen; clones share them.
#[derive(Clone, Debug, Default)]
pub struct NamespaceLabels(Arc<Mutex<HashMap<String, Labels>>>);

impl NamespaceLabels {
    pub fn put(&self, namespace: &str, labels: Labels) {
        self.lock().insert(namespace.to_owned(), labels);
    }

    pub fn remove(&self, namespace: &str) {
        self.lock().remove(namespace);
    }

    /// `None` where nothing is known of it.
    pub fn of(&self, namespace: &str) -> Option<Labels> {
        self.lock().get(namespace).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Labels>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
