//! The keys of one source, as they are now.
//!
//! The last good ones stay, however long the source is silent. Whoever meets a key that is not there
//! may ask for a newer look, but not more often than [`APART`]: a flood of made-up names costs the
//! issuer one request in that time.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use arc_swap::{ArcSwap, Guard};
use tokio::sync::{Notify, watch};

use crate::jwt::Keys;
use crate::resources::access_policy::KeySource;

/// Between two looks that somebody asked for.
pub const APART: Duration = Duration::from_secs(10);

/// Keys, and how it stands with their source.
#[derive(Debug)]
pub struct Ring {
    pub source: KeySource,
    newest: ArcSwap<Option<Keys>>,
    state: Mutex<State>,
    /// Somebody wants newer ones.
    wanted: Notify,
    /// Rung after each look.
    looked: watch::Sender<()>,
    bell: watch::Sender<()>,
}

#[derive(Debug, Default)]
struct State {
    is_looking: bool,
    /// When somebody asked last for a look that came about.
    asked: Option<Instant>,
    /// When the newest keys came.
    taken: Option<(Instant, SystemTime)>,
    error: Option<String>,
}

/// How it stands, for pages.
#[derive(Clone, Debug, PartialEq)]
pub struct RingFacts {
    pub keys: usize,
    /// Why others of the set are not used.
    pub left_out: Vec<String>,
    /// Since when no newer ones came, and the wall clock then.
    pub taken: Option<(Duration, SystemTime)>,
    /// What went wrong at the last look.
    pub error: Option<String>,
}

impl Ring {
    pub(super) fn new(source: KeySource, bell: watch::Sender<()>) -> Arc<Self> {
        let ring = Self {
            newest: ArcSwap::from_pointee(None),
            state: Mutex::default(),
            wanted: Notify::new(),
            looked: watch::Sender::new(()),
            bell,
            source,
        };
        if let KeySource::Inline(text) = &ring.source {
            let keys = Keys::read(text.as_bytes()).map_err(|error| error.to_string());
            ring.take(keys, Instant::now(), SystemTime::now());
        }
        Arc::new(ring)
    }

    /// `None`: none came yet.
    pub fn keys(&self) -> Guard<Arc<Option<Keys>>> {
        self.newest.load()
    }

    /// A look begins.
    pub fn begin(&self) {
        self.lock().is_looking = true;
    }

    /// What came of a look. Without keys those before stay.
    pub fn take(&self, keys: Result<Keys, String>, now: Instant, wall: SystemTime) {
        let mut state = self.lock();
        state.is_looking = false;
        let has_come = keys.is_ok();
        match keys {
            Ok(keys) => {
                self.newest.store(Arc::new(Some(keys)));
                state.taken = Some((now, wall));
                state.error = None;
            }
            Err(error) => state.error = Some(error),
        }
        drop(state);
        self.looked.send_replace(());
        if has_come {
            self.bell.send_replace(());
        }
    }

    /// Asks for a newer look; `None`: the last one is too fresh, and nobody looks.
    pub(super) fn ask(&self, now: Instant) -> Option<watch::Receiver<()>> {
        if !matches!(self.source, KeySource::Url { .. }) {
            return None;
        }
        let looked = self.looked.subscribe();
        let mut state = self.lock();
        let is_due = state.asked.is_none_or(|asked| now.duration_since(asked) >= APART);
        if !state.is_looking && is_due {
            state.is_looking = true;
            state.asked = Some(now);
            self.wanted.notify_one();
        }
        state.is_looking.then_some(looked)
    }

    /// Waits until somebody has asked.
    pub async fn asked(&self) {
        self.wanted.notified().await;
    }

    pub fn facts(&self, now: Instant) -> RingFacts {
        let state = self.lock();
        let newest = self.newest.load();
        let keys = newest.as_ref().as_ref();
        RingFacts {
            keys: keys.map_or(0, Keys::len),
            left_out: keys.map(|keys| keys.left_out().to_vec()).unwrap_or_default(),
            taken: state.taken.map(|(at, wall)| (now.duration_since(at), wall)),
            error: state.error.clone(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
