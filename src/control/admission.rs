//! Which sessions may be set up now, and when the others shall come back.
//!
//! A session's beginning is its dear part: a handshake, a certificate, a whole snapshot. When a
//! control plane starts again, all sidecars want one at once. At most so many are under way at a
//! time, and so many begin a second. Whoever is refused is given a moment: each the one after the
//! last that was given, so that those who wait come back at the rate at which they are let in, and
//! are let in then. That rate may be lower than the settings allow, where sessions take long to set
//! up because others use the processors: then moments lie as far apart as places became free lately.
//! Or most who come would find no place, and to refuse them takes a handshake of each, of the very
//! time that is short. Invariant: in any time `t`, no more than `burst + per_second × t` begin.
//! A synchronous core; `api` asks it when a sidecar has said hello, and before that whether the
//! member that opened the stream has a place of its own left (`shares`).

mod shares;

use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::{AcqRel, Acquire};
use std::time::Duration;

use crate::runtime::clock::{Rng, as_us};

pub use shares::{Limits, Part, Shares};

const SECOND_NS: u64 = 1_000_000_000;

/// How many sessions may begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Being set up at a time; at least 1.
    pub at_once: u32,
    /// Begun in a second, in the long run; from 1 to a million.
    pub per_second: u32,
    /// Begun at once after a quiet time; at least 1.
    pub burst: u32,
    /// Nobody is told to wait longer, but for a part of it that spreads them.
    pub longest: Duration,
}

/// Arbitrary: some 4 ms of work for a session on each of two processors leave room for those that
/// exist; ten thousand sidecars are back within a minute.
impl Default for Settings {
    fn default() -> Settings {
        Settings { at_once: 64, per_second: 200, burst: 400, longest: Duration::from_secs(60) }
    }
}

/// A session's place while it is set up; dropped when it stands or failed.
#[derive(Debug)]
pub struct Ticket(Arc<AtomicU32>);

impl Drop for Ticket {
    fn drop(&mut self) {
        self.0.fetch_sub(1, AcqRel);
    }
}

/// Lets sessions in.
#[derive(Debug)]
pub struct Admission {
    settings: Settings,
    rng: Rng,
    under_way: Arc<AtomicU32>,
    /// When the bucket is full again, in nanoseconds of the clock: further away by what one
    /// session costs with each that begins (the generic cell rate algorithm, ITU-T I.371).
    full_at_ns: u64,
    /// The latest moment that somebody was given to come back, in nanoseconds.
    promised_ns: u64,
    /// Since somebody found no place; `None` while many are free.
    crowded: Option<Crowded>,
}

/// A time in which places are short.
#[derive(Debug)]
struct Crowded {
    since_ns: u64,
    /// How many got one.
    begun: u64,
}

impl Admission {
    pub fn new(settings: Settings, rng: Rng) -> Admission {
        let under_way = Arc::new(AtomicU32::new(0));
        Admission { settings, rng, under_way, full_at_ns: 0, promised_ns: 0, crowded: None }
    }

    /// A place for one session, at once or not at all.
    ///
    /// # Errors
    /// How long to stay away, when there is no place or too many came lately.
    pub fn try_admit(&mut self, now_us: u64) -> Result<Ticket, Duration> {
        let now_ns = now_us.saturating_mul(1000);
        let full_at_ns = self.full_at_ns.max(now_ns) + self.cost_ns();
        let depth_ns = self.cost_ns() * u64::from(self.settings.burst);
        let in_time = full_at_ns - now_ns <= depth_ns;
        let under_way = self.under_way.load(Acquire);
        if under_way >= self.settings.at_once {
            self.crowded.get_or_insert(Crowded { since_ns: now_ns, begun: 0 });
        } else if under_way <= self.settings.at_once / 2 {
            self.crowded = None;
        }
        if !in_time || under_way >= self.settings.at_once {
            return Err(self.come_back(now_ns, full_at_ns.saturating_sub(depth_ns)));
        }
        self.full_at_ns = full_at_ns;
        self.crowded.iter_mut().for_each(|crowded| crowded.begun += 1);
        self.under_way.fetch_add(1, AcqRel);
        Ok(Ticket(Arc::clone(&self.under_way)))
    }

    /// What one session takes from the bucket.
    fn cost_ns(&self) -> u64 {
        SECOND_NS / u64::from(self.settings.per_second.max(1))
    }

    /// Between two moments that are given: what a session costs, or as long as it took lately until
    /// a place was free, if that is more. Those that are taken count as free soon, so that nothing
    /// is made of the first instants.
    fn apart_ns(&self, now_ns: u64) -> u64 {
        let freed = |crowded: &Crowded| {
            let places = crowded.begun + u64::from(self.settings.at_once.max(1));
            now_ns.saturating_sub(crowded.since_ns) / places
        };
        self.crowded.as_ref().map_or(0, freed).max(self.cost_ns())
    }

    /// The moment after the last that was given, and a little later: never earlier, because nobody
    /// would be let in then.
    fn come_back(&mut self, now_ns: u64, next_ns: u64) -> Duration {
        let longest_ns = as_us(self.settings.longest).saturating_mul(1000);
        let free_ns = self.promised_ns.max(next_ns).max(now_ns) + self.apart_ns(now_ns);
        let wait_ns = (free_ns - now_ns).min(longest_ns);
        self.promised_ns = now_ns + wait_ns;
        // Everybody beyond the longest wait is given the same moment; then this alone spreads them.
        let spread_ns = if wait_ns == longest_ns { longest_ns / 2 } else { SPREAD_NS };
        Duration::from_nanos(wait_ns + (self.rng.unit() * spread_ns as f64) as u64)
    }
}

/// Clocks and networks blur more than this. Arbitrary.
const SPREAD_NS: u64 = SECOND_NS / 10;

#[cfg(test)]
mod tests;
