//! The configuration read again: on SIGHUP, or when its file changes.
//!
//! What can change at run time does; what can't is refused with a reason in the log, and the old
//! configuration goes on.

use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::SystemTime;

use tokio::sync::{Notify, watch as channel};
use tokio::time::timeout;
use tracing::{error, info, warn};

use super::plane::Plane;
use super::run::Options;
use crate::admin::View;
use crate::agent::POLL;
use crate::config::{Config, Loaded, changes};
use crate::resources::Fault;
use crate::runtime::DrainSettings;
use crate::runtime::supervise::kept;
use crate::runtime::workers::Workers;
use crate::telemetry::log::LogHandle;
use crate::tls;

/// The settings that rooms follow while they run.
pub struct Live {
    identity: Option<channel::Sender<tls::Settings>>,
    pub resources: channel::Sender<Vec<PathBuf>>,
    pub drain: channel::Sender<DrainSettings>,
}

impl Live {
    pub fn new(config: &Config) -> Self {
        Self {
            identity: config.identity.clone().map(channel::Sender::new),
            resources: channel::Sender::new(config.resources.clone()),
            drain: channel::Sender::new(config.drain),
        }
    }

    pub fn identity(&self) -> Option<channel::Receiver<tls::Settings>> {
        self.identity.as_ref().map(channel::Sender::subscribe)
    }

    fn take(&self, new: &Config) {
        if let (Some(identity), Some(new)) = (&self.identity, &new.identity) {
            identity.send_replace(new.clone());
        }
        self.resources.send_replace(new.resources.clone());
        self.drain.send_replace(new.drain);
    }
}

/// Watches until the process ends.
pub async fn watch(
    options: Options,
    loaded: Loaded,
    log: LogHandle,
    view: View,
    workers: Workers<Plane>,
    live: Live,
    asked: Rc<Notify>,
) {
    let mut current = loaded.config;
    let mut seen = stamp(options.config.as_deref());
    kept("whoever watches the configuration", async || {
        loop {
            let was_asked = timeout(POLL, asked.notified()).await.is_ok();
            let now = stamp(options.config.as_deref());
            if !was_asked && now == seen {
                continue;
            }
            // First: a text that breaks us is not read again and again.
            seen = now;
            match options.load() {
                Ok(loaded) => take(&mut current, loaded, &log, &view, &workers, &live),
                Err(faults) => complain(&faults),
            }
        }
    })
    .await;
}

fn complain(faults: &[Fault]) {
    for fault in faults {
        error!("{fault}");
    }
    error!(faults = faults.len(), "the configuration changed and can't be used; the old one stays");
}

fn stamp(path: Option<&Path>) -> Option<(SystemTime, u64)> {
    let metadata = std::fs::metadata(path?).ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
}

/// Applies what can change while running.
fn take(
    current: &mut Config,
    loaded: Loaded,
    log: &LogHandle,
    view: &View,
    workers: &Workers<Plane>,
    live: &Live,
) {
    let found = changes(current, &loaded.config);
    for field in &found.restart {
        warn!("{field} changed, which takes a restart; the old value stays in use");
    }
    let new = &loaded.config;
    if let Err(error) = log.set_level(new.log.level.as_str()) {
        error!(%error, "the log level stays");
    }
    let settings = new.telemetry.clone();
    workers.on_each(move |plane| {
        plane.log.configure(&settings.access_log);
        plane.tracer.configure(&settings.traces);
    });
    live.take(new);
    current.log.level = new.log.level;
    current.telemetry.access_log = new.telemetry.access_log;
    current.telemetry.traces.sample_ratio = new.telemetry.traces.sample_ratio;
    current.telemetry.traces.slower_than = new.telemetry.traces.slower_than;
    current.resources = new.resources.clone();
    current.drain = new.drain;
    if current.identity.is_some() && new.identity.is_some() {
        current.identity = new.identity.clone();
    }
    view.config.store(Arc::new(loaded.to_json()));
    info!(changed = ?found.live, "configuration read again");
}
