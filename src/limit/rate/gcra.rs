//! The arithmetic of one bucket: the generic cell rate algorithm (GCRA, of ATM's traffic contracts).
//!
//! A bucket is one number: the moment until which what was taken from it is spread out. Each request
//! moves it on by one pause; a request may come if it then lies no further ahead than the bucket is
//! deep. A bucket whose moment has passed is full, and says no more than one that was never used, so
//! it can be forgotten. In any time `t` at most `burst + t / pause` requests are admitted.

use std::time::Duration;

/// How fast a bucket fills, and how much it holds. Nanoseconds: a microsecond would be 1 % of the
/// shortest pause that a policy may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    pause_ns: u64,
    depth_ns: u64,
}

/// So far ahead nothing is told apart any more: 146 years.
const FURTHEST_NS: u64 = 1 << 62;

impl Pace {
    /// `requests` in `per`, of which `burst` may come at once; both from 1.
    pub fn new(requests: u32, per: Duration, burst: u32) -> Self {
        let per_ns = u64::try_from(per.as_nanos()).unwrap_or(FURTHEST_NS);
        // Rounded up, so that never more are admitted than are said.
        let pause_ns = per_ns.div_ceil(u64::from(requests.max(1))).clamp(1, FURTHEST_NS);
        let depth_ns = pause_ns.saturating_mul(u64::from(burst.max(1))).min(FURTHEST_NS);
        Self { pause_ns, depth_ns }
    }

    /// What a bucket comes to by one more request.
    ///
    /// # Errors
    /// How long it takes until there is room for one, in nanoseconds.
    pub fn take(self, until_ns: u64, now_ns: u64) -> Result<u64, u64> {
        let next = until_ns.max(now_ns).saturating_add(self.pause_ns);
        match (next - now_ns).checked_sub(self.depth_ns) {
            None | Some(0) => Ok(next),
            Some(wait) => Err(wait),
        }
    }

    /// What a bucket is at that refuses for so long.
    pub fn refusing(self, wait_ns: u64, now_ns: u64) -> u64 {
        now_ns.saturating_add(wait_ns).saturating_add(self.depth_ns - self.pause_ns)
    }

    /// A bucket from which the request that was taken last, at a moment that is not past `until_ns`,
    /// is taken no more.
    pub fn give_back(self, until_ns: u64) -> u64 {
        until_ns.saturating_sub(self.pause_ns)
    }

    /// How many requests a bucket has room for.
    pub fn left(self, until_ns: u64, now_ns: u64) -> u64 {
        self.depth_ns.saturating_sub(until_ns.saturating_sub(now_ns)) / self.pause_ns
    }
}
