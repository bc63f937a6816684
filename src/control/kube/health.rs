//! How each watch stands: whether it is connected, and when something was last heard in it.
//!
//! What is served while the cluster can't be asked is old, and everybody may see how old: in the
//! metrics, on a page, and in the log. A word is an object, a change, or the server's regular sign
//! that nothing changed.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use serde_json::{Value, json};
use tracing::info;

use crate::control::desk::unix_ms;
use crate::telemetry::metrics::{Desc, Registry};

/// One kind's.
#[derive(Debug)]
pub struct Watch {
    /// In the plural, as the API names it.
    pub kind: &'static str,
    connected: AtomicBool,
    /// Everything that there is was seen once.
    complete: AtomicBool,
    /// The cluster has no such kind.
    absent: AtomicBool,
    /// Milliseconds since 1970; 0: nothing yet.
    heard_ms: AtomicU64,
    objects: AtomicUsize,
    /// How often everything was listed.
    lists: AtomicU64,
    trouble: Mutex<Option<String>>,
}

impl Watch {
    pub fn new(kind: &'static str) -> Arc<Self> {
        Arc::new(Self {
            kind,
            connected: AtomicBool::new(false),
            complete: AtomicBool::new(false),
            absent: AtomicBool::new(false),
            heard_ms: AtomicU64::new(0),
            objects: AtomicUsize::new(0),
            lists: AtomicU64::new(0),
            trouble: Mutex::default(),
        })
    }

    /// Something came.
    pub fn heard(&self) {
        let now = u64::try_from(unix_ms(SystemTime::now())).unwrap_or_default();
        self.heard_ms.store(now, Relaxed);
        if !self.connected.swap(true, Relaxed) {
            let trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner).take();
            if trouble.is_some() {
                info!(kind = self.kind, "the cluster is watched again");
            }
        }
        self.absent.store(false, Relaxed);
    }

    /// Nothing comes any more; true when that is new.
    pub fn lost(&self, why: String) -> bool {
        let before = self.trouble.lock().unwrap_or_else(PoisonError::into_inner).replace(why);
        self.connected.swap(false, Relaxed) || before.is_none()
    }

    /// The cluster has no such kind; true when that is new.
    pub fn vanished(&self) -> bool {
        self.connected.store(false, Relaxed);
        !self.absent.swap(true, Relaxed)
    }

    pub fn listed(&self) {
        self.lists.fetch_add(1, Relaxed);
    }

    pub fn holds(&self, objects: usize) {
        self.objects.store(objects, Relaxed);
    }

    /// All of it is in the picture.
    pub fn completed(&self) {
        self.complete.store(true, Relaxed);
    }

    pub fn is_complete(&self) -> bool {
        self.complete.load(Relaxed)
    }

    fn shown(&self, now_ms: u64) -> Value {
        let heard_ms = self.heard_ms.load(Relaxed);
        let trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone();
        json!({
            "kind": self.kind,
            "connected": self.connected.load(Relaxed),
            "inCluster": !self.absent.load(Relaxed),
            "complete": self.is_complete(),
            "objects": self.objects.load(Relaxed),
            "lists": self.lists.load(Relaxed),
            "lastHeardAgoMs": (heard_ms > 0).then(|| now_ms.saturating_sub(heard_ms)),
            "trouble": trouble,
        })
    }
}

const CONNECTED: Desc = Desc {
    name: "outrigger_control_watch_connected",
    help: "Whether changes of a kind of object arrive from the API server; kinds that the cluster \
           doesn't have are left out.",
    bound: 16,
    labels: &["kind"],
};
const HEARD: Desc = Desc {
    name: "outrigger_control_watch_last_event_timestamp_seconds",
    help: "When the API server last said something of a kind of object, if only that nothing \
           changed: what is served is as old.",
    bound: 16,
    labels: &["kind"],
};
const LISTS: Desc = Desc {
    name: "outrigger_control_watch_lists_total",
    help: "How often all objects of a kind were listed; more than once: the thread was lost.",
    bound: 16,
    labels: &["kind"],
};

/// All of them.
#[derive(Clone, Debug)]
pub struct Health(Arc<[Arc<Watch>]>);

impl Health {
    pub fn new(watches: &[Arc<Watch>]) -> Self {
        Self(watches.into())
    }

    /// Kinds of which not everything was seen yet.
    pub fn missing(&self) -> Vec<&'static str> {
        self.0.iter().filter(|watch| !watch.is_complete()).map(|watch| watch.kind).collect()
    }

    pub fn register(&self, registry: &Registry) {
        let watches = Arc::clone(&self.0);
        registry.collect(move |sink| {
            for watch in watches.iter().filter(|watch| !watch.absent.load(Relaxed)) {
                let connected = f64::from(u8::from(watch.connected.load(Relaxed)));
                sink.gauge(&CONNECTED, &[watch.kind], connected);
                let heard = watch.heard_ms.load(Relaxed) as f64 / 1000.0;
                sink.gauge(&HEARD, &[watch.kind], heard);
                sink.counter(&LISTS, &[watch.kind], watch.lists.load(Relaxed) as f64);
            }
        });
    }

    /// For the page.
    pub fn shown(&self) -> Value {
        let now_ms = u64::try_from(unix_ms(SystemTime::now())).unwrap_or_default();
        self.0.iter().map(|watch| watch.shown(now_ms)).collect()
    }

    /// For people, in a sentence: how old the oldest of it is.
    pub fn sentence(&self) -> String {
        let now_ms = u64::try_from(unix_ms(SystemTime::now())).unwrap_or_default();
        let present = || self.0.iter().filter(|watch| !watch.absent.load(Relaxed));
        let lost: Vec<&str> = present()
            .filter(|watch| !watch.connected.load(Relaxed))
            .map(|watch| watch.kind)
            .collect();
        let heard = present().map(|watch| watch.heard_ms.load(Relaxed)).min().unwrap_or_default();
        let age = now_ms.saturating_sub(heard) / 1000;
        match (lost.is_empty(), heard) {
            (true, _) => format!("connected, last heard {age} s ago"),
            (false, 0) => format!("not connected yet: {}", lost.join(", ")),
            (false, _) => format!("not connected for {}; as of {age} s ago", lost.join(", ")),
        }
    }
}
