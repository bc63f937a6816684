//! How it stands with the control plane, for pages and metrics.

use std::sync::{Mutex, PoisonError};
use std::time::{Instant, SystemTime};

use crate::telemetry::metrics::{Gauge, GaugeF64, Registry};

/// Shared by the agent, which writes, and the admin port.
pub struct Status {
    pub address: String,
    connected: Gauge,
    last_update: GaugeF64,
    facts: Mutex<Facts>,
}

/// What is known of the newest session.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    pub connected: bool,
    /// Since when that is so.
    pub since: Option<SystemTime>,
    /// The version of the picture in use, as the control plane calls it.
    pub version: Option<String>,
    /// When the last update was taken.
    pub updated: Option<SystemTime>,
    /// When anything was heard last.
    pub heard: Option<Instant>,
    /// Why the last session ended, while there is none.
    pub error: Option<String>,
    /// When the next certificate is due.
    pub renews: Option<SystemTime>,
    /// What the control plane had against the registration; empty: nothing.
    pub refusals: Vec<String>,
    /// What can't be read of the newest access policies; empty: they are in use.
    pub ungoverned: Vec<String>,
}

impl Status {
    pub fn new(address: String, registry: &Registry) -> Self {
        Self {
            address,
            connected: registry.gauge(
                "outrigger_control_plane_connected",
                "1 while there is a session with the control plane.",
            ),
            last_update: registry.gauge_f64(
                "outrigger_control_plane_last_update_timestamp_seconds",
                "When the control plane last said something new, in seconds since 1970.",
            ),
            facts: Mutex::default(),
        }
    }

    /// As it stands now.
    pub fn facts(&self) -> Facts {
        self.lock().clone()
    }

    pub fn connected(&self) {
        self.connected.set(1);
        let mut facts = self.lock();
        facts.connected = true;
        facts.since = Some(SystemTime::now());
        facts.error = None;
    }

    pub fn disconnected(&self, error: &str) {
        self.connected.set(0);
        let mut facts = self.lock();
        if std::mem::take(&mut facts.connected) || facts.since.is_none() {
            facts.since = Some(SystemTime::now());
        }
        facts.error = Some(error.to_owned());
    }

    pub fn heard(&self) {
        self.lock().heard = Some(Instant::now());
    }

    pub fn updated(&self, version: &str) {
        let now = SystemTime::now();
        let since = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        self.last_update.set(since.as_secs_f64());
        let mut facts = self.lock();
        facts.version = Some(version.to_owned());
        facts.updated = Some(now);
    }

    pub fn renews(&self, at: SystemTime) {
        self.lock().renews = Some(at);
    }

    pub fn registration(&self, refusals: Vec<String>) {
        self.lock().refusals = refusals;
    }

    pub fn ungoverned(&self, faults: Vec<String>) {
        self.lock().ungoverned = faults;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Facts> {
        self.facts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
