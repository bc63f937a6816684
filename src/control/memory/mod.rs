//! The mesh's own memory: what sidecars reported of their traffic within the last half hour.
//!
//! A synchronous core that is given `now`; bounded in bytes, whoever reports. What is said is counted
//! under the identity of the certificate that it came with and no other: a sidecar that lies, lies
//! about itself. Who reports is named by the `directory`; `owners` counts, `spans` keeps requests,
//! `states` how endpoints are found, `holders` what is open. Sessions write, the API and the admin port read, on copies. Each
//! replica of the control plane knows what is reported to it: `recall` gives its `part` of what is
//! asked, `observer`, `graph` and `traces` answer from all parts together.

mod chart;
mod directory;
mod found;
mod graph;
mod holders;
mod observer;
mod owners;
pub mod part;
mod quantile;
mod recall;
pub mod report;
mod shares;
mod source;
mod spans;
mod states;
#[cfg(test)]
mod tests;
mod traces;
mod track;

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::{Duration, Instant, SystemTime};

use arc_swap::ArcSwap;

pub use chart::Point;
pub use directory::{Directory, Endpoint};
pub use found::Found;
pub use graph::{Edge, Graph, Measured, Node, Route, Row};
pub use observer::{Failure, Observer, Service};
pub use quantile::quantile_ms;
pub use source::{Source, Turn};
pub use spans::Seen;
pub use states::Told;
pub use traces::{Beginning, Filter, Summary, Trace, TraceSpan, trace_id};
pub use track::Sums;

use super::catalog::Catalog;
use super::desk::unix_ms;
use crate::telemetry::metrics::{Desc, Registry};
pub use owners::{Key, Kind};

use holders::Holders;
use owners::Owners;
use spans::Spans;
use states::States;
use track::{SLOTS, slot_ms, slot_of};

/// Bytes that it may take unless somebody says otherwise.
pub const BUDGET: usize = 64 << 20;
/// The directory is made anew no more often than this many times as long as it takes.
const SELDOM: u32 = 50;

const BYTES: Desc = desc(
    "outrigger_control_memory_bytes",
    "What it takes to remember what sidecars reported of their traffic.",
);
const BUDGET_BYTES: Desc =
    desc("outrigger_control_memory_budget_bytes", "What that may take at most.");
const LEFT_OUT: Desc = desc(
    "outrigger_control_memory_left_out_total",
    "Of what sidecars reported, what there was no room for.",
);

const fn desc(name: &'static str, help: &'static str) -> Desc {
    Desc { name, help, bound: 1, labels: &[] }
}

/// Everything that is remembered.
pub struct Memory {
    /// Which of the control plane's replicas this is.
    pub replica: Arc<str>,
    pub began_ms: i64,
    pub budget: usize,
    state: Mutex<State>,
    directory: ArcSwap<Directory>,
    made: Mutex<Made>,
    sessions: AtomicU64,
    /// Reports that came too soon.
    hasty: AtomicU64,
}

struct State {
    owners: Owners,
    spans: Spans,
    states: States,
    holders: Holders,
}

/// When the directory was made last, and how long that took.
struct Made {
    at: Instant,
    took: Duration,
}

/// How much there is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Use {
    pub bytes: usize,
    pub budget: usize,
    /// What there was no room for: ten seconds of something, a kept request, a service's endpoints.
    pub left_out: u64,
}

impl Memory {
    /// Nothing was reported yet.
    pub fn new(budget: usize, replica: &str, now: SystemTime) -> Self {
        let state = State {
            owners: Owners::new(budget / 8 * 5),
            spans: Spans::new(budget / 4),
            states: States::new(budget / 16),
            holders: Holders::new(budget / 16),
        };
        Self {
            replica: replica.into(),
            began_ms: unix_ms(now),
            budget,
            state: Mutex::new(state),
            directory: ArcSwap::default(),
            made: Mutex::new(Made { at: Instant::now(), took: Duration::ZERO }),
            sessions: AtomicU64::new(0),
            hasty: AtomicU64::new(0),
        }
    }

    /// Lets go of what is older than half an hour.
    pub fn sweep(&self, now: SystemTime) {
        let now_ms = unix_ms(now);
        let last = slot_of(now_ms);
        let first = last.saturating_sub(SLOTS - 1);
        let mut state = self.lock();
        // A slot ahead is a clock that was set back a little.
        state.owners.keep(first, last.saturating_add(1));
        state.spans.keep(slot_ms(first));
        state.holders.sweep(now_ms);
    }

    /// Shows how much there is with the metrics.
    pub fn register(self: &Arc<Self>, registry: &Registry) {
        let memory = Arc::clone(self);
        registry.collect(move |sink| {
            let Use { bytes, budget, left_out } = memory.used();
            sink.gauge(&BYTES, &[], bytes as f64);
            sink.gauge(&BUDGET_BYTES, &[], budget as f64);
            sink.counter(&LEFT_OUT, &[], left_out as f64);
        });
    }

    pub fn used(&self) -> Use {
        let state = self.lock();
        let State { owners, spans, states, holders } = &*state;
        let left_out = [owners.left_out(), spans.left_out(), states.left_out(), holders.left_out()];
        Use {
            bytes: owners.bytes() + spans.bytes() + states.bytes() + holders.bytes(),
            budget: self.budget,
            left_out: left_out.iter().sum::<u64>() + self.hasty.load(Relaxed),
        }
    }

    /// Who is who, as the catalog has it now or had it a moment ago.
    pub fn directory(&self, catalog: &Catalog) -> Arc<Directory> {
        let known = self.directory.load_full();
        if known.revision == catalog.revision() && known.revision > 0 {
            return known;
        }
        let mut made = match self.made.try_lock() {
            Ok(made) => made,
            Err(TryLockError::Poisoned(made)) => made.into_inner(),
            Err(TryLockError::WouldBlock) if known.revision > 0 => return known,
            // Nobody is nobody: it is worth waiting for the first.
            Err(TryLockError::WouldBlock) => {
                self.made.lock().unwrap_or_else(PoisonError::into_inner)
            }
        };
        let known = self.directory.load_full();
        if known.revision == catalog.revision() && known.revision > 0 {
            return known;
        }
        if known.revision > 0 && made.at.elapsed() < made.took * SELDOM {
            return known;
        }
        made.at = Instant::now();
        let newest = Arc::new(Directory::of(catalog));
        made.took = made.at.elapsed();
        self.directory.store(Arc::clone(&newest));
        newest
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic would leave numbers that are a little off.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
