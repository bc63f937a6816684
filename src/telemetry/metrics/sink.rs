//! Where collectors put values that exist only at a scrape: what `/proc` says, the states of
//! endpoints. The same bound holds as for kept series: the values of what exceeds it are summed
//! into `other`. A sink lives for one scrape.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::family::{Snapshot, other_text};
use super::handles::{Kind, Reading};
use super::{Counter, Desc, Family, exposition};

/// Takes the values of one scrape.
pub struct Sink<'a> {
    found: BTreeMap<&'static str, Found>,
    dropped: &'a Family<Counter>,
}

struct Found {
    desc: Desc,
    kind: Kind,
    series: BTreeMap<String, f64>,
}

impl<'a> Sink<'a> {
    pub(super) fn new(dropped: &'a Family<Counter>) -> Self {
        Self { found: BTreeMap::new(), dropped }
    }

    /// A value that goes up and down. The same labels given twice are summed.
    pub fn gauge(&mut self, desc: &Desc, values: &[&str], value: f64) {
        self.put(desc, Kind::Gauge, values, value);
    }

    /// A value that only grows from scrape to scrape. The same labels given twice are summed.
    pub fn counter(&mut self, desc: &Desc, values: &[&str], value: f64) {
        self.put(desc, Kind::Counter, values, value);
    }

    fn put(&mut self, desc: &Desc, kind: Kind, values: &[&str], value: f64) {
        desc.check(kind);
        assert_eq!(values.len(), desc.labels.len(), "label values of {}", desc.name);
        let found = self.found.entry(desc.name).or_insert_with(|| Found {
            desc: *desc,
            kind,
            series: BTreeMap::new(),
        });
        assert!(
            found.desc == *desc && found.kind == kind,
            "metric family {} is collected with two shapes",
            desc.name
        );
        *found.series.entry(exposition::labels(desc.labels, values)).or_default() += value;
    }

    pub(super) fn finish(self) -> BTreeMap<&'static str, Snapshot> {
        let dropped = self.dropped;
        self.found.into_iter().map(|(name, found)| (name, found.finish(dropped))).collect()
    }
}

impl Found {
    fn finish(mut self, dropped: &Family<Counter>) -> Snapshot {
        let other = other_text(&self.desc);
        let mut rest = match self.desc.labels {
            [] => None, // its one series is not `other`
            _ => self.series.remove(&*other),
        };
        let surplus = self.series.len().saturating_sub(self.desc.bound);
        for _ in 0..surplus {
            let (_, value) = self.series.pop_last().expect("surplus counts what is there");
            *rest.get_or_insert_default() += value;
            dropped.with(&[self.desc.name]).inc();
        }
        let mut rows: Vec<_> = self
            .series
            .into_iter()
            .map(|(text, value)| (Arc::from(text), Reading::Float(value)))
            .collect();
        rows.extend(rest.map(|value| (other, Reading::Float(value))));
        Snapshot { desc: self.desc, kind: self.kind, rows }
    }
}
