//! What one window of a port's answers comes to, gathered by all workers with atomics only.
//!
//! An answer that comes while a window is ended may count in either or be torn between the two; one
//! of many does no harm. Called by the gate, once an answer.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicU32, AtomicU64};

use super::gradient::Window;

/// A window is over when it has this many answers,
const ENOUGH: u64 = 50;
/// and has lasted so long; shorter ones would follow every twitch.
const SHORT_US: u64 = 100_000;
/// A slow port has a few in this time, and they have to do.
const LONG_US: u64 = 1_000_000;
const FEW: u64 = 8;

#[derive(Debug, Default)]
pub struct Samples {
    began_us: AtomicU64,
    count: AtomicU64,
    sum_us: AtomicU64,
    peak: AtomicU32,
}

impl Samples {
    /// So many are under way.
    pub fn note_peak(&self, under_way: u32) {
        // Read first: it is hardly ever more than before.
        if self.peak.load(Relaxed) < under_way {
            self.peak.fetch_max(under_way, Relaxed);
        }
    }

    /// An answer came after so long.
    pub fn note(&self, latency_us: u64) {
        self.sum_us.fetch_add(latency_us, Relaxed);
        self.count.fetch_add(1, Relaxed);
    }

    /// Whether the window is over.
    pub fn is_due(&self, now_us: u64) -> bool {
        let (count, lasted) =
            (self.count.load(Relaxed), now_us.saturating_sub(self.began_us.load(Relaxed)));
        count >= ENOUGH && lasted >= SHORT_US || count >= FEW && lasted >= LONG_US
    }

    /// Ends the window and begins another; to be called by one at a time.
    pub fn take(&self, now_us: u64, under_way: u32) -> Option<Window> {
        let (count, sum_us) = (self.count.swap(0, Relaxed), self.sum_us.swap(0, Relaxed));
        let peak = self.peak.swap(under_way, Relaxed);
        self.began_us.store(now_us, Relaxed);
        (count > 0).then(|| Window { latency_us: sum_us as f64 / count as f64, peak })
    }
}
