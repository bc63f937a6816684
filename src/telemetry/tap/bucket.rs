//! How many records a second somebody is told, counted as GCRA does: one moment says how much of the
//! last second's share is used up.

/// A share, in microseconds.
const SECOND_US: u64 = 1_000_000;

/// A second's share at once, and so many a second in the long run.
#[derive(Clone, Copy, Debug)]
pub struct Bucket {
    /// Between two records that come regularly.
    apart_us: u64,
    /// Until when all that was let through would have lasted.
    until_us: u64,
}

impl Bucket {
    /// `rate` a second, at least 1.
    pub fn new(rate: u32) -> Self {
        Self { apart_us: SECOND_US / u64::from(rate.max(1)), until_us: 0 }
    }

    /// Whether one more may pass now.
    pub fn admits(&mut self, now_us: u64) -> bool {
        let until_us = self.until_us.max(now_us) + self.apart_us;
        let has_room = until_us - now_us <= SECOND_US;
        if has_room {
            self.until_us = until_us;
        }
        has_room
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admitted(bucket: &mut Bucket, moments: impl Iterator<Item = u64>) -> usize {
        moments.filter(|&now_us| bucket.admits(now_us)).count()
    }

    #[test]
    fn a_second_holds_what_it_may_and_no_more() {
        for rate in [1, 3, 100, 1_000] {
            let mut bucket = Bucket::new(rate);
            let burst = admitted(&mut bucket, (0..5_000).map(|_| 7_000_000));
            assert_eq!(burst, rate as usize);
            // Ten seconds of more than it takes.
            let more = admitted(&mut bucket, (0..50_000).map(|nth| 7_000_000 + nth * 200));
            let expected = 10 * rate as usize;
            assert!((expected - 1..=expected + 1).contains(&more), "{rate}: {more}");
        }
    }

    #[test]
    fn a_clock_that_a_worker_read_a_little_earlier_does_no_harm() {
        let mut bucket = Bucket::new(2);
        assert!(bucket.admits(1_000_000));
        assert!(!bucket.admits(400_000), "it is not known to have passed");
        assert!(bucket.admits(1_000_000));
        assert!(!bucket.admits(1_000_000));
    }
}
