//! Keeping registrations up among replicas, and ending those that nobody keeps up.
//!
//! Only where there are replicas: a process that is alone ends by lease what it holds, and nobody
//! holds anything beside it. What concerns one name happens in turn, as everywhere in the registrar.

use std::collections::HashSet;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use tracing::{info, warn};

use super::strays::{LOOK, STRAY, Strays};
use super::{Holders, Registrar, encoded, removal, stored};
use crate::control::catalog::Registration;
use crate::control::store::{CommitError, Expect, Key, Shelf, Write};
use crate::http::respond::chain;
use crate::runtime::clock::as_us;

/// Between two writes of what is held: one update of the shared state for each replica that holds
/// anything.
pub const REFRESH: Duration = Duration::from_secs(30);

impl Registrar {
    /// Writes what sessions of this replica hold, so that the others see that it is held; to be
    /// called every [`REFRESH`]. What was taken out all the same is put back: at once when this
    /// replica could not write for long, else when it still is out, and held here, at the next call.
    /// A session whose sidecar went to another replica and was taken back there is over by then.
    pub async fn refresh(&self, now_us: u64) {
        if self.holders == Holders::Us {
            return;
        }
        let names: Vec<Arc<str>> = {
            let leases = self.lock();
            self.held().keys().filter(|name| leases.is_held(name)).cloned().collect()
        };
        let _turns = self.turns(&names).await;
        let was_away = now_us.saturating_sub(self.refreshed_us.load(Relaxed));
        let was_away = was_away > as_us(STRAY.saturating_sub(2 * LOOK));
        let missed = std::mem::take(&mut *self.missed());
        // Each by itself, so that one that somebody else wrote keeps no other from being written;
        // the store makes one update of them.
        let writes = names.into_iter().filter_map(|name| {
            let held = self.held().get(&name).cloned()?;
            let newest = self.catalog.registration(&name).map(|newest| newest.version);
            let expect = match newest {
                Some(newest) if newest == held.version => Expect::Version(newest),
                // Another replica holds it.
                Some(_) => {
                    self.held().remove(&name);
                    return None;
                }
                None if was_away || missed.contains(&name) => Expect::Absent,
                None => {
                    self.missed().insert(name);
                    return None;
                }
            };
            Some(self.rewrite(name, held, expect))
        });
        let failed = join_all(writes.collect::<Vec<_>>()).await.into_iter().flatten().next();
        match failed {
            None => self.refreshed_us.store(now_us, Relaxed),
            Some(error) => {
                let error = chain(&error);
                warn!("the machines that are connected here can't be kept up now: {error}");
            }
        }
    }

    /// `None`: it was written, or somebody else was first.
    async fn rewrite(
        &self,
        name: Arc<str>,
        held: Arc<Registration>,
        expect: Expect,
    ) -> Option<CommitError> {
        let Registration { workload, created_ms, enrollment, version: _, since: _ } = &*held;
        let value = encoded(&stored(workload.clone(), *created_ms, *enrollment));
        let key = Key { shelf: Shelf::Registrations, name: Arc::clone(&name) };
        match self.store.commit(vec![Write { key, expect, value: Some(value) }]).await {
            Ok(_) => {
                if expect == Expect::Absent {
                    info!(workload = %name, "registered again: it was here all the time");
                }
                if let Some(newest) = self.catalog.registration(&name) {
                    self.held().insert(name, newest);
                }
                None
            }
            Err(CommitError::Conflict { .. }) => None,
            Err(error) => Some(error),
        }
    }

    /// Takes out what no replica keeps up; to be called every [`LOOK`].
    pub async fn end_strays(&self, now_us: u64) {
        if self.holders == Holders::Us {
            return;
        }
        let others = |held: &Arc<Registration>| (Arc::from(held.name()), held.version);
        let mut there: Vec<(Arc<str>, u64)> =
            self.catalog.registrations().iter().map(others).collect();
        there.retain(|(name, _)| !self.lock().contains(name));
        let ended = self.strays().look(&there, now_us);
        for (name, version) in ended {
            let _turn = self.lane(&name).lock().await;
            if self.lock().contains(&name) {
                continue;
            }
            match self.store.commit(vec![removal(&name, version)]).await {
                Ok(_) => {
                    warn!(workload = %name, "no replica has its sidecar since {STRAY:?}; it is taken out");
                }
                // It came back meanwhile, or another replica took it out.
                Err(CommitError::Conflict { .. }) => {}
                Err(error) => {
                    warn!(workload = %name, "it can't be taken out now: {}", chain(&error));
                }
            }
        }
    }

    fn missed(&self) -> MutexGuard<'_, HashSet<Arc<str>>> {
        self.missed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn strays(&self) -> MutexGuard<'_, Strays> {
        self.strays.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
