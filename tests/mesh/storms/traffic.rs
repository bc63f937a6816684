//! Callers that ask at their pace, whatever becomes of it.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::harness::{Broken, Message, Wire};

/// Each asks one thing after the other; enough that a slow answer holds up few of the others.
const CALLERS: u32 = 16;

/// They belong to a trace, as an edge would begin it.
const TRACED: &str = "Traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\n";

/// GETs by Host.
#[derive(Clone, Copy)]
pub struct Traffic {
    pub to: SocketAddr,
    pub host: &'static str,
    pub per_second: u32,
}

/// What became of all requests.
#[derive(Debug, Default)]
pub struct Told {
    pub requests: usize,
    /// By status, by the sidecar's reason where it answered itself, or by how the answer broke.
    pub ends: BTreeMap<String, usize>,
    tooks: Vec<Duration>,
    all: Vec<Asked>,
}

/// One request.
#[derive(Debug)]
struct Asked {
    at: Instant,
    took: Duration,
    end: String,
}

impl Traffic {
    pub fn run(self, time: Duration) -> Told {
        self.run_until(usize::MAX, time)
    }

    /// Ends with the time, or once so many were asked.
    pub fn run_until(self, requests: usize, time: Duration) -> Told {
        let until = Instant::now() + time;
        let left = Arc::new(AtomicUsize::new(requests));
        let callers: Vec<_> = (0..CALLERS)
            .map(|number| {
                let left = Arc::clone(&left);
                thread::spawn(move || self.one(number, until, &left))
            })
            .collect();
        let mut told = Told::default();
        for caller in callers {
            for asked in caller.join().expect("a caller runs to its end") {
                told.requests += 1;
                *told.ends.entry(asked.end.clone()).or_default() += 1;
                told.tooks.push(asked.took);
                told.all.push(asked);
            }
        }
        told.tooks.sort();
        told
    }

    fn one(self, number: u32, until: Instant, left: &AtomicUsize) -> Vec<Asked> {
        let gap = Duration::from_secs(1) * CALLERS / self.per_second;
        let request = format!("GET /storm HTTP/1.1\r\nHost: {}\r\n{TRACED}\r\n", self.host);
        let mut wire = Wire::connect(self.to);
        let mut next = Instant::now() + gap * number / CALLERS;
        let mut ends = Vec::new();
        loop {
            thread::sleep(next.saturating_duration_since(Instant::now()));
            let asks = |left: usize| left.checked_sub(1);
            let is_asked = left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, asks).is_ok();
            if !is_asked || Instant::now() >= until {
                return ends;
            }
            let at = Instant::now();
            let sent = wire.try_send(&request).map_err(Broken::from);
            let answer = sent.and_then(|()| wire.message(false));
            ends.push(Asked { at, took: at.elapsed(), end: end_of(&answer) });
            if answer.map_or(true, |answer| answer.closes()) {
                wire = Wire::connect(self.to);
            }
            next = (next + gap).max(Instant::now());
        }
    }
}

fn end_of(answer: &Result<Message, Broken>) -> String {
    match answer {
        Ok(answer) => answer.reason().map_or_else(|| answer.status().to_string(), str::to_owned),
        Err(broken) => format!("{broken:?}"),
    }
}

impl Told {
    pub fn count(&self, end: &str) -> usize {
        self.ends.get(end).copied().unwrap_or(0)
    }

    /// How many were not answered 200.
    pub fn lost(&self) -> usize {
        self.requests - self.count("200")
    }

    /// How many were answered 200 between two moments.
    pub fn served_between(&self, from: Instant, to: Instant) -> usize {
        let within =
            |asked: &&Asked| asked.end == "200" && (from..to).contains(&(asked.at + asked.took));
        self.all.iter().filter(within).count()
    }

    /// After some moment, how long it was until the last request ended that was lost, or took longer
    /// than a caller would like.
    pub fn recovered_after(&self, moment: Instant, limit: Duration) -> Duration {
        let bad = self.all.iter().filter(|asked| asked.end != "200" || asked.took > limit);
        let last = bad.map(|asked| asked.at + asked.took).max();
        last.map_or(Duration::ZERO, |last| last.saturating_duration_since(moment))
    }

    /// The longest that any took.
    pub fn slowest(&self) -> Duration {
        self.tooks.last().copied().unwrap_or_default()
    }

    fn percent(&self) -> f64 {
        100.0 * self.count("200") as f64 / self.requests as f64
    }

    fn percentile(&self, percent: usize) -> Duration {
        self.tooks.get(self.tooks.len() * percent / 100).copied().unwrap_or_default()
    }

    /// At least so many in a hundred were answered 200.
    #[track_caller]
    pub fn succeeded(&self, percent: f64) -> &Self {
        assert!(self.requests > 0 && self.percent() >= percent, "not {percent} %: {self}");
        self
    }

    /// Three of four took no longer. When the machine holds all up for a moment, each caller has
    /// one request that tells of it: many too many for a p99, and no quarter of all.
    #[track_caller]
    pub fn within(&self, limit: Duration) -> &Self {
        assert!(self.percentile(75) <= limit, "not within {limit:?}: {self}");
        self
    }
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} requests, {:.1} % well, ", self.requests, self.percent())?;
        let [p75, p99] = [75, 99].map(|percent| self.percentile(percent).as_secs_f64() * 1e3);
        write!(f, "p75 {p75:.0} ms, p99 {p99:.0} ms, {:?}", self.ends)
    }
}
