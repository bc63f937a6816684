//! Where reports come in: one session's end of the memory.
//!
//! A session has a turn as long as it does not talk without a pause; whatever it says is looked at
//! only then. Counts of a long time are spread over it, and clocks that go wrong are gone by ours.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, SystemTime};

use super::Memory;
use super::directory::Directory;
use super::owners::{Key, Kind};
use super::part::Open;
use super::report::{Buckets, Kept, Latencies, Opened, Report, Requests};
use super::spans::Seen;
use super::track::{SLOT_S, SLOTS, slot_of};
use crate::control::catalog::Catalog;
use crate::control::desk::unix_ms;
use crate::model::SpiffeId;

/// Reports of one session: one in so many milliseconds, and so many at once, which come together
/// after a stall.
const APART_MS: i64 = 500;
const BURST: i64 = 8;
/// What is reported of so long is of now.
const RECENT: Duration = Duration::from_secs(15);
/// Requests of one row and slot: more than any sidecar serves. Arbitrary.
pub(super) const MOST: u64 = 10_000_000;
/// A sidecar's clock that differs by more is not gone by, in microseconds.
const SKEW_US: i64 = 2_000_000;

/// One session's end of it; what it says of endpoints goes with it.
pub struct Source {
    memory: Arc<Memory>,
    session: u64,
    identity: SpiffeId,
    owner: Arc<str>,
    workload: Arc<str>,
    /// The service that it was of last: one that drains is none of its endpoints any more.
    place: Option<Arc<str>>,
    /// Until when its turns so far would have lasted, one after the other.
    until_ms: i64,
}

/// Leave to report once.
pub struct Turn<'a> {
    source: &'a mut Source,
    now: SystemTime,
}

impl Memory {
    /// A sidecar's session begins; it says which workload of its namespace it is for.
    pub fn enter(self: &Arc<Self>, identity: &SpiffeId, workload: &str) -> Source {
        Source {
            memory: Arc::clone(self),
            session: self.sessions.fetch_add(1, Relaxed),
            owner: identity.as_str().into(),
            identity: identity.clone(),
            workload: format!("{workload}.{}", identity.namespace()).into(),
            place: None,
            until_ms: 0,
        }
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        let mut state = self.memory.lock();
        state.states.forget(self.session);
        state.holders.leave(self.session);
    }
}

impl Source {
    /// Whether it may report now; counted when it may not.
    pub fn admit(&mut self, now: SystemTime) -> Option<Turn<'_>> {
        let (now_ms, full_ms) = (unix_ms(now), BURST * APART_MS);
        // A clock that was set back makes nobody wait for longer than a burst takes.
        let until_ms = self.until_ms.clamp(now_ms, now_ms.saturating_add(full_ms));
        if until_ms - now_ms > full_ms - APART_MS {
            self.until_ms = until_ms;
            self.memory.hasty.fetch_add(1, Relaxed);
            return None;
        }
        self.until_ms = until_ms.saturating_add(APART_MS);
        Some(Turn { source: self, now })
    }

    fn node(&mut self, directory: &Directory) -> Arc<str> {
        let gone = |place: &mut Arc<str>| !directory.services.contains_key(place);
        self.place.take_if(gone);
        if let Some(place) = directory.place(&self.workload, &self.owner) {
            self.place = Some(place);
        }
        self.place.clone().unwrap_or_else(|| directory.account(&self.identity))
    }
}

impl Turn<'_> {
    /// Takes a report.
    pub fn take(self, report: Report, catalog: &Catalog) {
        let Self { source, now } = self;
        let now_ms = unix_ms(now);
        let memory = Arc::clone(&source.memory);
        let directory = memory.directory(catalog);
        let node = source.node(&directory);
        let Report { period, now_us, requests, latencies, endpoints, spans, open } = report;
        let slots = slots(period, now_ms);
        let nothing: Arc<str> = Arc::default();
        let mut state = memory.lock();
        for Requests { inbound, service, route, spoken, peer, outcome, count } in requests {
            let (kind, from, to, route) = match inbound {
                true => (Kind::Caller, &peer, &node, &nothing),
                false => (Kind::Flow, &node, &directory.called(&service), &route),
            };
            let [from, to, route] = [from, to, route].map(Arc::clone);
            state.owners.change(&source.owner, Key { kind, from, to, route }, |series| {
                for (slot, count) in spread(count, &slots) {
                    series.track.count(slot, outcome, count);
                }
                series.spoken = series.spoken.max(Some(spoken));
                if !peer.is_empty() && !inbound && series.peer.as_ref() != Some(&peer) {
                    series.peer = Some(peer);
                }
            });
        }
        for Latencies { inbound, service, route, counts } in latencies {
            let (kind, from, to, route) = match inbound {
                true => (Kind::Received, &nothing, &node, &nothing),
                false => (Kind::Flow, &node, &directory.called(&service), &route),
            };
            let [from, to, route] = [from, to, route].map(Arc::clone);
            state.owners.change(&source.owner, Key { kind, from, to, route }, |series| {
                for (at, &slot) in slots.iter().enumerate() {
                    let share = |bucket: usize| share(counts[bucket], at, slots.len());
                    let counts: Buckets = std::array::from_fn(share);
                    if counts.iter().any(|&count| count > 0) {
                        series.track.time(slot, &counts);
                    }
                }
            });
        }
        let who = (&source.owner, &source.workload);
        state.states.take(source.session, who, endpoints, now_ms);
        let open = open.into_iter().map(|of| held(of, &node, &directory)).collect();
        state.holders.take(source.session, who, open, now_ms);
        for kept in spans {
            let Some(kept) = timely(kept, now_us, now_ms) else {
                state.spans.refuse();
                continue;
            };
            let (workload, node) = (Arc::clone(&source.workload), Arc::clone(&node));
            let owner = Arc::clone(&source.owner);
            state.spans.take(Seen { kept, owner, workload, node, at_ms: now_ms });
        }
    }
}

/// What is open, between whom.
fn held(of: Opened, node: &Arc<str>, directory: &Directory) -> Open {
    let Opened { inbound, service, route, spoken, peer, count } = of;
    let peer_of_flow = (!inbound && !peer.is_empty()).then(|| Arc::clone(&peer));
    let key = match inbound {
        true => Key { kind: Kind::Caller, from: peer, to: Arc::clone(node), route: "".into() },
        false => {
            let (from, to) = (Arc::clone(node), directory.called(&service));
            Key { kind: Kind::Flow, from, to, route }
        }
    };
    Open { key, spoken, peer: peer_of_flow, count: count.min(MOST) }
}

/// A kept request by our clock; `None`: it ended before anything that is remembered, or begins yet.
fn timely(mut kept: Kept, told_us: i64, now_ms: i64) -> Option<Kept> {
    let now_us = now_ms.saturating_mul(1000);
    let skew_us = now_us.saturating_sub(told_us);
    if skew_us.unsigned_abs() > SKEW_US.unsigned_abs() {
        kept.started_us = kept.started_us.saturating_add(skew_us);
    }
    let latest_us = now_us.saturating_add(SKEW_US);
    let longest_us = latest_us.checked_sub(kept.started_us)?;
    kept.duration_us = kept.duration_us.min(u64::try_from(longest_us).ok()?);
    let ended_us = kept.started_us.checked_add_unsigned(kept.duration_us)?;
    let remembered_us = i64::from(SLOTS) * i64::from(SLOT_S) * 1_000_000;
    (kept.started_us >= 0 && ended_us >= now_us.saturating_sub(remembered_us)).then_some(kept)
}

/// The slots that a report is about, newest first: of a sidecar that could not report for a while,
/// all of that while, or the newest would hold what happened in an hour.
fn slots(period: Duration, now_ms: i64) -> Vec<u32> {
    let newest = slot_of(now_ms);
    if period <= RECENT {
        return vec![newest];
    }
    let many = u32::try_from(period.as_secs() / u64::from(SLOT_S)).unwrap_or(SLOTS);
    let many = many.clamp(1, SLOTS);
    (0..many).map(|back| newest.saturating_sub(back)).collect()
}

/// A count over slots, as evenly as it goes.
fn spread(count: u64, slots: &[u32]) -> impl Iterator<Item = (u32, u64)> {
    let share = move |(at, &slot): (usize, &u32)| (slot, share(count, at, slots.len()));
    slots.iter().enumerate().map(share).filter(|(_, share)| *share > 0)
}

/// Of so many slots the share of one: what does not divide lies at equal distances.
fn share(count: u64, at: usize, many: usize) -> u64 {
    let (at, many) = (at as u64, (many as u64).max(1));
    let (whole, rest) = (count / many, count % many);
    let before = |at: u64| (at * rest + many / 2) / many;
    (whole + before(at + 1) - before(at)).min(MOST)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::control::memory::spans::tests::kept;

    proptest! {
        #[test]
        fn shares_are_even_and_add_up(count in 0u64..1_000_000, many in 1usize..181) {
            let shares: Vec<u64> = (0..many).map(|at| share(count, at, many)).collect();
            prop_assert_eq!(shares.iter().sum::<u64>(), count);
            let least = count / many as u64;
            prop_assert!(shares.iter().all(|share| (least..=least + 1).contains(share)));
            // Nor does any part of the time have more than its share, and one.
            for (at, window) in shares.windows(many.div_ceil(3)).enumerate() {
                let fair = count as f64 * window.len() as f64 / many as f64;
                let sum = window.iter().sum::<u64>() as f64;
                prop_assert!((sum - fair).abs() <= 1.0, "{} {} {}", at, sum, fair);
            }
        }
    }

    #[test]
    fn times_are_by_our_clock_and_none_is_older_than_the_memory() {
        const NOW_MS: i64 = 1 << 40;
        let now_us = NOW_MS * 1000;
        let (minute, hour) = (60_000_000, 3_600_000_000);
        // Clock, beginning, duration, and what is made of the last two; all from now.
        let rows = [
            (0, -minute, 5, Some((-minute, 5))),
            (hour, hour - minute, 5, Some((-minute, 5))),
            (0, -minute, u64::MAX, Some((-minute, 62_000_000))),
            (0, -hour, 5, None),
            // A stream that began long ago and ended now.
            (0, -hour, 3_600_000_000, Some((-hour, 3_600_000_000))),
            (0, minute, 5, None),
            (0, i64::MIN, 5, None),
        ];
        for (clock, started, duration_us, expected) in rows {
            let mut span = kept(1, 1, 0);
            (span.started_us, span.duration_us) = (now_us.saturating_add(started), duration_us);
            let made = timely(span, now_us + clock, NOW_MS);
            let made = made.map(|span| (span.started_us - now_us, span.duration_us));
            assert_eq!(made, expected, "{clock} {started} {duration_us}");
        }
    }
}
