//! Keeps a repeated error from flooding the log: the first is logged at once, further ones with the
//! same key at most once per interval, with the number left out since. Memory is bounded: beyond
//! [`KEYS`] live keys, newcomers share one. Each owner keeps its own, on its own thread.

use std::collections::HashMap;
use std::time::{Duration, Instant};

/// More different errors than a person would read in an interval. Arbitrary.
const KEYS: usize = 256;

/// The key that newcomers share when all places are taken.
const REST: &str = "";

/// How often the same thing is logged.
#[derive(Debug)]
pub struct Repeats {
    interval: Duration,
    seen: HashMap<Box<str>, Seen>,
}

#[derive(Debug)]
struct Seen {
    logged: Instant,
    suppressed: u64,
}

impl Default for Repeats {
    /// Once per 5 s.
    fn default() -> Self {
        Self::every(Duration::from_secs(5))
    }
}

impl Repeats {
    /// Each key at most once per `interval`.
    pub fn every(interval: Duration) -> Self {
        Self { interval, seen: HashMap::new() }
    }

    /// Whether to log `key` now: `Some(n)` means yes, and that `n` were left out since it was last
    /// logged; `None` means no.
    pub fn note(&mut self, key: &str, now: Instant) -> Option<u64> {
        if !self.seen.contains_key(key) && self.seen.len() >= KEYS {
            self.forget_quiet(now);
        }
        let full = !self.seen.contains_key(key) && self.seen.len() >= KEYS;
        let key = if full { REST } else { key };
        let Some(seen) = self.seen.get_mut(key) else {
            self.seen.insert(key.into(), Seen { logged: now, suppressed: 0 });
            return Some(0);
        };
        if now.saturating_duration_since(seen.logged) < self.interval {
            seen.suppressed += 1;
            return None;
        }
        seen.logged = now;
        Some(std::mem::take(&mut seen.suppressed))
    }

    /// Tells of what was left out and will not be told otherwise, because its interval is over and
    /// no more came: each key, and how many. What was left out since the last telling waits. To be
    /// called now and then; a key of which there is nothing to tell gives its place back.
    pub fn settle(&mut self, now: Instant, mut tell: impl FnMut(&str, u64)) {
        let interval = self.interval;
        self.seen.retain(|key, seen| {
            if now.saturating_duration_since(seen.logged) < interval {
                return true;
            }
            seen.logged = now;
            match std::mem::take(&mut seen.suppressed) {
                0 => false,
                left_out => {
                    tell(key, left_out);
                    true
                }
            }
        });
    }

    /// Makes room: a key whose interval is over would be logged at once anyway. Its count of
    /// suppressed ones goes with it, where nobody settles in time.
    fn forget_quiet(&mut self, now: Instant) {
        let interval = self.interval;
        self.seen.retain(|_, seen| now.saturating_duration_since(seen.logged) < interval);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn once_per_interval_with_a_count() {
        let start = Instant::now();
        let mut repeats = Repeats::default();
        let table = [
            (0, "a", Some(0)),
            (1, "a", None),
            (1, "b", Some(0)),
            (4_999, "a", None),
            (5_000, "a", Some(2)),
            (5_001, "a", None),
            (20_000, "a", Some(1)),
            (30_000, "a", Some(0)),
        ];
        for (millis, key, expected) in table {
            let now = start + Duration::from_millis(millis);
            assert_eq!(repeats.note(key, now), expected, "{key} at {millis}");
        }
    }

    #[test]
    fn what_a_burst_left_out_is_told_when_it_is_over() {
        let start = Instant::now();
        let mut repeats = Repeats::default();
        for key in ["a", "a", "a", "b"] {
            repeats.note(key, start);
        }
        let mut told = |millis| {
            let mut lines = Vec::new();
            let now = start + Duration::from_millis(millis);
            repeats.settle(now, |key, left_out| lines.push((key.to_owned(), left_out)));
            lines
        };
        assert!(told(4_999).is_empty());
        assert_eq!(told(5_000), [("a".to_owned(), 2)]);
        assert!(told(5_001).is_empty() && told(10_000).is_empty());
        assert!(repeats.seen.is_empty(), "{repeats:?}");
    }

    #[test]
    fn keys_are_bounded_and_newcomers_share_one() {
        let start = Instant::now();
        let mut repeats = Repeats::default();
        for n in 0..KEYS {
            assert_eq!(repeats.note(&format!("key {n}"), start), Some(0));
        }
        assert_eq!(repeats.note("new", start), Some(0));
        assert_eq!(repeats.note("newer", start), None);
        assert_eq!(repeats.note("key 0", start), None);
        assert_eq!(repeats.seen.len(), KEYS + 1);
        let later = start + Duration::from_secs(5);
        assert_eq!(repeats.note("newest", later), Some(0));
        assert_eq!(repeats.seen.len(), 1);
    }
}
