//! Latencies in a few kilobytes: counts in buckets whose width grows with the value, so that every
//! percentile is right to 3 %, from a microsecond to a day.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Buckets in each doubling: 2⁵, so that one is at most 1/32 wider than its values.
const FINENESS: u32 = 5;
const PER_DOUBLING: usize = 1 << FINENESS;
/// Microseconds up to 2³⁷, 38 hours; what is longer counts as that.
const DOUBLINGS: usize = 37 - FINENESS as usize;

/// Counts of durations; may be shared.
#[derive(Debug)]
pub(super) struct Histogram {
    buckets: [AtomicU64; PER_DOUBLING * (DOUBLINGS + 1)],
}

impl Default for Histogram {
    fn default() -> Histogram {
        Histogram { buckets: [const { AtomicU64::new(0) }; PER_DOUBLING * (DOUBLINGS + 1)] }
    }
}

impl Histogram {
    pub(super) fn record(&self, value: Duration) {
        let micros = u64::try_from(value.as_micros()).unwrap_or(u64::MAX);
        let bucket = bucket(micros).min(self.buckets.len() - 1);
        self.buckets[bucket].fetch_add(1, Ordering::Relaxed);
    }

    /// The value that a share of all (0 to 1) does not exceed; `None` when there is none.
    pub(super) fn quantile(&self, share: f64) -> Option<Duration> {
        let counts = || self.buckets.iter().map(|bucket| bucket.load(Ordering::Relaxed));
        let total: u64 = counts().sum();
        let rank = ((total as f64 * share).ceil() as u64).clamp(1, total.max(1));
        let mut seen = 0;
        let reached = counts().position(|count| {
            seen += count;
            seen >= rank
        });
        reached.map(|bucket| Duration::from_micros(highest(bucket)))
    }
}

/// Up to 32 µs each value has its own; then each doubling is divided into 32.
fn bucket(micros: u64) -> usize {
    let doubling = micros.checked_ilog2().unwrap_or(0).saturating_sub(FINENESS);
    let within = usize::try_from(micros >> doubling).unwrap_or(usize::MAX);
    doubling as usize * PER_DOUBLING + within
}

/// The largest value of a bucket.
fn highest(bucket: usize) -> u64 {
    let doubling = (bucket / PER_DOUBLING).saturating_sub(1);
    let within = (bucket - doubling * PER_DOUBLING) as u64;
    ((within + 1) << doubling) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_follow_each_other_and_are_narrow() {
        let mut last = 0;
        for micros in (0..100_000).chain([1 << 20, 1 << 30, (1 << 37) - 1]) {
            let index = bucket(micros);
            assert!(index >= last, "{micros}");
            last = index;
            let top = highest(index);
            assert!(top >= micros, "{micros} in a bucket up to {top}");
            assert!((top - micros) as f64 <= micros as f64 / 32.0, "{micros} as {top}");
        }
        assert_eq!(last, Histogram::default().buckets.len() - 1);
    }

    #[test]
    fn quantiles() {
        let histogram = Histogram::default();
        assert_eq!(histogram.quantile(0.5), None);
        (1..=100).for_each(|millis| histogram.record(Duration::from_millis(millis)));
        histogram.record(Duration::MAX);
        for (share, millis) in [(0.0, 1.0), (0.5, 51.0), (0.99, 100.0)] {
            let found = histogram.quantile(share).expect("some").as_secs_f64() * 1e3;
            assert!((found - millis).abs() <= millis / 32.0, "{share}: {found}");
        }
        assert!(histogram.quantile(1.0) > Some(Duration::from_secs(100_000)));
    }
}
