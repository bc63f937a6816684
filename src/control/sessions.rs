//! Which sidecars are connected, and how far each has come.
//!
//! A session enters when it is authenticated and leaves when its entry is dropped, however it ends.
//! What changes with each message is an atomic of its own, so that thousands of sessions don't meet
//! at a lock; the lock is taken to enter, to leave and to list. Written by the API, read by the
//! admin port and the metrics.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use crate::model::SpiffeId;
use crate::runtime::clock;

/// Errors that are kept of a refusal, and how long each may be: a sidecar wrote them. Arbitrary.
const ERRORS: usize = 8;
const ERROR_CHARS: usize = 500;

/// All sessions that are alive.
#[derive(Debug, Default)]
pub struct Sessions {
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    /// How many ever entered; the number of the next.
    entered: u64,
    live: HashMap<u64, Arc<Live>>,
}

/// What is known of a session when it begins.
#[derive(Clone, Debug)]
pub struct SessionFacts {
    /// Whom its certificate names.
    pub identity: SpiffeId,
    /// `name.namespace`.
    pub workload: String,
    /// Where it connects from.
    pub address: SocketAddr,
    /// What it says that it runs.
    pub software: String,
    pub certificate_begins: SystemTime,
    pub certificate_ends: SystemTime,
    /// It says when it has taken a trust bundle.
    pub acknowledges_bundles: bool,
}

/// One session. Every connected sidecar costs one, so it stays small.
#[derive(Debug)]
struct Live {
    identity: SpiffeId,
    workload: Box<str>,
    software: Box<str>,
    address: SocketAddr,
    /// Moments of [`clock::now_us`].
    since_us: u64,
    heard_us: AtomicU64,
    /// Milliseconds since 1970.
    certificate_begins_ms: AtomicU64,
    certificate_ends_ms: AtomicU64,
    sent: AtomicU64,
    acknowledged: AtomicU64,
    subscriptions: AtomicU32,
    /// The generation of the newest bundle that it was sent, and that it trusts.
    bundle_sent: AtomicU32,
    bundle_taken: AtomicU32,
    acknowledges_bundles: bool,
    refused: Mutex<Option<Box<Refused>>>,
    ungoverned: Mutex<Box<[String]>>,
}

/// An update that a sidecar did not take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    pub version: u64,
    /// Why not, in its words.
    pub errors: Vec<String>,
}

/// A session as it is at one moment.
#[derive(Clone, Debug)]
pub struct Session {
    pub facts: SessionFacts,
    pub since: SystemTime,
    /// How long ago it said anything.
    pub silent_for: Duration,
    /// Services and addresses that it follows.
    pub subscriptions: u32,
    /// The generation of the trust bundle that it is known to go by; 0: of none yet.
    pub bundle: u64,
    /// The newest version that it was sent; 0: none yet.
    pub sent: u64,
    /// The newest version that it works with; 0: none yet.
    pub acknowledged: u64,
    /// What it refused and has not been given anything better for.
    pub refused: Option<Refused>,
    /// What it can't read of who may call the workload.
    pub ungoverned: Box<[String]>,
}

/// How many sessions there are, and in which state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SessionCounts {
    pub live: usize,
    /// Work with an older version than they were sent.
    pub behind: usize,
    /// Refused an update and have taken none since.
    pub refusing: usize,
    /// Ever begun; grows with each reconnect.
    pub entered: u64,
}

impl Sessions {
    /// A session begins; it ends when the entry is dropped.
    pub fn enter(self: &Arc<Self>, facts: SessionFacts) -> SessionEntry {
        let now_us = clock::now_us();
        let live = Arc::new(Live {
            identity: facts.identity,
            workload: facts.workload.into(),
            software: facts.software.into(),
            address: facts.address,
            since_us: now_us,
            heard_us: AtomicU64::new(now_us),
            certificate_begins_ms: AtomicU64::new(to_ms(facts.certificate_begins)),
            certificate_ends_ms: AtomicU64::new(to_ms(facts.certificate_ends)),
            sent: AtomicU64::new(0),
            acknowledged: AtomicU64::new(0),
            subscriptions: AtomicU32::new(0),
            bundle_sent: AtomicU32::new(0),
            bundle_taken: AtomicU32::new(0),
            acknowledges_bundles: facts.acknowledges_bundles,
            refused: Mutex::new(None),
            ungoverned: Mutex::default(),
        });
        let mut table = lock(&self.table);
        let number = table.entered;
        table.entered += 1;
        table.live.insert(number, Arc::clone(&live));
        drop(table);
        SessionEntry { sessions: Arc::clone(self), number, live }
    }

    /// All sessions, by workload and then by age, oldest first.
    pub fn list(&self) -> Vec<Session> {
        clock::refresh_wall();
        let now_us = clock::now_us();
        let table = lock(&self.table);
        let mut all: Vec<(u64, Arc<Live>)> =
            table.live.iter().map(|(number, live)| (*number, Arc::clone(live))).collect();
        drop(table);
        all.sort_unstable_by(|(a, x), (b, y)| (&x.workload, a).cmp(&(&y.workload, b)));
        all.iter().map(|(_, live)| live.read(now_us)).collect()
    }

    pub fn counts(&self) -> SessionCounts {
        let table = lock(&self.table);
        let live = table.live.values();
        SessionCounts {
            live: table.live.len(),
            behind: live.clone().filter(|live| live.is_behind()).count(),
            refusing: live.filter(|live| live.is_refusing()).count(),
            entered: table.entered,
        }
    }
}

impl Live {
    fn read(&self, now_us: u64) -> Session {
        let moment =
            |ms: &AtomicU64| SystemTime::UNIX_EPOCH + Duration::from_millis(ms.load(Relaxed));
        Session {
            facts: SessionFacts {
                identity: self.identity.clone(),
                workload: self.workload.to_string(),
                address: self.address,
                software: self.software.to_string(),
                certificate_begins: moment(&self.certificate_begins_ms),
                certificate_ends: moment(&self.certificate_ends_ms),
                acknowledges_bundles: self.acknowledges_bundles,
            },
            since: clock::wall_at(self.since_us),
            silent_for: Duration::from_micros(now_us.saturating_sub(self.heard_us.load(Relaxed))),
            subscriptions: self.subscriptions.load(Relaxed),
            bundle: u64::from(self.bundle_taken.load(Relaxed)),
            sent: self.sent.load(Relaxed),
            acknowledged: self.acknowledged.load(Relaxed),
            refused: lock(&self.refused).as_deref().cloned(),
            ungoverned: lock(&self.ungoverned).clone(),
        }
    }

    fn is_refusing(&self) -> bool {
        lock(&self.refused).is_some() || !lock(&self.ungoverned).is_empty()
    }

    fn is_behind(&self) -> bool {
        self.acknowledged.load(Relaxed) < self.sent.load(Relaxed)
    }
}

/// A session's place in the ledger, held by whoever serves it.
#[derive(Debug)]
pub struct SessionEntry {
    sessions: Arc<Sessions>,
    number: u64,
    live: Arc<Live>,
}

impl SessionEntry {
    /// The sidecar said something.
    pub fn heard(&self) {
        self.live.heard_us.store(clock::now_us(), Relaxed);
    }

    /// It follows so many services and addresses now.
    pub fn subscribed(&self, count: usize) {
        self.live.subscriptions.store(u32::try_from(count).unwrap_or(u32::MAX), Relaxed);
    }

    /// It was sent this version.
    pub fn sent(&self, version: u64) {
        self.live.sent.fetch_max(version, Relaxed);
    }

    /// It works with this version. What it refused before is over with.
    pub fn acknowledged(&self, version: u64) {
        self.live.acknowledged.fetch_max(version, Relaxed);
        lock(&self.live.refused).take_if(|refused| refused.version <= version);
    }

    /// It did not take this version, and why. What is longer than a page can show is cut.
    pub fn refused(&self, version: u64, errors: Vec<String>) {
        let errors = cut(errors);
        *lock(&self.live.refused) = Some(Box::new(Refused { version, errors }));
    }

    /// It can't read these of who may call the workload; empty: it can.
    pub fn ungoverned(&self, faults: Vec<String>) {
        *lock(&self.live.ungoverned) = cut(faults).into();
    }

    /// It is about to be sent the trust bundle of this generation; whether it was not yet.
    pub fn bundle_sent(&self, generation: u64) -> bool {
        let generation = narrow(generation);
        self.live.bundle_sent.fetch_max(generation, Relaxed) < generation
    }

    /// It goes by the trust bundle of this generation. What it was not sent it can't have.
    pub fn bundle_taken(&self, generation: u64) {
        let most = self.live.bundle_sent.load(Relaxed);
        self.live.bundle_taken.fetch_max(narrow(generation).min(most), Relaxed);
    }

    /// It has another certificate. One of a release that acknowledges no bundle has taken what it was
    /// sent before: it reads in order.
    pub fn renewed(&self, begins: SystemTime, certificate_ends: SystemTime) {
        if !self.live.acknowledges_bundles {
            self.bundle_taken(u64::MAX);
        }
        self.live.certificate_begins_ms.store(to_ms(begins), Relaxed);
        self.live.certificate_ends_ms.store(to_ms(certificate_ends), Relaxed);
    }
}

impl Drop for SessionEntry {
    fn drop(&mut self) {
        let mut table = lock(&self.sessions.table);
        table.live.remove(&self.number);
        // A storm of reconnects leaves room for all of them behind.
        if table.live.capacity() > 4 * (table.live.len() + 64) {
            table.live.shrink_to_fit();
        }
    }
}

/// No more than a page can show.
fn cut(mut errors: Vec<String>) -> Vec<String> {
    errors.truncate(ERRORS);
    for error in &mut errors {
        if let Some((end, _)) = error.char_indices().nth(ERROR_CHARS) {
            error.truncate(end);
        }
        error.shrink_to_fit();
    }
    errors.shrink_to_fit();
    errors
}

fn narrow(generation: u64) -> u32 {
    u32::try_from(generation).unwrap_or(u32::MAX)
}

fn to_ms(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
