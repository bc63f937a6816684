//! A family: one name, help text and set of labels, and its series.
//! It never holds more than its bound plus `other`, and no two series have the same labels. The
//! table stays sorted, so that lookups allocate nothing and scrapes come out in a stable order.
//! Rooms call [`Family::with`] when a snapshot is built or a series is first used, and keep the
//! handle.

use std::cmp::Ordering;
use std::sync::{Arc, Mutex};

use super::handles::{Kind, Reading};
use super::{Counter, Gauge, GaugeF64, Histogram, Metric, exposition, lock};

/// Each label's value in the series that takes what exceeds the bound.
const OTHER: &str = "other";

/// The label values of one series, in the order of the labels.
pub type Values = Arc<[Box<str>]>;

/// What a family is called and how large it may grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Desc {
    /// The full name, unit and `_total` included.
    pub name: &'static str,
    /// One sentence; the bound is added to it.
    pub help: &'static str,
    /// How many series there may be, `other` not counted.
    pub bound: usize,
    /// Label names, in the order in which values are given.
    pub labels: &'static [&'static str],
}

impl Desc {
    /// See the panics of [`super::Registry`].
    pub(super) fn check(&self, kind: Kind) {
        let word = |text: &str| {
            text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
                && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        };
        assert!(word(self.name), "{:?} is no metric name", self.name);
        assert!(
            self.labels.iter().all(|label| word(label) && *label != "le"),
            "{} has a label that is none",
            self.name
        );
        assert_eq!(
            kind == Kind::Counter,
            self.name.ends_with("_total"),
            "{}: counters, and only they, end in _total",
            self.name
        );
    }
}

/// The series of one name. Clones share them.
#[derive(Debug)]
pub struct Family<M>(Arc<Inner<M>>);

#[derive(Debug)]
struct Inner<M> {
    desc: Desc,
    table: Mutex<Table<M>>,
    /// Where lookups beyond the bound are counted; none for that family itself.
    dropped: Option<Family<Counter>>,
}

#[derive(Debug)]
struct Table<M> {
    series: Vec<Series<M>>,
    other: Option<M>,
}

#[derive(Debug)]
struct Series<M> {
    values: Values,
    /// `a="x",b="y"`, escaped.
    text: Arc<str>,
    metric: M,
}

impl<M> Clone for Family<M> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<M: Metric> Family<M> {
    pub(super) fn new(desc: Desc, dropped: Option<Family<Counter>>) -> Self {
        let table = Mutex::new(Table { series: Vec::new(), other: None });
        Self(Arc::new(Inner { desc, table, dropped }))
    }

    pub(super) fn desc(&self) -> &Desc {
        &self.0.desc
    }

    /// The handle of the series with these label values, which is created if it is new. Where that
    /// would exceed the bound, the handle of the series whose values are all `other`.
    ///
    /// # Panics
    /// When the number of values is not the number of labels.
    pub fn with(&self, values: &[&str]) -> M {
        let desc = &self.0.desc;
        assert_eq!(values.len(), desc.labels.len(), "label values of {}", desc.name);
        let mut table = lock(&self.0.table);
        match table.series.binary_search_by(|series| order(&series.values, values)) {
            Ok(at) => table.series[at].metric.clone(),
            Err(at) if table.series.len() < desc.bound && !is_other(values) => {
                let series = Series::<M>::new(desc, values);
                let metric = series.metric.clone();
                table.series.insert(at, series);
                metric
            }
            Err(_) => {
                if let (false, Some(dropped)) = (is_other(values), &self.0.dropped) {
                    dropped.with(&[desc.name]).inc();
                }
                table.other.get_or_insert_default().clone()
            }
        }
    }

    /// Removes every series whose label values, in the order of the labels, satisfy `gone`. Handles
    /// still held go on counting, unseen; `other` stays.
    pub fn remove_where(&self, gone: impl Fn(&[Box<str>]) -> bool) {
        lock(&self.0.table).series.retain(|series| !gone(&series.values));
    }

    /// Every series as it is now, in the order of the label values. `other` is left out: it says of
    /// nobody what became of them.
    pub fn read(&self) -> Vec<(Values, Reading)> {
        let table = lock(&self.0.table);
        let all: Vec<(Values, M)> =
            table.series.iter().map(|it| (Arc::clone(&it.values), it.metric.clone())).collect();
        drop(table);
        all.into_iter().map(|(values, metric)| (values, metric.read())).collect()
    }

    /// Copies handles under the lock and reads them after it: a worker that needs a new series
    /// never waits for a scrape to be formatted.
    fn snapshot(&self) -> Snapshot {
        let desc = self.0.desc;
        let mut handles: Vec<(Arc<str>, M)> = Vec::new();
        let table = lock(&self.0.table);
        handles.extend(table.series.iter().map(|it| (it.text.clone(), it.metric.clone())));
        if let Some(other) = &table.other {
            handles.push((other_text(&desc), other.clone()));
        }
        drop(table);
        let rows = handles.into_iter().map(|(text, metric)| (text, metric.read())).collect();
        Snapshot { desc, kind: M::KIND, rows }
    }
}

impl<M: Metric> Series<M> {
    fn new(desc: &Desc, values: &[&str]) -> Self {
        Self {
            values: values.iter().map(|value| Box::from(*value)).collect(),
            text: exposition::labels(desc.labels, values).into(),
            metric: M::default(),
        }
    }
}

pub(super) fn other_text(desc: &Desc) -> Arc<str> {
    exposition::labels(desc.labels, &vec![OTHER; desc.labels.len()]).into()
}

/// Without labels there is one series, and it is not `other`.
fn is_other(values: &[&str]) -> bool {
    !values.is_empty() && values.iter().all(|value| *value == OTHER)
}

fn order(known: &[Box<str>], wanted: &[&str]) -> Ordering {
    known.iter().map(|value| &**value).cmp(wanted.iter().copied())
}

/// One family at a scrape.
#[derive(Debug)]
pub struct Snapshot {
    pub(super) desc: Desc,
    pub(super) kind: Kind,
    /// Escaped labels and value of each series, in the order in which they are shown.
    pub(super) rows: Vec<(Arc<str>, Reading)>,
}

/// A family of whatever kind, as the registry keeps it.
#[derive(Debug, Clone)]
pub enum AnyFamily {
    Counter(Family<Counter>),
    Gauge(Family<Gauge>),
    GaugeF64(Family<GaugeF64>),
    Histogram(Family<Histogram>),
}

impl AnyFamily {
    pub(super) fn desc(&self) -> &Desc {
        match self {
            Self::Counter(family) => family.desc(),
            Self::Gauge(family) => family.desc(),
            Self::GaugeF64(family) => family.desc(),
            Self::Histogram(family) => family.desc(),
        }
    }

    pub(super) fn snapshot(&self) -> Snapshot {
        match self {
            Self::Counter(family) => family.snapshot(),
            Self::Gauge(family) => family.snapshot(),
            Self::GaugeF64(family) => family.snapshot(),
            Self::Histogram(family) => family.snapshot(),
        }
    }
}
