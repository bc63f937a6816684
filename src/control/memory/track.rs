//! What is counted of one thing over time, in slots of ten seconds; only slots in which something
//! happened are there.
//!
//! Slots add up: whichever way counts are split and in whatever order they come, the sums are the
//! same. Numbers saturate, so that no count can turn small by being large.

use std::collections::VecDeque;

use super::report::{Buckets, Outcome};

/// Seconds of a slot, and slots that are kept: half an hour.
pub const SLOT_S: u32 = 10;
pub const SLOTS: u32 = 180;

/// The number of a moment's slot, in milliseconds since 1970.
pub fn slot_of(now_ms: i64) -> u32 {
    u32::try_from(now_ms / (i64::from(SLOT_S) * 1000)).unwrap_or_default()
}

/// When a slot begins, in milliseconds since 1970.
pub fn slot_ms(slot: u32) -> i64 {
    i64::from(slot) * i64::from(SLOT_S) * 1000
}

/// Requests of one slot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Count {
    at: u32,
    requests: u32,
    failed: u32,
    /// With somebody who proved who it is.
    proved: u32,
    /// In plaintext.
    plain: u32,
}

/// How long requests of one slot took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Times {
    at: u32,
    buckets: [u32; BUCKETS],
}

pub const BUCKETS: usize = std::mem::size_of::<Buckets>() / std::mem::size_of::<u64>();

/// The sums of a window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sums {
    pub requests: u64,
    pub failed: u64,
    pub proved: u64,
    pub plain: u64,
    pub buckets: Buckets,
}

impl Sums {
    /// Both together.
    pub fn add(&mut self, other: &Sums) {
        for (sum, more) in [
            (&mut self.requests, other.requests),
            (&mut self.failed, other.failed),
            (&mut self.proved, other.proved),
            (&mut self.plain, other.plain),
        ] {
            *sum = sum.saturating_add(more);
        }
        for (sum, more) in self.buckets.iter_mut().zip(other.buckets) {
            *sum = sum.saturating_add(more);
        }
    }
}

/// The slots of one thing, oldest first.
#[derive(Debug, Default)]
pub struct Track {
    counts: VecDeque<Count>,
    times: VecDeque<Times>,
}

/// Room for so many more at a time: slots come one by one, and doubling would waste half.
const STEP: usize = 12;

trait Slot {
    fn at(&self) -> u32;
    fn new(at: u32) -> Self;
}

impl Slot for Count {
    fn at(&self) -> u32 {
        self.at
    }

    fn new(at: u32) -> Self {
        Self { at, ..Self::default() }
    }
}

impl Slot for Times {
    fn at(&self) -> u32 {
        self.at
    }

    fn new(at: u32) -> Self {
        Self { at, buckets: [0; BUCKETS] }
    }
}

impl Track {
    pub fn count(&mut self, at: u32, outcome: Outcome, count: u64) {
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        let slot = place(&mut self.counts, at);
        let is = |holds: bool| if holds { count } else { 0 };
        for (sum, more) in [
            (&mut slot.requests, count),
            (&mut slot.failed, is(outcome.failed)),
            (&mut slot.proved, is(outcome.proved)),
            (&mut slot.plain, is(outcome.plain)),
        ] {
            *sum = sum.saturating_add(more);
        }
    }

    pub fn time(&mut self, at: u32, buckets: &Buckets) {
        let slot = place(&mut self.times, at);
        for (sum, more) in slot.buckets.iter_mut().zip(buckets) {
            *sum = sum.saturating_add(u32::try_from(*more).unwrap_or(u32::MAX));
        }
    }

    /// The sums of the slots from `first` to `last`.
    pub fn sums(&self, first: u32, last: u32) -> Sums {
        let mut sums = Sums::default();
        let within = |at: u32| (first..=last).contains(&at);
        for count in self.counts.iter().rev().take_while(|c| c.at >= first).filter(|c| within(c.at))
        {
            sums.requests += u64::from(count.requests);
            sums.failed += u64::from(count.failed);
            sums.proved += u64::from(count.proved);
            sums.plain += u64::from(count.plain);
        }
        for times in self.times.iter().rev().take_while(|t| t.at >= first).filter(|t| within(t.at))
        {
            for (sum, more) in sums.buckets.iter_mut().zip(times.buckets) {
                *sum += u64::from(more);
            }
        }
        sums
    }

    /// Adds the slots from `first` on to `steps` of `step` slots each, in one pass.
    pub fn add_to(&self, steps: &mut [Sums], first: u32, step: u32) {
        let many = steps.len();
        let within = |at: u32| Some((at.checked_sub(first)? / step.max(1)) as usize);
        let within = |at: u32| within(at).filter(|&at| at < many);
        for count in &self.counts {
            let Some(sums) = within(count.at).map(|at| &mut steps[at]) else { continue };
            sums.requests = sums.requests.saturating_add(count.requests.into());
            sums.failed = sums.failed.saturating_add(count.failed.into());
            sums.proved = sums.proved.saturating_add(count.proved.into());
            sums.plain = sums.plain.saturating_add(count.plain.into());
        }
        for times in &self.times {
            let Some(sums) = within(times.at).map(|at| &mut steps[at]) else { continue };
            for (sum, more) in sums.buckets.iter_mut().zip(times.buckets) {
                *sum = sum.saturating_add(more.into());
            }
        }
    }

    /// Lets go of what lies outside `first..=last`.
    pub fn keep(&mut self, first: u32, last: u32) {
        keep(&mut self.counts, first, last);
        keep(&mut self.times, first, last);
    }

    /// Takes no more than it needs.
    pub fn tighten(&mut self) {
        self.counts.shrink_to_fit();
        self.times.shrink_to_fit();
    }

    pub fn is_empty(&self) -> bool {
        self.counts.is_empty() && self.times.is_empty()
    }

    /// The moments of its slots.
    pub fn moments(&self) -> impl Iterator<Item = u32> {
        self.counts.iter().map(|count| count.at).chain(self.times.iter().map(|times| times.at))
    }

    /// What its slots take, in bytes.
    pub fn bytes(&self) -> usize {
        self.counts.capacity() * std::mem::size_of::<Count>()
            + self.times.capacity() * std::mem::size_of::<Times>()
    }
}

/// The slot of a moment, mostly the last.
fn place<T: Slot>(slots: &mut VecDeque<T>, at: u32) -> &mut T {
    let index = match slots.back() {
        Some(last) if last.at() == at => slots.len() - 1,
        Some(last) if last.at() > at => {
            let index = slots.partition_point(|slot| slot.at() < at);
            if slots[index].at() != at {
                make_room(slots);
                slots.insert(index, T::new(at));
            }
            index
        }
        _ => {
            make_room(slots);
            slots.push_back(T::new(at));
            slots.len() - 1
        }
    };
    &mut slots[index]
}

fn make_room<T>(slots: &mut VecDeque<T>) {
    if slots.len() == slots.capacity() {
        slots.reserve_exact(STEP);
    }
}

fn keep<T: Slot>(slots: &mut VecDeque<T>, first: u32, last: u32) {
    while slots.front().is_some_and(|slot| slot.at() < first) {
        slots.pop_front();
    }
    while slots.back().is_some_and(|slot| slot.at() > last) {
        slots.pop_back();
    }
    if slots.capacity() > slots.len() + 4 * STEP {
        slots.shrink_to(slots.len() + STEP);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn outcome(bits: u8) -> Outcome {
        Outcome { failed: bits & 1 > 0, proved: bits & 2 > 0, plain: bits & 4 > 0 }
    }

    proptest! {
        #[test]
        fn sums_do_not_depend_on_order_or_on_how_counts_are_split(
            all in prop::collection::vec((0u32..40, 0u8..8, 0u64..1000), 0..60),
            seed in any::<u64>(),
            (first, last) in (0u32..40, 0u32..40),
        ) {
            let (mut whole, mut split) = (Track::default(), Track::default());
            for &(at, bits, count) in &all {
                whole.count(at, outcome(bits), count);
                let mut buckets = Buckets::default();
                buckets[bits as usize] = count;
                whole.time(at, &buckets);
            }
            let mut parts: Vec<_> = all
                .iter()
                .flat_map(|&(at, bits, count)| [(at, bits, count / 3), (at, bits, count - count / 3)])
                .collect();
            parts.sort_by_key(|part| (part.2.wrapping_mul(seed | 1), part.0));
            for (at, bits, count) in parts {
                split.count(at, outcome(bits), count);
                let mut buckets = Buckets::default();
                buckets[bits as usize] = count;
                split.time(at, &buckets);
            }
            prop_assert_eq!(whole.sums(first, last), split.sums(first, last));
            let expected: u64 =
                all.iter().filter(|row| (first..=last).contains(&row.0)).map(|row| row.2).sum();
            prop_assert_eq!(whole.sums(first, last).requests, expected);
            // Parts of a window add up to it.
            let middle = first.midpoint(last);
            let mut sums = whole.sums(first, middle);
            sums.add(&whole.sums(middle + 1, last));
            prop_assert_eq!(sums, if first <= last { whole.sums(first, last) } else { sums });
            let mut steps = [Sums::default(); 3];
            whole.add_to(&mut steps, first, 4);
            let each = |at: u32| whole.sums(first + at * 4, first + at * 4 + 3);
            prop_assert_eq!(steps, [each(0), each(1), each(2)]);
            split.keep(first, last);
            prop_assert_eq!(split.sums(0, 40), whole.sums(first, last));
        }
    }

    #[test]
    fn numbers_saturate_and_memory_is_given_back() {
        let mut track = Track::default();
        track.count(7, outcome(1), u64::MAX);
        track.count(7, outcome(1), 5);
        assert_eq!(track.sums(0, 9).failed, u64::from(u32::MAX));
        for at in 0..SLOTS {
            track.count(at, outcome(0), 1);
            track.time(at, &Buckets::default());
        }
        let full = track.bytes();
        assert!(full <= (SLOTS as usize + STEP) * (20 + 4 + 4 * BUCKETS), "{full}");
        track.keep(SLOTS - 2, SLOTS);
        assert!(track.bytes() < full / 4 && track.moments().count() == 4, "{}", track.bytes());
    }
}
