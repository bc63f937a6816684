//! When an attempt takes so long that another beside it is worth its price.
//!
//! `Latency` knows how long a service's answers took of late: a histogram whose buckets are an
//! eighth of a power of two wide, so that what it says is at most 6.3 % off between 32 µs and 134 s.
//! It is kept in two halves of 30 s, of which the older is emptied in turn: what it says is of the
//! last 30 to 60 s. All workers share it, without a lock; an observation that meets an emptying may
//! be lost, which an estimate bears.

use std::array;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};
use std::sync::atomic::{AtomicU32, AtomicU64};
use std::time::Duration;

use crate::model::{Hedge, HedgeAfter};

const HALF_US: u64 = 30_000_000;

/// What was asked less long ago is not computed again.
const FRESH_US: u64 = 250_000;

/// Fewer answers say nothing about one in twenty (arbitrary: two or three are above the mark).
const LEAST: u64 = 50;

/// 32 µs, as a power of two.
const LOWEST: u32 = 5;
const OCTAVES: u32 = 22;
const EIGHTHS: u32 = 8;
const BUCKETS: usize = (OCTAVES * EIGHTHS) as usize;

/// How long a service's answers took to begin.
#[derive(Debug)]
pub struct Latency {
    halves: [Half; 2],
    /// The last answer: when it was computed in the upper half, microseconds in the lower.
    known: AtomicU64,
}

#[derive(Debug)]
struct Half {
    /// Which half minute since the process started, from 1.
    turn: AtomicU32,
    counts: [AtomicU32; BUCKETS],
}

/// How long to wait for an attempt before another is made beside it; `None` while too little is
/// known. Each one more is a retry for the budget.
pub fn hedge_after(hedge: &Hedge, latency: &Latency, now_us: u64) -> Option<Duration> {
    match hedge.after {
        HedgeAfter::Delay(delay) => Some(delay),
        HedgeAfter::P95 => latency.p95(now_us),
    }
}

impl Default for Latency {
    fn default() -> Self {
        let none = |_| AtomicU32::new(0);
        let half = || Half { turn: AtomicU32::new(0), counts: array::from_fn(none) };
        Self { halves: [half(), half()], known: AtomicU64::new(0) }
    }
}

impl Latency {
    /// Takes in that an answer began `took_us` after its request was sent. An attempt that lost to
    /// the one beside it counts too, with the time until then: else only fast answers would.
    pub fn observe(&self, took_us: u64, now_us: u64) {
        let turn = turn(now_us);
        let half = &self.halves[turn as usize % 2];
        let seen = half.turn.load(Acquire);
        if seen < turn && half.turn.compare_exchange(seen, turn, AcqRel, Acquire).is_ok() {
            half.counts.iter().for_each(|count| count.store(0, Relaxed));
        }
        half.counts[bucket(took_us)].fetch_add(1, Relaxed);
    }

    /// What 95 of 100 answers of late did not exceed; `None` when there were fewer than 50. At most
    /// a quarter of a second old.
    pub fn p95(&self, now_us: u64) -> Option<Duration> {
        let tick = (now_us / FRESH_US + 1) as u32;
        let known = self.known.load(Relaxed);
        let p95_us = if (known >> 32) as u32 == tick {
            known & u64::from(u32::MAX)
        } else {
            let p95_us = self.compute(turn(now_us)).unwrap_or(0);
            self.known.store(u64::from(tick) << 32 | p95_us, Relaxed);
            p95_us
        };
        (p95_us != 0).then(|| Duration::from_micros(p95_us))
    }

    fn compute(&self, turn: u32) -> Option<u64> {
        let mut counts = [0u64; BUCKETS];
        let of_late = |half: &&Half| turn.wrapping_sub(half.turn.load(Acquire)) <= 1;
        for half in self.halves.iter().filter(of_late) {
            for (sum, count) in counts.iter_mut().zip(&half.counts) {
                *sum += u64::from(count.load(Relaxed));
            }
        }
        let total: u64 = counts.iter().sum();
        if total < LEAST {
            return None;
        }
        let mut above = total - (total * 95).div_ceil(100);
        let is_it = |(_, count): &(usize, &u64)| {
            let found = **count > above;
            above = above.saturating_sub(**count);
            found
        };
        counts.iter().enumerate().rev().find(is_it).map(|(bucket, _)| middle_us(bucket))
    }
}

fn turn(now_us: u64) -> u32 {
    (now_us / HALF_US + 1) as u32
}

fn bucket(took_us: u64) -> usize {
    let took_us = took_us.clamp(1 << LOWEST, (1 << (LOWEST + OCTAVES)) - 1);
    let octave = took_us.ilog2();
    // The three bits below the highest.
    let eighth = took_us >> (octave - 3) & 7;
    ((octave - LOWEST) * EIGHTHS) as usize + eighth as usize
}

fn middle_us(bucket: usize) -> u64 {
    let (octave, eighth) = (bucket as u32 / EIGHTHS, bucket as u64 % u64::from(EIGHTHS));
    let width = 1u64 << (octave + LOWEST - 3);
    (u64::from(EIGHTHS) + eighth) * width + width / 2
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::runtime::clock;

    const SECOND: u64 = 1_000_000;

    fn is_near(found_us: u64, exact_us: u64) -> bool {
        found_us.abs_diff(exact_us) * 10 <= exact_us
    }

    #[test]
    #[cfg_attr(miri, ignore = "long, and on one thread")]
    fn the_mark_is_near_that_of_known_distributions() {
        let uniform = |rng: &mut clock::Rng| (rng.unit() * 100_000.0) as u64 + 1000;
        let exponential = |rng: &mut clock::Rng| (-(1.0 - rng.unit()).ln() * 20_000.0) as u64 + 50;
        let pareto = |rng: &mut clock::Rng| (2000.0 / (1.0 - rng.unit()).powf(0.7)) as u64;
        let two_humps = |rng: &mut clock::Rng| {
            if rng.below(10) == 0 { 900_000 } else { 1000 + rng.below(500) as u64 }
        };
        let rare_hump = |rng: &mut clock::Rng| if rng.below(50) == 0 { 900_000 } else { 1200 };
        let constant = |_: &mut clock::Rng| 4321;
        let shapes: [&dyn Fn(&mut clock::Rng) -> u64; 6] =
            [&uniform, &exponential, &pareto, &two_humps, &rare_hump, &constant];
        for (which, shape) in shapes.iter().enumerate() {
            for many in [100, 1000, 20_000] {
                let (latency, mut rng) = (Latency::default(), clock::Rng::seeded(many));
                let mut took: Vec<u64> = (0..many).map(|_| shape(&mut rng)).collect();
                took.iter().for_each(|&took_us| latency.observe(took_us, SECOND));
                took.sort_unstable();
                let exact = took[(took.len() * 95).div_ceil(100) - 1];
                let found = latency.p95(SECOND).expect("enough").as_micros() as u64;
                assert!(is_near(found, exact), "shape {which}, {many}: {found} for {exact}");
            }
        }
    }

    proptest! {
        #[test]
        fn no_bucket_is_far_off(took_us in 32u64..1 << 27) {
            prop_assert!(middle_us(bucket(took_us)).abs_diff(took_us) * 16 <= took_us);
        }
    }

    #[test]
    fn what_lies_outside_is_taken_in_at_the_ends() {
        for (took_us, end) in [(0, 0), (31, 0), (1 << 27, BUCKETS - 1), (u64::MAX, BUCKETS - 1)] {
            assert_eq!(bucket(took_us), end);
        }
    }

    #[test]
    fn few_answers_say_nothing() {
        let latency = Latency::default();
        (0..49).for_each(|_| latency.observe(1000, SECOND));
        assert_eq!(latency.p95(SECOND), None);
        latency.observe(1000, SECOND);
        assert_eq!(latency.p95(SECOND), None, "not computed again at once");
        assert!(latency.p95(SECOND + FRESH_US).is_some());
    }

    #[test]
    fn old_answers_are_forgotten() {
        let latency = Latency::default();
        let observe = |took_us, now_us| (0..100).for_each(|_| latency.observe(took_us, now_us));
        let near = |now_us, exact| {
            latency.p95(now_us).is_some_and(|p95| is_near(p95.as_micros() as u64, exact))
        };
        observe(100_000, 20 * SECOND);
        assert!(near(20 * SECOND, 100_000));
        observe(1000, 40 * SECOND);
        assert!(near(50 * SECOND, 100_000), "of late");
        observe(2000, 70 * SECOND);
        assert!(near(70 * SECOND, 2000), "the slow ones are gone");
        assert_eq!(latency.p95(200 * SECOND), None, "all are");
        observe(3000, 3600 * SECOND);
        assert!(near(3600 * SECOND, 3000));
    }

    #[test]
    fn workers_together_lose_nothing_between_emptyings() {
        let latency = Latency::default();
        latency.observe(1000, SECOND);
        let each = if cfg!(miri) { 50 } else { 10_000 };
        let work = || (0..u64::from(each)).for_each(|i| latency.observe(1000 + i, SECOND + i));
        std::thread::scope(|scope| (0..4).for_each(|_| drop(scope.spawn(work))));
        let counts = &latency.halves[1].counts;
        let total: u32 = counts.iter().map(|count| count.load(Relaxed)).sum();
        assert_eq!(total, 4 * each + 1);
    }

    #[test]
    fn a_service_pays_less_than_two_kibibytes() {
        assert!(size_of::<Latency>() <= 2048, "{}", size_of::<Latency>());
    }

    #[test]
    fn a_hedge_waits_as_it_is_told() {
        let latency = Latency::default();
        let delay = Duration::from_millis(30);
        let told = Hedge { after: HedgeAfter::Delay(delay), max_extra: 1 };
        assert_eq!(hedge_after(&told, &latency, SECOND), Some(delay), "known at once");
        let learns = Hedge { after: HedgeAfter::P95, max_extra: 1 };
        assert_eq!(hedge_after(&learns, &latency, SECOND), None);
        (0..100).for_each(|_| latency.observe(10_000, SECOND));
        let waits = hedge_after(&learns, &latency, 2 * SECOND).expect("known");
        assert!(is_near(waits.as_micros() as u64, 10_000), "{waits:?}");
    }
}
