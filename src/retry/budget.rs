//! The retry budget: in any ten seconds, retries ≤ max(10 × `min_per_second`, `ratio` % of
//! requests), per service, over all workers.
//!
//! Requests and retries are counted in buckets of one second. To keep the promise for every window
//! of ten seconds and not only for aligned ones, a retry is weighed against the retries of eleven
//! buckets and the requests of ten, so rounding always errs on the strict side. A bucket is one
//! word: second (16 bits), retries (16), requests (32); a stale one is replaced in one step, and
//! what would not fit is refused (a retry) or not counted (a request). A retry is taken where it is
//! counted, so workers that ask at once can't take the last one twice.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};

use crate::model::RetryBudget;

const BUCKETS: u64 = 11;

/// One service's budget.
#[derive(Debug)]
pub struct Budget {
    /// Percent in the upper half, retries a second in the lower.
    policy: AtomicU64,
    buckets: [AtomicU64; BUCKETS as usize],
}

/// What happened in the last ten seconds, and what may.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BudgetFacts {
    pub requests: u64,
    pub retries: u64,
    /// So many retries at most.
    pub allowed: u64,
}

impl Budget {
    pub fn new(policy: RetryBudget) -> Self {
        Self { policy: AtomicU64::new(pack(policy)), buckets: Default::default() }
    }

    /// From now on another policy holds, also for what was counted already.
    pub fn retune(&self, policy: RetryBudget) {
        self.policy.store(pack(policy), Relaxed);
    }

    /// Counts a first attempt.
    pub fn deposit(&self, now_us: u64) {
        let second = second(now_us);
        let add = |bits| {
            let bits = current(bits, second);
            Some(if requests(bits) == u32::MAX { bits } else { bits + 1 })
        };
        // The closure never declines, so this can't fail.
        let _ = self.bucket(second).fetch_update(AcqRel, Acquire, add);
    }

    /// Takes one retry out, if there is one.
    pub fn try_withdraw(&self, now_us: u64) -> bool {
        let second = second(now_us);
        let take = |bits| {
            let bits = current(bits, second);
            let facts = self.weigh(second, bits);
            let may = facts.retries < facts.allowed && retries(bits) < u16::MAX;
            may.then(|| bits + (1 << 32))
        };
        self.bucket(second).fetch_update(AcqRel, Acquire, take).is_ok()
    }

    /// Retries that could be taken out now.
    pub fn remaining(&self, now_us: u64) -> u64 {
        let BudgetFacts { requests: _, retries, allowed } = self.facts(now_us);
        allowed.saturating_sub(retries)
    }

    /// What a retry would be weighed against now.
    pub fn facts(&self, now_us: u64) -> BudgetFacts {
        let second = second(now_us);
        self.weigh(second, current(self.bucket(second).load(Acquire), second))
    }

    /// `newest` is the bucket of `second`.
    fn weigh(&self, second: u64, newest: u64) -> BudgetFacts {
        let (mut made, mut asked) = (u64::from(retries(newest)), u64::from(requests(newest)));
        for age in 1..BUCKETS.min(second) {
            let bits = self.bucket(second - age).load(Acquire);
            if of(bits) == (second - age) as u16 {
                made += u64::from(retries(bits));
                asked += if age < BUCKETS - 1 { u64::from(requests(bits)) } else { 0 };
            }
        }
        let policy = self.policy.load(Relaxed);
        let (ratio_percent, min_per_second) = (policy >> 32, policy & u64::from(u32::MAX));
        let allowed = (10 * min_per_second).max(asked.saturating_mul(ratio_percent) / 100);
        BudgetFacts { requests: asked, retries: made, allowed }
    }

    fn bucket(&self, second: u64) -> &AtomicU64 {
        &self.buckets[(second % BUCKETS) as usize]
    }
}

fn pack(policy: RetryBudget) -> u64 {
    u64::from(policy.ratio_percent) << 32 | u64::from(policy.min_per_second)
}

/// Seconds from 1, so that an untouched bucket belongs to no second.
fn second(now_us: u64) -> u64 {
    now_us / 1_000_000 + 1
}

/// The bucket itself, or an empty one in the place of a stale one.
fn current(bits: u64, second: u64) -> u64 {
    if of(bits) == second as u16 { bits } else { (second & 0xffff) << 48 }
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
    #[cfg_attr(miri, ignore = "long, and on one thread")]
    fn a_busy_service_may_retry_a_share() {
        let budget = budget();
        for _ in 0..10_000 {
            budget.deposit(1_000_000);
        }
        let granted = (0..5000).filter(|_| budget.try_withdraw(1_500_000)).count();
        assert_eq!(granted, 2000);
    }

    #[test]
    #[cfg_attr(miri, ignore = "long, and on one thread")]
    fn nothing_allowed_is_no_retry_ever() {
        let budget = Budget::new(RetryBudget { ratio_percent: 0, min_per_second: 0 });
        (0..10_000).for_each(|_| budget.deposit(1_000_000));
        assert!((0..20).all(|second| !budget.try_withdraw(second * 1_000_000)));
        assert_eq!(budget.remaining(1_000_000), 0);
    }

    #[test]
    #[cfg_attr(miri, ignore = "long, and on one thread")]
    fn each_part_counts_for_itself() {
        for (ratio_percent, min_per_second, expected) in
            [(20, 0, 200), (0, 3, 30), (20, 30, 300), (1, 1, 10), (150, 0, 1500)]
        {
            let budget = Budget::new(RetryBudget { ratio_percent, min_per_second });
            (0..1000).for_each(|_| budget.deposit(1_000_000));
            let granted = (0..5000).filter(|_| budget.try_withdraw(1_000_000)).count();
            assert_eq!(granted, expected, "{ratio_percent} % or {min_per_second} a second");
        }
    }

    #[test]
    fn a_changed_budget_keeps_its_counts() {
        let budget = budget();
        (0..1000).for_each(|_| budget.deposit(1_000_000));
        (0..60).for_each(|_| assert!(budget.try_withdraw(1_000_000)));
        let before = BudgetFacts { requests: 1000, retries: 60, allowed: 200 };
        assert_eq!(budget.facts(1_000_000), before);
        budget.retune(RetryBudget { ratio_percent: 5, min_per_second: 1 });
        assert_eq!(budget.facts(1_000_000), BudgetFacts { allowed: 50, ..before });
        assert_eq!(budget.remaining(1_000_000), 0);
        assert!(!budget.try_withdraw(1_000_000), "more were made than are allowed now");
        budget.retune(RetryBudget { ratio_percent: 5, min_per_second: 7 });
        assert_eq!(budget.remaining(1_000_000), 10);
        assert_eq!((0..50).filter(|_| budget.try_withdraw(1_000_000)).count(), 10);
    }

    #[test]
    fn facts_are_of_the_last_ten_seconds() {
        let budget = budget();
        budget.deposit(1_000_000);
        budget.try_withdraw(1_000_000);
        let both = BudgetFacts { requests: 1, retries: 1, allowed: 100 };
        assert_eq!(budget.facts(10_999_999), both);
        // Retries are kept for a bucket longer.
        assert_eq!(budget.facts(11_000_000), BudgetFacts { requests: 0, ..both });
        assert_eq!(budget.facts(12_000_000), BudgetFacts { allowed: 100, ..Default::default() });
    }

    #[test]
    #[cfg_attr(miri, ignore = "long, and on one thread")]
    fn a_full_bucket_refuses_retries_and_overflows_into_nothing() {
        let budget = Budget::new(RetryBudget { ratio_percent: 0, min_per_second: 1_000_000 });
        let granted = (0..70_000).filter(|_| budget.try_withdraw(1_000_000)).count();
        assert_eq!(granted, 65_535);
        assert_eq!(budget.facts(1_000_000).retries, 65_535);
        assert!(budget.try_withdraw(2_000_000), "the next second has a bucket of its own");
        budget.bucket(second(3_000_000)).store(4 << 48 | u64::from(u32::MAX), Relaxed);
        budget.deposit(3_000_000);
        let BudgetFacts { requests, retries, .. } = budget.facts(3_000_000);
        assert_eq!((requests, retries), (u64::from(u32::MAX), 65_536));
    }

    #[test]
    fn workers_together_take_no_retry_twice() {
        for _ in 0..if cfg!(miri) { 3 } else { 50 } {
            let budget = budget();
            let work = || (0..100).filter(|_| budget.try_withdraw(1_000_000)).count();
            let granted: usize = std::thread::scope(|scope| {
                let workers: Vec<_> = (0..4).map(|_| scope.spawn(work)).collect();
                workers.into_iter().map(|worker| worker.join().expect("a worker")).sum()
            });
            assert_eq!(granted, 100);
        }
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
