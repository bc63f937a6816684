//! The objects that people wrote, as they were seen last, and how they stand together.
//!
//! Fed by whoever reads them, drawn again when one of them or anything that they may be about
//! changed; a moment later, so that what comes together is drawn once. Called by the wiring, for
//! whoever writes statuses.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep;

use super::status::{Picture, Subject, Verdicts};
use crate::control::catalog::{Catalog, ObjectName};

/// Which object: its kind, then `namespace/name`.
pub type ObjectKey = (&'static str, ObjectName);

/// Between two pictures: a rollout changes the catalog many times a second, and no status.
const PAUSE: Duration = Duration::from_millis(500);

/// All of them; clones share them.
#[derive(Clone, Debug)]
pub struct Subjects {
    all: Arc<Mutex<BTreeMap<ObjectKey, Arc<Subject>>>>,
    changes: watch::Sender<u64>,
}

impl Default for Subjects {
    fn default() -> Self {
        Self { all: Arc::default(), changes: watch::Sender::new(0) }
    }
}

impl Subjects {
    /// `None`: the object is gone, or is not for the mesh.
    pub fn pass(&self, key: ObjectKey, subject: Option<Subject>) {
        match subject {
            Some(subject) => drop(self.lock().insert(key, Arc::new(subject))),
            None => drop(self.lock().remove(&key)),
        }
        self.changes.send_modify(|count| *count += 1);
    }

    /// Draws pictures until nobody looks at them any more; none while nobody leads here.
    pub async fn draw(
        self,
        catalog: Arc<Catalog>,
        pictures: watch::Sender<Arc<Picture>>,
        mut is_leader: watch::Receiver<bool>,
    ) {
        let (mut changes, mut revisions) = (self.changes.subscribe(), catalog.revisions());
        while is_leader.wait_for(|leads| *leads).await.is_ok() {
            changes.mark_unchanged();
            revisions.mark_unchanged();
            let subjects: Vec<Arc<Subject>> = self.lock().values().cloned().collect();
            if !subjects.is_empty() || !pictures.borrow().subjects.is_empty() {
                let snapshot = catalog.snapshot();
                let resources = snapshot.resources.values().map(|held| &*held.resource);
                let verdicts = Arc::new(Verdicts::of(resources));
                if pictures.send(Arc::new(Picture { subjects, verdicts })).is_err() {
                    return;
                }
            }
            sleep(PAUSE).await;
            tokio::select! {
                Ok(()) = changes.changed() => {}
                Ok(()) = revisions.changed() => {}
                else => return,
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<ObjectKey, Arc<Subject>>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
