//! Watching requests as they end, while somebody wants to.
//!
//! All workers share one [`Taps`]. While nobody taps, a request asks an atomic flag and nothing else.
//! While somebody does, each request that ends is judged by the filters of each tap, and becomes a
//! [`Record`] in that tap's bounded [`Queue`]: no more of them than its rate, and what its reader has
//! no time for is counted, never waited for. Read by the admin port and by the session with the
//! control plane. A record has the fields of the access log, without what may be secret.

mod bucket;
mod filter;
mod queue;
mod record;
#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;

pub use filter::{Filter, Path, Statuses};
pub use queue::{Drained, LeftOut, Queue};
pub use record::Record;

use super::access_log::Entry;

/// Records a second, unless somebody says otherwise.
pub const RATE: u32 = 100;
/// Records a second that somebody may ask for.
pub const MOST_RATE: u32 = 1_000;
/// Taps of one sidecar at once: a few people, and what the control plane hands on. Arbitrary.
const MOST: usize = 8;

/// There are too many taps already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{MOST} taps are open already: end one of them first")]
pub struct TooMany;

/// All taps of a sidecar; clones share them, and go to any thread.
#[derive(Clone, Default)]
pub struct Taps(Arc<Shared>);

#[derive(Default)]
struct Shared {
    is_watched: AtomicBool,
    live: ArcSwap<Vec<Arc<Tap>>>,
    /// Held by whoever changes the list.
    change: Mutex<()>,
}

struct Tap {
    /// Any of them lets a request through.
    filters: Vec<Filter>,
    queue: Queue<Record>,
}

impl Taps {
    /// Begins to watch what any of these filters lets through, at most so many a second.
    ///
    /// # Errors
    /// When there are too many already.
    pub fn begin(&self, filters: Vec<Filter>, rate: u32, now_us: u64) -> Result<Watcher, TooMany> {
        let tap = Arc::new(Tap { filters, queue: Queue::new(rate.clamp(1, MOST_RATE), now_us) });
        let _changing = self.0.changing();
        let mut live = Vec::clone(&self.0.live.load());
        if live.len() >= MOST {
            return Err(TooMany);
        }
        live.push(Arc::clone(&tap));
        self.0.store(live);
        Ok(Watcher { taps: self.clone(), tap })
    }

    /// Whether anybody watches, so that a request need not be described for nobody.
    pub fn is_watched(&self) -> bool {
        self.0.is_watched.load(Relaxed)
    }

    /// Gives a request that ended to whoever watches it.
    pub fn offer(&self, entry: &Entry<'_>, now_us: u64) {
        for tap in self.0.live.load().iter() {
            if tap.filters.iter().any(|filter| filter.matches(entry)) {
                tap.queue.offer(now_us, || {
                    let record = Record::of(entry);
                    let size = record.size();
                    (record, size)
                });
                if tap.queue.is_forgotten(now_us) {
                    self.end(tap);
                }
            }
        }
    }

    /// The process is about to end: nothing is told any more.
    pub fn close(&self) {
        for tap in self.0.live.load().iter() {
            self.end(tap);
        }
    }

    fn end(&self, tap: &Arc<Tap>) {
        let _changing = self.0.changing();
        let mut live = Vec::clone(&self.0.live.load());
        live.retain(|other| !Arc::ptr_eq(other, tap));
        self.0.store(live);
        tap.queue.close();
    }
}

impl Shared {
    fn store(&self, live: Vec<Arc<Tap>>) {
        self.is_watched.store(!live.is_empty(), Relaxed);
        self.live.store(Arc::new(live));
    }

    /// A panic under the lock is impossible short of running out of memory.
    fn changing(&self) -> MutexGuard<'_, ()> {
        self.change.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whoever reads a tap; the tap ends with it.
pub struct Watcher {
    taps: Taps,
    tap: Arc<Tap>,
}

impl Watcher {
    /// Where its records are.
    pub fn queue(&self) -> &Queue<Record> {
        &self.tap.queue
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.taps.end(&self.tap);
    }
}
