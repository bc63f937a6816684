//! Who leads, by what a Lease was seen to say: the core, with given times.
//!
//! Clocks of two machines are never compared. Others count from when *they saw* the holder renew;
//! the holder counts from when it *asked* for its last renewal, which was earlier, and stops a good
//! while before the others may begin. In between nobody leads.

use std::time::Duration;

use crate::runtime::clock::as_us;

/// What others wait for, from a renewal that they saw.
pub const DURATION: Duration = Duration::from_secs(15);

/// How long the holder leads after it asked for a renewal that was granted.
pub const TENURE: Duration = Duration::from_secs(10);

/// What a Lease says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Empty: nobody; it was given back.
    pub holder: String,
    /// As it is written: only whether it changes counts.
    pub renewed: String,
    /// What its holder asks others to wait.
    pub duration: Duration,
}

/// One who stands for it.
#[derive(Debug)]
pub struct Elector {
    identity: Box<str>,
    /// What was seen, and since when.
    seen: Option<(Record, u64)>,
    /// When the renewal was asked for that was granted last.
    held_us: Option<u64>,
}

impl Elector {
    pub fn new(identity: &str) -> Self {
        Self { identity: identity.into(), seen: None, held_us: None }
    }

    pub fn identity(&self) -> &str {
        &self.identity
    }

    /// What the Lease says now; `None`: there is none.
    pub fn see(&mut self, record: Option<Record>, now_us: u64) {
        let ours = record.as_ref().is_some_and(|record| record.holder == *self.identity);
        if !ours {
            self.held_us = None;
        }
        if self.seen.as_ref().map(|(seen, _)| seen) != record.as_ref() {
            self.seen = record.map(|record| (record, now_us));
        }
    }

    /// Whether to ask for it: it is ours, nobody's, or was not renewed for as long as its holder
    /// said that others should wait.
    pub fn may_ask(&self, now_us: u64) -> bool {
        let Some((record, since_us)) = &self.seen else { return true };
        record.holder.is_empty()
            || record.holder == *self.identity
            || now_us.saturating_sub(*since_us) >= as_us(record.duration)
    }

    /// It was granted; `asked_us` is from before the question.
    pub fn granted(&mut self, record: Record, asked_us: u64, now_us: u64) {
        self.seen = Some((record, now_us));
        self.held_us = Some(asked_us);
    }

    /// It was given back.
    pub fn give_up(&mut self) {
        self.held_us = None;
    }

    /// How much longer it leads without another renewal; `None`: it does not.
    pub fn leads_for(&self, now_us: u64) -> Option<Duration> {
        let end_us = self.held_us? + as_us(TENURE);
        end_us.checked_sub(now_us).filter(|left| *left > 0).map(Duration::from_micros)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000;

    fn record(holder: &str, renewed: u64) -> Record {
        Record { holder: holder.into(), renewed: renewed.to_string(), duration: DURATION }
    }

    /// Asks when it may, and is granted it.
    fn ask(elector: &mut Elector, lease: &mut Option<Record>, now_us: u64) -> bool {
        elector.see(lease.clone(), now_us);
        let asks = elector.may_ask(now_us);
        if asks {
            let granted = record(elector.identity(), now_us);
            elector.granted(granted.clone(), now_us, now_us);
            *lease = Some(granted);
        }
        asks
    }

    #[test]
    fn who_comes_first_leads_until_it_stops_renewing() {
        let (mut a, mut b) = (Elector::new("a"), Elector::new("b"));
        let mut lease = None;
        assert!(ask(&mut a, &mut lease, 0));
        for second in 0..100 {
            let now = second * SECOND;
            if second % 5 == 0 {
                assert!(ask(&mut a, &mut lease, now));
            }
            assert!(!ask(&mut b, &mut lease, now), "second {second}");
            assert!(a.leads_for(now).is_some());
        }
        // It renewed at 95 for the last time, which the other saw then.
        assert!(a.leads_for(104 * SECOND).is_some());
        assert!(a.leads_for(105 * SECOND).is_none());
        assert!(!ask(&mut b, &mut lease, 109 * SECOND));
        assert!(ask(&mut b, &mut lease, 110 * SECOND));
        // Back again, it finds that it lost.
        assert!(!ask(&mut a, &mut lease, 111 * SECOND));
        assert_eq!(a.leads_for(111 * SECOND), None);
    }

    /// Whatever is lost on the way and however late anybody looks, two never lead at once.
    #[test]
    fn two_never_lead_at_once() {
        let mut rng = crate::runtime::clock::Rng::seeded(7);
        for _ in 0..200 {
            let mut electors = [Elector::new("a"), Elector::new("b"), Elector::new("c")];
            let (mut lease, mut led) = (None, 0);
            let mut now = 0;
            for _ in 0..500 {
                now += rng.below(3_000_000) as u64;
                let one = rng.below(3);
                // A renewal that was made, and whose answer took its time.
                let late = now + rng.below(2_000_000) as u64;
                electors[one].see(lease.clone(), now);
                if rng.below(4) > 0 && electors[one].may_ask(now) {
                    let granted = record(electors[one].identity(), now);
                    lease = Some(granted.clone());
                    electors[one].granted(granted, now, late);
                }
                now = late;
                let leaders = electors.iter().filter(|of| of.leads_for(now).is_some()).count();
                assert!(leaders <= 1);
                led += leaders;
            }
            assert!(led > 0);
        }
    }

    #[test]
    fn what_was_given_back_is_free_at_once() {
        let (mut a, mut b) = (Elector::new("a"), Elector::new("b"));
        let mut lease = None;
        ask(&mut a, &mut lease, 0);
        b.see(lease.clone(), SECOND);
        assert!(!b.may_ask(SECOND));
        a.give_up();
        assert_eq!(a.leads_for(SECOND), None);
        b.see(Some(record("", 1)), SECOND + 1);
        assert!(b.may_ask(SECOND + 1));
        // One that was removed, too.
        b.see(None, SECOND + 2);
        assert!(b.may_ask(SECOND + 2));
    }

    #[test]
    fn a_holder_that_asks_for_more_time_gets_it() {
        let mut b = Elector::new("b");
        let slow = Record { duration: Duration::from_secs(60), ..record("a", 0) };
        b.see(Some(slow.clone()), 0);
        b.see(Some(slow.clone()), 59 * SECOND);
        assert!(!b.may_ask(59 * SECOND));
        assert!(b.may_ask(60 * SECOND));
    }
}
