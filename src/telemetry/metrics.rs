//! Counters, gauges and histograms, and the registry that `/metrics` renders.
//!
//! The data path keeps handles: recording through one is a relaxed atomic or two, no lock, no
//! lookup, no allocation (a lookup per request costs 300 times a kept handle). Locks are taken only
//! where handles are made and where a scrape copies them. Every family has a bound on its series,
//! stated in its help text; what would exceed it is counted as `other` and in
//! `outrigger_series_dropped_total`. Rooms declare their families in their own `metrics.rs`.

mod exemplar;
mod exposition;
mod family;
mod handles;
mod sink;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use exposition::Format;
pub use family::{Desc, Family, Values};
pub use handles::{BOUNDS, Counter, Gauge, GaugeF64, Histogram, Metric, Reading};
pub use sink::Sink;

use family::{AnyFamily, Snapshot};

type Collector = Arc<dyn Fn(&mut Sink<'_>) + Send + Sync>;

/// All families of a process. Clones share them.
#[derive(Clone)]
pub struct Registry(Arc<Inner>);

struct Inner {
    families: Mutex<BTreeMap<&'static str, AnyFamily>>,
    collectors: Mutex<Vec<Collector>>,
    dropped: Family<Counter>,
}

impl Default for Registry {
    fn default() -> Self {
        let dropped: Family<Counter> = Family::new(
            Desc {
                name: "outrigger_series_dropped_total",
                help: "Lookups answered with the series `other` because the family was full.",
                bound: 1024,
                labels: &["family"],
            },
            None,
        );
        let families = BTreeMap::from([(dropped.desc().name, Counter::erase(dropped.clone()))]);
        Self(Arc::new(Inner {
            families: Mutex::new(families),
            collectors: Mutex::default(),
            dropped,
        }))
    }
}

/// Each family is registered once; registering the same name again with the same help, bound and
/// labels returns the existing one, so that every worker may build its own set of handles.
///
/// # Panics
/// When a name is registered with two shapes, when a counter's name does not end in `_total`, or
/// when a name or label is not a Prometheus one: mistakes of the program, found by its first test.
impl Registry {
    /// A family of counters with at most `bound` series, and `other` beyond them.
    pub fn counter_family(
        &self,
        name: &'static str,
        help: &'static str,
        bound: usize,
        labels: &'static [&'static str],
    ) -> Family<Counter> {
        self.family(Desc { name, help, bound, labels })
    }

    /// A family of whole-number gauges.
    pub fn gauge_family(
        &self,
        name: &'static str,
        help: &'static str,
        bound: usize,
        labels: &'static [&'static str],
    ) -> Family<Gauge> {
        self.family(Desc { name, help, bound, labels })
    }

    /// A family of duration histograms, in seconds, over [`BOUNDS`].
    pub fn histogram_family(
        &self,
        name: &'static str,
        help: &'static str,
        bound: usize,
        labels: &'static [&'static str],
    ) -> Family<Histogram> {
        self.family(Desc { name, help, bound, labels })
    }

    /// One counter without labels.
    pub fn counter(&self, name: &'static str, help: &'static str) -> Counter {
        self.family(Desc { name, help, bound: 1, labels: &[] }).with(&[])
    }

    /// One whole-number gauge without labels.
    pub fn gauge(&self, name: &'static str, help: &'static str) -> Gauge {
        self.family(Desc { name, help, bound: 1, labels: &[] }).with(&[])
    }

    /// One floating-point gauge without labels, for timestamps.
    pub fn gauge_f64(&self, name: &'static str, help: &'static str) -> GaugeF64 {
        self.family(Desc { name, help, bound: 1, labels: &[] }).with(&[])
    }

    /// A family of any kind; the kind follows from the handle that the caller keeps.
    pub fn family<M: Metric>(&self, desc: Desc) -> Family<M> {
        desc.check(M::KIND);
        let mut families = lock(&self.0.families);
        let known = families
            .entry(desc.name)
            .or_insert_with(|| M::erase(Family::new(desc, Some(self.0.dropped.clone()))));
        match M::recall(known) {
            Some(family) if *family.desc() == desc => family.clone(),
            _ => panic!("metric family {} is registered with two shapes", desc.name),
        }
    }

    /// Has `collector` called at every scrape, to add values that exist only then. It runs on the
    /// scraping thread without a lock of the registry.
    pub fn collect(&self, collector: impl Fn(&mut Sink<'_>) + Send + Sync + 'static) {
        lock(&self.0.collectors).push(Arc::new(collector));
    }

    /// The exposition of everything, sorted by family name and then by label values.
    pub fn render(&self, format: Format) -> String {
        exposition::render(self.snapshot().values(), format)
    }

    fn snapshot(&self) -> BTreeMap<&'static str, Snapshot> {
        let collectors = lock(&self.0.collectors).clone();
        let mut sink = Sink::new(&self.0.dropped);
        for collector in &collectors {
            collector(&mut sink);
        }
        let mut all = sink.finish();
        let families: Vec<AnyFamily> = lock(&self.0.families).values().cloned().collect();
        all.extend(families.iter().map(|family| (family.desc().name, family.snapshot())));
        all
    }
}

/// A panic while a table was locked leaves it whole: every change is one insertion or removal.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
