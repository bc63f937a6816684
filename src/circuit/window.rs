//! How many of the last requests were bad: a sliding window of ten buckets, without a lock.
//!
//! A bucket is one word: tag (20 bits), requests (22), bad ones (22). The oldest bucket leaves whole,
//! so a window of 10 s covers the last 9 to 10 s; a full bucket (4,194,303 requests) counts no
//! further and still shows its share. The tag says which tenth of which window length it is: what
//! passed counts for nothing, and what a policy with another length counted does not either (but
//! for one case in 100,000).

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};
use std::time::Duration;

use crate::runtime::clock::as_us;

const BUCKETS: usize = 10;
const FULL: u64 = (1 << 22) - 1;

/// The words of a window, which live in the endpoint.
pub(super) type Window = [AtomicU64; BUCKETS];

/// What a window says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rate {
    pub requests: u32,
    pub bad: u32,
}

impl Rate {
    /// True when at least so many percent of at least `minimum` requests are bad.
    pub fn reaches(self, threshold_percent: u8, minimum: u32) -> bool {
        let (requests, bad) = (u64::from(self.requests), u64::from(self.bad));
        self.requests >= minimum.max(1) && bad * 100 >= requests * u64::from(threshold_percent)
    }

    /// `None` when there was no request.
    pub fn percent(self) -> Option<f32> {
        (self.requests > 0).then(|| self.bad as f32 * 100.0 / self.requests as f32)
    }
}

/// One tenth of a window.
#[derive(Clone, Copy)]
struct Tenth {
    index: u64,
    length_us: u64,
}

impl Tenth {
    fn at(length: Duration, now_us: u64) -> Self {
        let length_us = (as_us(length) / BUCKETS as u64).max(1);
        Self { index: now_us / length_us, length_us }
    }

    fn tag(self) -> u64 {
        // The odd factor (2^64 divided by the golden ratio) spreads lengths over all tags.
        let of_length = self.length_us.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 44;
        (self.index + of_length) & 0xf_ffff
    }

    fn of(self, window: &Window) -> &AtomicU64 {
        &window[self.place()]
    }

    fn place(self) -> usize {
        (self.index % BUCKETS as u64) as usize
    }
}

/// Takes in one request.
pub(super) fn count(window: &Window, length: Duration, now_us: u64, is_bad: bool) {
    let tenth = Tenth::at(length, now_us);
    let tag = tenth.tag();
    let add = |bits: u64| {
        let bits = if bits >> 44 == tag { bits } else { tag << 44 };
        let one = 1 << 22 | u64::from(is_bad);
        Some(if bits >> 22 & FULL == FULL { bits } else { bits + one })
    };
    // The closure never declines, so this can't fail.
    let _ = tenth.of(window).fetch_update(AcqRel, Acquire, add);
}

/// What was taken in within `length`.
pub(super) fn rate(window: &Window, length: Duration, now_us: u64) -> Rate {
    let newest = Tenth::at(length, now_us);
    let (tag, place) = (newest.tag(), newest.place());
    let (mut requests, mut bad) = (0, 0);
    for (at, bucket) in window.iter().enumerate() {
        let age = if at <= place { place - at } else { place + BUCKETS - at };
        let bits = bucket.load(Relaxed);
        if bits >> 44 == tag.wrapping_sub(age as u64) & 0xf_ffff {
            requests += bits >> 22 & FULL;
            bad += bits & FULL;
        }
    }
    Rate { requests: requests as u32, bad: bad as u32 }
}

/// Forgets everything.
pub(super) fn clear(window: &Window) {
    window.iter().for_each(|bucket| bucket.store(0, Relaxed));
}
