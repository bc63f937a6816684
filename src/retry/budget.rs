//! The retry budget: in any ten seconds, retries ≤ max(10 × `min_per_second`, `ratio` % of
//! requests), per service, over all workers.
//!
//! Requests and retries are counted in buckets of one second. To keep the promise for every window
//! of ten seconds and not only for aligned ones, a retry is weighed against the retries of eleven
//! buckets and the requests of ten, so rounding always errs on the strict side. A bucket is one
//! word: second (16 bits), retries (16), requests (32); a stale one is replaced in one step.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};

use crate::model::RetryBudget;

const BUCKETS: u64 = 11;

/// One service's budget.
#[derive(Debug)]
pub struct Budget {
    policy: RetryBudget,
    buckets: [AtomicU64; BUCKETS as usize],
}

impl Budget {
    pub fn new(policy: RetryBudget) -> Self {
        Self { policy, buckets: Default::default() }
    }

    /// Counts a first attempt.
    pub fn deposit(&self, now_us: u64) {
        let second = second(now_us);
        let bucket = self.bucket(second);
        let bits = bucket.load(Relaxed);
        if of(bits) == second as u16 && requests(bits) < u32::MAX {
            bucket.fetch_add(1, Relaxed);
        } else {
            self.add(second, 1);
        }
    }

    /// Takes one retry out, if there is one.
    pub fn try_withdraw(&self, now_us: u64) -> bool {
        let second = second(now_us);
        let (mut made, mut asked) = (0u64, 0u64);
        for age in 0..BUCKETS.min(second) {
            let bits = self.bucket(second - age).load(Acquire);
            if of(bits) == (second - age) as u16 {
                made += u64::from(retries(bits));
                asked += if age < BUCKETS - 1 { u64::from(requests(bits)) } else { 0 };
            }
        }
        let floor = 10 * u64::from(self.policy.min_per_second);
        let share = asked * u64::from(self.policy.ratio_percent) / 100;
        if made >= floor.max(share) {
            return false;
        }
        self.add(second, 1 << 32);
        true
    }

    fn bucket(&self, second: u64) -> &AtomicU64 {
        &self.buckets[(second % BUCKETS) as usize]
    }

    fn add(&self, second: u64, amount: u64) {
        let fresh = (second & 0xffff) << 48;
        let add = |bits| Some(if of(bits) == second as u16 { bits } else { fresh } + amount);
        // The closure never declines, so this can't fail.
        let _ = self.bucket(second).fetch_update(AcqRel, Acquire, add);
    }
}

/// Seconds from 1, so that an untouched bucket belongs to no second.
fn second(now_us: u64) -> u64 {
    now_us / 1_000_000 + 1
}

fn of(bits: u64) -> u16 {
    (bits >> 48) as u16
}

fn retries(bits: u64) -> u16 {
    (bits >> 32) as u16
}

fn requests(bits: u64) -> u32 {
    bits as u32
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::Retry;

    fn budget() -> Budget {
        Budget::new(Retry::default().budget)
    }

    #[test]
    fn a_quiet_service_has_its_floor() {
        let budget = budget();
        let granted = (0..1000).filter(|_| budget.try_withdraw(5_000_000)).count();
        assert_eq!(granted, 100);
        assert!(!budget.try_withdraw(14_900_000));
        assert!(budget.try_withdraw(17_000_000));
    }

    #[test]
    fn a_busy_service_may_retry_a_share() {
        let budget = budget();
        for _ in 0..10_000 {
            budget.deposit(1_000_000);
        }
        let granted = (0..5000).filter(|_| budget.try_withdraw(1_500_000)).count();
        assert_eq!(granted, 2000);
    }

    proptest! {
        #[test]
        fn no_window_of_ten_seconds_exceeds_the_budget(
            events in prop::collection::vec((0u64..400_000, 0u8..4), 1..800),
        ) {
            let budget = Budget::new(RetryBudget { ratio_percent: 20, min_per_second: 1 });
            let (mut now, mut asked, mut made) = (0u64, Vec::new(), Vec::new());
            for (step, kind) in events {
                now += step;
                if kind == 0 {
                    budget.deposit(now);
                    asked.push(now);
                } else if budget.try_withdraw(now) {
                    made.push(now);
                    let window = |times: &[u64]| times.iter().filter(|&&t| t + 10_000_000 > now).count();
                    prop_assert!(window(&made) <= 10.max(window(&asked) / 5));
                }
            }
        }
    }
}
