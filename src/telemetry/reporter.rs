//! What became of the traffic since this was last asked: the difference of two readings of the
//! metrics, so that a request costs nothing more than it does for `/metrics`.
//!
//! What does not fit into one report stays in the counters and comes with the next; so does all
//! that happens while nobody asks. A counter that begins anew (its series was removed) counts from
//! 0. What is open is said as it is, every time, the most first: there nothing adds up.
//! Asked by the session with the control plane.

use std::collections::HashMap;
use std::time::Duration;

use super::metrics::{BOUNDS, Counter, Family, Gauge, Histogram, Reading, Values};
use super::traffic::{DURATIONS, OPEN, REQUESTS, TrafficMetrics};

/// Requests by bucket of [`BOUNDS`], and beyond the last.
pub type Buckets = [u64; BOUNDS.len() + 1];

/// What one report may hold.
#[derive(Clone, Copy, Debug)]
pub struct Room {
    pub rows: usize,
    /// Of label values, as if none came twice.
    pub bytes: usize,
}

/// What changed.
#[derive(Debug, Default)]
pub struct Report {
    /// Since the report before.
    pub period: Duration,
    pub requests: Vec<Requests>,
    pub latencies: Vec<Latencies>,
    /// As it is now.
    pub open: Vec<Open>,
}

/// Requests that ended in the same way.
#[derive(Debug)]
pub struct Requests {
    values: Values,
    pub count: u64,
}

/// How long requests of a route took.
#[derive(Debug)]
pub struct Latencies {
    values: Values,
    pub counts: Buckets,
}

/// Exchanges that last, and are open.
#[derive(Debug)]
pub struct Open {
    values: Values,
    pub count: u64,
}

impl Open {
    /// In the order of [`OPEN`].
    pub fn labels(&self) -> [&str; OPEN.len()] {
        std::array::from_fn(|at| &*self.values[at])
    }
}

impl Requests {
    /// In the order of [`REQUESTS`].
    pub fn labels(&self) -> [&str; REQUESTS.len()] {
        std::array::from_fn(|at| &*self.values[at])
    }
}

impl Latencies {
    /// In the order of [`DURATIONS`].
    pub fn labels(&self) -> [&str; DURATIONS.len()] {
        std::array::from_fn(|at| &*self.values[at])
    }
}

/// Remembers what was reported.
pub struct Reporter {
    requests: Told<Counter>,
    durations: Told<Histogram>,
    open: Family<Gauge>,
    last_us: u64,
}

impl Reporter {
    /// Nothing was reported yet; the process began at `now_us`.
    pub fn new(metrics: &TrafficMetrics, now_us: u64) -> Self {
        Self {
            requests: Told::new(metrics.requests()),
            durations: Told::new(metrics.durations()),
            open: metrics.open().clone(),
            last_us: now_us,
        }
    }

    /// What changed since the last report, as far as there is room.
    pub fn take(&mut self, room: Room, now_us: u64) -> Report {
        let period = Duration::from_micros(now_us.saturating_sub(self.last_us));
        self.last_us = now_us;
        // None may starve another.
        let open = self.open(Room { rows: room.rows / 4, bytes: room.bytes / 4 });
        let half = Room { rows: room.rows / 2, bytes: room.bytes * 3 / 8 };
        let requests = self.requests.take(half, |reading, said: &mut u64| {
            let &Reading::Unsigned(now) = reading else { return None };
            let count = now.checked_sub(*said).unwrap_or(now);
            *said = now;
            (count > 0).then_some(count)
        });
        let latencies = self.durations.take(half, |reading, said: &mut Buckets| {
            let Reading::Histogram { counts: now, .. } = reading else { return None };
            let is_new = now.iter().zip(&*said).any(|(now, said)| now < said);
            let before = if is_new { Buckets::default() } else { *said };
            *said = *now;
            let counts: Buckets = std::array::from_fn(|at| now[at] - before[at]);
            counts.iter().any(|&count| count > 0).then_some(counts)
        });
        Report {
            period,
            requests: requests
                .into_iter()
                .map(|(values, count)| Requests { values, count })
                .collect(),
            latencies: latencies
                .into_iter()
                .map(|(values, counts)| Latencies { values, counts })
                .collect(),
            open,
        }
    }

    /// What is open now.
    fn open(&self, room: Room) -> Vec<Open> {
        let open = self.open.read().into_iter().filter_map(|(values, reading)| {
            let Reading::Signed(count) = reading else { return None };
            let count = u64::try_from(count).ok().filter(|count| *count > 0)?;
            Some(Open { values, count })
        });
        let mut open: Vec<Open> = open.collect();
        open.sort_by_key(|of| std::cmp::Reverse(of.count));
        let mut bytes = 0;
        let fitting = open.iter().take(room.rows).take_while(|of| {
            bytes += of.values.iter().map(|value| value.len()).sum::<usize>();
            bytes <= room.bytes
        });
        let fitting = fitting.count();
        open.truncate(fitting);
        open
    }
}

/// One family, and what was said of it.
struct Told<M: Said> {
    family: Family<M>,
    said: HashMap<Values, M::Value>,
    /// Where the next report begins, so that each series has its turn.
    next: usize,
}

/// What is remembered of a series.
trait Said {
    type Value: Default;
}

impl Said for Counter {
    type Value = u64;
}

impl Said for Histogram {
    type Value = Buckets;
}

impl<M: Said + super::metrics::Metric> Told<M> {
    fn new(family: &Family<M>) -> Self {
        Self { family: family.clone(), said: HashMap::new(), next: 0 }
    }

    fn take<T>(
        &mut self,
        room: Room,
        change: impl Fn(&Reading, &mut M::Value) -> Option<T>,
    ) -> Vec<(Values, T)> {
        let all = self.family.read();
        if self.said.len() > all.len() {
            self.said.retain(|values, _| all.iter().any(|(known, _)| known == values));
        }
        let (mut rows, mut bytes) = (Vec::new(), 0);
        let begin = if self.next < all.len() { self.next } else { 0 };
        self.next = 0;
        for at in (begin..all.len()).chain(0..begin) {
            let (values, reading) = &all[at];
            if rows.len() >= room.rows || bytes >= room.bytes {
                self.next = at;
                break;
            }
            let said = self.said.entry(values.clone()).or_default();
            if let Some(change) = change(reading, said) {
                bytes += values.iter().map(|value| value.len()).sum::<usize>();
                rows.push((values.clone(), change));
            }
        }
        rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Direction;
    use crate::telemetry::metrics::Registry;
    use crate::telemetry::traffic::{Ending, RouteMeter, Spoken};

    const ROOM: Room = Room { rows: 1000, bytes: 1 << 20 };

    fn meter(metrics: &TrafficMetrics, route: &str) -> RouteMeter {
        RouteMeter::new(metrics, Direction::Outbound, "web.shop:80".into(), route.into())
    }

    fn end(meter: &RouteMeter, code: u16) {
        let ending = Ending {
            spoken: Spoken::Http1,
            code,
            grpc: None,
            peer: None,
            reason: None,
            trace_id: 0,
        };
        meter.count(ending, Duration::from_millis(3));
    }

    fn counts(report: &Report) -> Vec<(String, u64)> {
        let of = |row: &Requests| {
            let [_, _, route, _, code, ..] = row.labels();
            (format!("{route} {code}"), row.count)
        };
        report.requests.iter().map(of).collect()
    }

    #[test]
    fn only_what_changed_is_said_and_nothing_twice() {
        let metrics = TrafficMetrics::register(&Registry::default());
        let mut reporter = Reporter::new(&metrics, 1_000_000);
        assert!(reporter.take(ROOM, 2_000_000).requests.is_empty());
        let (one, two) = (meter(&metrics, "one"), meter(&metrics, "two"));
        (0..3).for_each(|_| end(&one, 200));
        end(&two, 503);
        let first = reporter.take(ROOM, 7_000_000);
        assert_eq!(first.period, Duration::from_secs(5));
        assert_eq!(counts(&first), [("one 200".into(), 3), ("two 503".into(), 1)]);
        assert_eq!(first.latencies.len(), 2);
        let [direction, service, route] = first.latencies[0].labels();
        assert_eq!((direction, service, route), ("outbound", "web.shop:80", "one"));
        assert_eq!(first.latencies[0].counts.iter().sum::<u64>(), 3);
        end(&two, 503);
        let second = reporter.take(ROOM, 8_000_000);
        assert_eq!(counts(&second), [("two 503".into(), 1)]);
        assert_eq!(second.latencies.len(), 1);
        let none = reporter.take(ROOM, 9_000_000);
        assert!(none.requests.is_empty() && none.latencies.is_empty());
    }

    #[test]
    fn what_has_no_room_comes_next_and_each_has_its_turn() {
        let metrics = TrafficMetrics::register(&Registry::default());
        let mut reporter = Reporter::new(&metrics, 0);
        let meters: Vec<RouteMeter> = (0..10).map(|n| meter(&metrics, &format!("r{n}"))).collect();
        let room = Room { rows: 6, ..ROOM };
        let mut total = 0;
        for _ in 0..20 {
            meters.iter().for_each(|meter| end(meter, 200));
            let report = reporter.take(room, 1);
            assert_eq!((report.requests.len(), report.latencies.len()), (3, 3));
            total += report.requests.iter().map(|row| row.count).sum::<u64>();
        }
        for _ in 0..4 {
            total += reporter.take(room, 1).requests.iter().map(|row| row.count).sum::<u64>();
        }
        assert_eq!(total, 200, "nothing is lost, and nothing is said twice");
        let narrow = Room { rows: 1000, bytes: 20 };
        meters.iter().for_each(|meter| end(meter, 200));
        assert_eq!(reporter.take(narrow, 1).requests.len(), 1);
    }

    #[test]
    fn what_counts_together_is_said_of_nobody() {
        let metrics = TrafficMetrics::register(&Registry::default());
        let mut reporter = Reporter::new(&metrics, 0);
        let meters: Vec<RouteMeter> =
            (0..5000).map(|n| meter(&metrics, &format!("r{n}"))).collect();
        meters.iter().for_each(|meter| end(meter, 200));
        let room = Room { rows: 100_000, bytes: 1 << 30 };
        let report = reporter.take(room, 1);
        assert_eq!((report.requests.len(), report.latencies.len()), (4096, 1024));
        assert!(report.requests.iter().all(|row| row.labels()[2] != "other"));
    }

    #[test]
    fn what_is_open_is_said_as_it_is_the_most_first() {
        let metrics = TrafficMetrics::register(&Registry::default());
        let mut reporter = Reporter::new(&metrics, 0);
        let open = |route: &str| meter(&metrics, route).open(Spoken::Tcp, None);
        let (one, two) = (open("one"), open("two"));
        let mut said = |room: Room| -> Vec<(String, u64)> {
            let report = reporter.take(room, 1);
            report.open.iter().map(|of| (of.labels()[2].to_owned(), of.count)).collect()
        };
        assert_eq!(said(ROOM), []);
        [&one, &two, &two].into_iter().for_each(Gauge::inc);
        let both = [("two".to_owned(), 2), ("one".to_owned(), 1)];
        assert_eq!(said(ROOM), both);
        assert_eq!(said(ROOM), both, "every time");
        assert_eq!(said(Room { rows: 4, ..ROOM }), both[..1]);
        assert_eq!(said(Room { bytes: 40, ..ROOM }), []);
        [&one, &two].into_iter().for_each(Gauge::dec);
        assert_eq!(said(ROOM), [("two".to_owned(), 1)]);
    }

    #[test]
    fn a_series_that_begins_anew_counts_from_nothing() {
        let metrics = TrafficMetrics::register(&Registry::default());
        let mut reporter = Reporter::new(&metrics, 0);
        (0..5).for_each(|_| end(&meter(&metrics, "r"), 200));
        reporter.take(ROOM, 1);
        metrics.requests().remove_where(|_| true);
        metrics.durations().remove_where(|_| true);
        (0..2).for_each(|_| end(&meter(&metrics, "r"), 200));
        let report = reporter.take(ROOM, 2);
        assert_eq!(counts(&report), [("r 200".into(), 2)]);
        assert_eq!(report.latencies[0].counts.iter().sum::<u64>(), 2);
    }
}
