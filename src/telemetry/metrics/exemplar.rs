//! One sampled request for each bucket of a histogram: its trace, so that a slow bucket on a chart
//! leads to a request that made it slow.
//!
//! Whoever observes a sampled request writes without waiting: a slot's sequence number is odd while
//! it is written, and who finds it odd leaves his out, since the other one is as new. A reader that
//! sees the number change has seen two halves, and reads again. A histogram that never saw a sampled
//! request has no slots, and observing one that is not sampled touches nothing here.

use std::sync::OnceLock;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicU64, fence};

use super::handles::BUCKETS;

/// The newest sampled request of a bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exemplar {
    /// Never zero.
    pub trace_id: u128,
    /// Nanoseconds, exact, so that the value is within its bucket.
    pub nanos: u64,
    /// When it was observed, in milliseconds since 1970.
    pub at_ms: u64,
}

/// The slots of a histogram, one for each bucket, once there is a first.
#[derive(Debug, Default)]
pub(super) struct Exemplars(OnceLock<Box<Slots>>);

type Slots = [Slot; BUCKETS];

/// The newest sampled request of each bucket that has one.
pub type Sampled = [Option<Exemplar>; BUCKETS];

#[derive(Debug, Default)]
struct Slot {
    /// 0: never written; odd: being written.
    sequence: AtomicU64,
    /// The upper and the lower half of the trace id, nanoseconds, milliseconds since 1970.
    words: [AtomicU64; 4],
}

impl Exemplars {
    pub(super) fn note(&self, bucket: usize, exemplar: Exemplar) {
        self.0.get_or_init(Box::default)[bucket].write(exemplar);
    }

    /// That of each bucket; `None` where no sampled request was ever observed.
    pub(super) fn read(&self) -> Option<Box<Sampled>> {
        let slots = self.0.get()?;
        Some(Box::new(std::array::from_fn(|at| slots[at].read())))
    }
}

impl Slot {
    fn write(&self, Exemplar { trace_id, nanos, at_ms }: Exemplar) {
        let sequence = self.sequence.load(Relaxed);
        let is_free = sequence.is_multiple_of(2)
            && self.sequence.compare_exchange(sequence, sequence + 1, Acquire, Relaxed).is_ok();
        if !is_free {
            return;
        }
        // No word may be seen before the odd number is.
        fence(Release);
        let values = [(trace_id >> 64) as u64, trace_id as u64, nanos, at_ms];
        for (word, value) in self.words.iter().zip(values) {
            word.store(value, Relaxed);
        }
        self.sequence.store(sequence + 2, Release);
    }

    /// `None` also where it is written over again and again while one looks: a scrape is a sample.
    fn read(&self) -> Option<Exemplar> {
        for _ in 0..8 {
            let before = self.sequence.load(Acquire);
            if before == 0 {
                return None;
            }
            let [upper, lower, nanos, at_ms] =
                std::array::from_fn(|at| self.words[at].load(Relaxed));
            fence(Acquire);
            if before.is_multiple_of(2) && self.sequence.load(Relaxed) == before {
                let trace_id = u128::from(upper) << 64 | u128::from(lower);
                return Some(Exemplar { trace_id, nanos, at_ms });
            }
            std::hint::spin_loop();
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    fn of(number: u64) -> Exemplar {
        let trace_id = u128::from(number) << 64 | u128::from(number);
        Exemplar { trace_id, nanos: number, at_ms: number }
    }

    #[test]
    fn the_newest_stands() {
        let exemplars = Exemplars::default();
        assert_eq!(exemplars.read(), None);
        for number in 1..=3 {
            exemplars.note(2, of(number));
        }
        let read = exemplars.read().expect("there are some");
        assert_eq!(read[2], Some(of(3)));
        assert_eq!(read.iter().flatten().count(), 1);
    }

    #[test]
    fn nobody_reads_two_halves() {
        let exemplars = Exemplars::default();
        let times = if cfg!(miri) { 100 } else { 20_000 };
        thread::scope(|scope| {
            for writer in 1..=3 {
                let exemplars = &exemplars;
                scope.spawn(move || (0..times).for_each(|n| exemplars.note(0, of(n * 4 + writer))));
            }
            for _ in 0..times {
                if let Some(found) = exemplars.read().and_then(|all| all[0]) {
                    assert_eq!(found, of(found.nanos));
                }
            }
        });
        assert!(exemplars.read().is_some_and(|all| all[0].is_some()));
    }
}
