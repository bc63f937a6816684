//! What one member may take of the places that all share.
//!
//! Whoever has a certificate may open streams, as many as it likes. So each member has a few places of
//! its own in front of those of all: one that says nothing, or begins again and again, is in nobody's
//! way but its own. A member is an enrolment: one machine, or
//! one pod. Not an identity, which all pods of a Deployment share, nor a certificate, of which a
//! member gets a new one whenever it asks.
//! Invariant: in any time `t`, a member begins no more than `burst + per_second × t`.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::runtime::clock::as_us;

/// How many sessions one member may begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Being set up at a time; at least 1.
    pub at_once: u32,
    /// Begun in a second, in the long run; from 1 to a million.
    pub per_second: u32,
    /// Begun at once after a quiet time; at least 1.
    pub burst: u32,
}

/// Arbitrary: a sidecar begins one, and one more a second when its network is bad; of all that the
/// control plane lets in it is a twentieth at most.
impl Default for Limits {
    fn default() -> Limits {
        Limits { at_once: 4, per_second: 10, burst: 20 }
    }
}

/// Members that began a session lately, by enrolment.
#[derive(Debug)]
pub struct Shares {
    limits: Limits,
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    shares: HashMap<u64, Share>,
    /// So many are worth a look for those that are idle.
    crowd: usize,
}

#[derive(Clone, Copy, Debug, Default)]
struct Share {
    under_way: u32,
    /// When its bucket is full again, in microseconds of the clock.
    full_at_us: u64,
    /// The latest moment that it was given to come back.
    promised_us: u64,
}

/// A member's place while its session is set up; dropped when it stands or failed.
#[derive(Debug)]
pub struct Part {
    shares: Arc<Shares>,
    member: u64,
}

impl Drop for Part {
    fn drop(&mut self) {
        if let Some(share) = self.shares.lock().shares.get_mut(&self.member) {
            share.under_way = share.under_way.saturating_sub(1);
        }
    }
}

/// Nobody is told to wait longer.
const LONGEST: Duration = Duration::from_secs(60);

/// Tables smaller than this are not looked through. Arbitrary.
const SMALL: usize = 64;

impl Shares {
    pub fn new(limits: Limits) -> Arc<Shares> {
        Arc::new(Shares { limits, table: Mutex::default() })
    }

    /// A place for one more session of `member`, at once or not at all.
    ///
    /// # Errors
    /// How long it should stay away: each time longer than the last, as a machine that was copied
    /// comes many times at once.
    pub fn try_take(self: &Arc<Self>, member: u64, now_us: u64) -> Result<Part, Duration> {
        let cost_us = as_us(Duration::from_secs(1)) / u64::from(self.limits.per_second.max(1));
        let depth_us = cost_us * u64::from(self.limits.burst.max(1));
        let mut table = self.lock();
        table.forget_idle(now_us);
        let share = table.shares.entry(member).or_default();
        let full_at_us = share.full_at_us.max(now_us) + cost_us;
        if share.under_way >= self.limits.at_once.max(1) || full_at_us - now_us > depth_us {
            let next_us = full_at_us.saturating_sub(depth_us).max(now_us + cost_us);
            let later_us = next_us.max(share.promised_us + cost_us) - now_us;
            let later_us = later_us.min(as_us(LONGEST));
            share.promised_us = now_us + later_us;
            return Err(Duration::from_micros(later_us));
        }
        share.full_at_us = full_at_us;
        share.under_way += 1;
        Ok(Part { shares: Arc::clone(self), member })
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    /// What an idle one has is what a new one gets. Looked for whenever twice as many are there as
    /// were left the last time, so that each costs the same.
    fn forget_idle(&mut self, now_us: u64) {
        if self.shares.len() < self.crowd.max(SMALL) {
            return;
        }
        self.shares.retain(|_, share| {
            share.under_way > 0 || share.full_at_us.max(share.promised_us) > now_us
        });
        self.crowd = 2 * self.shares.len();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000;

    #[test]
    fn a_member_that_takes_all_it_can_is_in_nobody_elses_way() {
        let shares = Shares::new(Limits::default());
        let held: Vec<Part> = (0..64).filter_map(|_| shares.try_take(1, 0).ok()).collect();
        assert_eq!(held.len(), 4);
        assert!(shares.try_take(2, 0).is_ok());
        drop(held);
        // Those that come and go are counted too.
        let begun =
            |member, now_us| (0..1000).filter(|_| shares.try_take(member, now_us).is_ok()).count();
        assert_eq!((begun(1, 0), begun(1, SECOND), begun(1, 100 * SECOND)), (16, 10, 20));
        assert_eq!(begun(2, 0), 19);
    }

    #[test]
    fn whoever_comes_when_it_was_told_is_let_in() {
        let shares = Shares::new(Limits::default());
        let begun = (0..20).filter(|_| shares.try_take(1, 0).is_ok()).count();
        assert_eq!(begun, 20);
        let waits: Vec<Duration> = (0..1000).filter_map(|_| shares.try_take(1, 0).err()).collect();
        assert_eq!(waits[..3], [100, 200, 300].map(Duration::from_millis));
        for wait in &waits[..100] {
            assert!(shares.try_take(1, as_us(*wait)).is_ok(), "after {wait:?}");
        }
        assert_eq!((waits.len(), waits[999]), (1000, LONGEST));
    }

    #[test]
    fn members_that_are_idle_are_forgotten() {
        let shares = Shares::new(Limits::default());
        let stays = shares.try_take(0, 0);
        for member in 1..10_000 {
            assert!(shares.try_take(member, member * SECOND).is_ok());
        }
        assert!(shares.lock().shares.len() <= SMALL);
        assert_eq!(shares.lock().shares.get(&0).map(|share| share.under_way), Some(1));
        drop(stays);
        assert_eq!(shares.lock().shares.get(&0).map(|share| share.under_way), Some(0));
    }
}
