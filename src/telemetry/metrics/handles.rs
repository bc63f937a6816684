//! The handles that rooms keep: a clone shares its value, recording is atomics only.
//! All orderings are relaxed: a scrape is a sample, and no handle guards other memory. (Exemplars
//! are several words, and see to it themselves.)
//! A histogram's count is the sum of its buckets, so the two never disagree within a scrape.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::exemplar::{Exemplar, Exemplars, Sampled};
use super::family::{AnyFamily, Family};

/// Upper bounds of the histogram buckets, in nanoseconds: 0.5 ms to 60 s in steps of about 2.5,
/// Prometheus' usual grid widened at both ends for a proxy; beyond the last is `+Inf`.
pub const BOUNDS: [u64; 16] = [
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    100_000_000,
    250_000_000,
    500_000_000,
    1_000_000_000,
    2_500_000_000,
    5_000_000_000,
    10_000_000_000,
    30_000_000_000,
    60_000_000_000,
];

/// One for each bound, and one for what is beyond the last.
pub(super) const BUCKETS: usize = BOUNDS.len() + 1;

/// What the `# TYPE` line says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Observations in buckets.
    Histogram,
}

/// The value of one series at a scrape.
#[derive(Debug, Clone, PartialEq)]
pub enum Reading {
    Unsigned(u64),
    Signed(i64),
    Float(f64),
    Histogram { counts: [u64; BUCKETS], micros: u64, exemplars: Option<Box<Sampled>> },
}

/// A handle that a family can hold: [`Counter`], [`Gauge`], [`GaugeF64`] or [`Histogram`].
/// Its methods serve the registry; implementing it elsewhere makes no sense.
pub trait Metric: Clone + Default {
    #[doc(hidden)]
    const KIND: Kind;
    #[doc(hidden)]
    fn read(&self) -> Reading;
    #[doc(hidden)]
    fn erase(family: Family<Self>) -> AnyFamily;
    #[doc(hidden)]
    fn recall(family: &AnyFamily) -> Option<&Family<Self>>;
}

macro_rules! metric {
    ($handle:ident, $kind:ident, $read:expr) => {
        impl Metric for $handle {
            const KIND: Kind = Kind::$kind;

            fn read(&self) -> Reading {
                $read(self)
            }

            fn erase(family: Family<Self>) -> AnyFamily {
                AnyFamily::$handle(family)
            }

            fn recall(family: &AnyFamily) -> Option<&Family<Self>> {
                match family {
                    AnyFamily::$handle(family) => Some(family),
                    _ => None,
                }
            }
        }
    };
}

metric!(Counter, Counter, |it: &Counter| Reading::Unsigned(it.value()));
metric!(Gauge, Gauge, |it: &Gauge| Reading::Signed(it.value()));
metric!(GaugeF64, Gauge, |it: &GaugeF64| Reading::Float(it.value()));
metric!(Histogram, Histogram, Histogram::reading);

/// A number that only grows.
#[derive(Debug, Clone, Default)]
pub struct Counter(Arc<AtomicU64>);

impl Counter {
    /// Adds one.
    pub fn inc(&self) {
        self.add(1);
    }

    /// Adds `n`.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Relaxed);
    }

    /// What has been counted so far.
    pub fn value(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// A whole number that goes up and down.
#[derive(Debug, Clone, Default)]
pub struct Gauge(Arc<AtomicI64>);

impl Gauge {
    /// Adds one.
    pub fn inc(&self) {
        self.0.fetch_add(1, Relaxed);
    }

    /// Takes one away.
    pub fn dec(&self) {
        self.0.fetch_sub(1, Relaxed);
    }

    /// Replaces the value.
    pub fn set(&self, value: i64) {
        self.0.store(value, Relaxed);
    }

    /// The present value.
    pub fn value(&self) -> i64 {
        self.0.load(Relaxed)
    }
}

/// A floating-point number that is set: a timestamp in Unix seconds, a ratio.
#[derive(Debug, Clone, Default)]
pub struct GaugeF64(Arc<AtomicU64>);

impl GaugeF64 {
    /// Replaces the value.
    pub fn set(&self, value: f64) {
        self.0.store(value.to_bits(), Relaxed);
    }

    /// The present value.
    pub fn value(&self) -> f64 {
        f64::from_bits(self.0.load(Relaxed))
    }
}

/// Durations, counted in the buckets of [`BOUNDS`].
#[derive(Debug, Clone, Default)]
pub struct Histogram(Arc<Buckets>);

#[derive(Debug, Default)]
struct Buckets {
    counts: [AtomicU64; BUCKETS],
    /// Microseconds: nanoseconds would wrap within weeks where thousands of streams live for days.
    micros: AtomicU64,
    exemplars: Exemplars,
}

impl Histogram {
    /// Counts one duration: two atomic additions.
    pub fn observe(&self, duration: Duration) {
        self.count(nanos(duration));
    }

    /// Counts the duration of a sampled request, and remembers it as its bucket's newest. The first
    /// one of a histogram makes room for them.
    pub fn observe_with(&self, duration: Duration, trace_id: u128) {
        let nanos = nanos(duration);
        let bucket = self.count(nanos);
        let at_ms = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        let at_ms = u64::try_from(at_ms).unwrap_or(u64::MAX);
        self.0.exemplars.note(bucket, Exemplar { trace_id, nanos, at_ms });
    }

    /// The bucket that it fell into.
    fn count(&self, nanos: u64) -> usize {
        let bucket = BOUNDS.partition_point(|bound| *bound < nanos);
        self.0.counts[bucket].fetch_add(1, Relaxed);
        self.0.micros.fetch_add(nanos / 1_000, Relaxed);
        bucket
    }

    fn reading(&self) -> Reading {
        Reading::Histogram {
            counts: std::array::from_fn(|at| self.0.counts[at].load(Relaxed)),
            micros: self.0.micros.load(Relaxed),
            exemplars: self.0.exemplars.read(),
        }
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
