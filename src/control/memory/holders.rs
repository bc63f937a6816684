//! What sidecars have open now: connections, tunnels, requests that last.
//!
//! Each says all of it at once, in the place of what it said before. When its session ends, that
//! stands for a moment, in which it may come back, here or to another replica, and say so anew; a
//! sidecar that was killed is not heard again, and what it held is gone with that. Within a number of
//! bytes: beyond it whoever holds the most is forgotten, so that nobody who names much takes anything
//! from others.

use std::collections::HashMap;
use std::sync::Arc;

use super::owners::Key;
use super::part::{self, Open};
use super::report::ALLOCATION;
use super::shares::Shares;

/// How long after it was said it stands when its session has ended. Sidecars say it every 5 s as long
/// as anything is open.
const GRACE_MS: i64 = 15_000;

#[derive(Debug)]
struct Holder {
    /// An identity.
    owner: Arc<str>,
    workload: Arc<str>,
    open: Arc<[Open]>,
    at_ms: i64,
    /// Its session ended.
    has_left: bool,
    bytes: usize,
}

/// What all of them say, by session.
#[derive(Debug)]
pub struct Holders {
    all: HashMap<u64, Holder>,
    shares: Shares,
}

impl Holders {
    pub fn new(budget: usize) -> Self {
        Self { all: HashMap::new(), shares: Shares::of(budget) }
    }

    pub fn bytes(&self) -> usize {
        self.shares.bytes()
    }

    pub fn left_out(&self) -> u64 {
        self.shares.left_out()
    }

    /// Takes all that a session says is open.
    pub fn take(
        &mut self,
        session: u64,
        (owner, workload): (&Arc<str>, &Arc<str>),
        open: Vec<Open>,
        now_ms: i64,
    ) {
        self.forget(session);
        // It is back: what it held in a session before is said anew.
        let is_same = |of: &Holder| of.owner == *owner && of.workload == *workload;
        self.forget_where(|of| of.has_left && is_same(of));
        let (owner, workload) = (Arc::clone(owner), Arc::clone(workload));
        let bytes = size(&owner, &workload, &open);
        self.shares.take(&owner, bytes);
        let open = open.into();
        let holder = Holder { owner, workload, open, at_ms: now_ms, has_left: false, bytes };
        self.all.insert(session, holder);
        while self.shares.bytes() > self.shares.budget() {
            let Some(owner) = self.shares.largest() else { return };
            let theirs = self.all.iter().filter(|(_, of)| of.owner == owner);
            let Some((&session, of)) = theirs.max_by_key(|(_, of)| of.bytes) else { return };
            self.shares.leave_out(of.open.len());
            self.forget(session);
        }
    }

    /// A session ended.
    pub fn leave(&mut self, session: u64) {
        if let Some(of) = self.all.get_mut(&session) {
            of.has_left = true;
        }
    }

    /// Lets go of who left and did not come back, and of who has held nothing for a while: until then
    /// that is news beside what another replica was told.
    pub fn sweep(&mut self, now_ms: i64) {
        self.forget_where(|of| (of.has_left || of.open.is_empty()) && !of.is_fresh(now_ms));
        if self.all.capacity() > 4 * (self.all.len() + 64) {
            self.all.shrink_to_fit();
            self.shares.shrink_to_fit();
        }
    }

    /// Who holds what; in no order.
    pub fn held(&self, now_ms: i64) -> Vec<part::Holder> {
        let holder = |of: &Holder| part::Holder {
            owner: Arc::clone(&of.owner),
            workload: Arc::clone(&of.workload),
            at_ms: of.at_ms,
            open: Arc::clone(&of.open),
        };
        self.all.values().filter(|of| of.is_there(now_ms)).map(holder).collect()
    }

    fn forget_where(&mut self, is_gone: impl Fn(&Holder) -> bool) {
        let gone = self.all.iter().filter(|(_, of)| is_gone(of));
        let gone: Vec<u64> = gone.map(|(session, _)| *session).collect();
        gone.into_iter().for_each(|session| self.forget(session));
    }

    fn forget(&mut self, session: u64) {
        let Some(of) = self.all.remove(&session) else { return };
        self.shares.give_back(&of.owner, of.bytes);
    }
}

impl Holder {
    fn is_fresh(&self, now_ms: i64) -> bool {
        // A clock that was set back keeps nobody for longer.
        (now_ms - self.at_ms).abs() < GRACE_MS
    }

    fn is_there(&self, now_ms: i64) -> bool {
        !self.has_left || self.is_fresh(now_ms)
    }
}

/// With its place among the owners, which it may share; and names, which may be shared too.
fn size(owner: &str, workload: &str, open: &[Open]) -> usize {
    let name = |name: &Arc<str>| name.len() + ALLOCATION;
    let one = |of: &Open| {
        let Open { key: Key { kind: _, from, to, route }, peer, spoken: _, count: _ } = of;
        let names = [Some(from), Some(to), Some(route), peer.as_ref()];
        size_of::<Open>() + names.into_iter().flatten().map(name).sum::<usize>()
    };
    2 * size_of::<(u64, Holder)>()
        + 2 * size_of::<(Arc<str>, usize)>()
        + owner.len()
        + workload.len()
        + 3 * ALLOCATION
        + open.iter().map(one).sum::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::memory::owners::Kind;
    use crate::control::memory::report::Spoken;

    fn open(to: &str, count: u64) -> Open {
        let key = Key { kind: Kind::Flow, from: "a".into(), to: to.into(), route: "r".into() };
        Open { key, spoken: Spoken::Tcp, peer: None, count }
    }

    fn total(holders: &Holders, now_ms: i64) -> u64 {
        holders.held(now_ms).iter().flat_map(|of| of.open.iter()).map(|of| of.count).sum()
    }

    #[test]
    fn the_newest_takes_the_place_of_what_was_said_before() {
        let mut holders = Holders::new(1 << 20);
        let who: Arc<str> = "w.a".into();
        holders.take(1, (&who, &who), vec![open("b", 3), open("c", 1)], 1);
        assert_eq!(total(&holders, 2), 4);
        holders.take(1, (&who, &who), vec![open("b", 2)], 2);
        assert_eq!(total(&holders, 2), 2);
        holders.take(1, (&who, &who), vec![], 3);
        assert_eq!((total(&holders, 3), holders.held(3).len()), (0, 1));
    }

    #[test]
    fn who_left_is_gone_soon_and_who_comes_back_counts_once() {
        let mut holders = Holders::new(1 << 20);
        let [who, other]: [Arc<str>; 2] = ["w.a".into(), "w-2.a".into()];
        holders.take(1, (&who, &who), vec![open("b", 3)], 10);
        holders.take(2, (&who, &other), vec![open("b", 5)], 10);
        [1, 2].iter().for_each(|session| holders.leave(*session));
        assert_eq!(total(&holders, 10 + GRACE_MS - 1), 8);
        holders.take(3, (&who, &who), vec![open("b", 2)], 20);
        assert_eq!(total(&holders, 20), 7, "the second session stands for the first");
        assert_eq!(total(&holders, 10 + GRACE_MS), 2);
        assert_eq!(total(&holders, 10 - GRACE_MS), 2, "the clock was set back");
        holders.sweep(10 + GRACE_MS);
        assert_eq!(holders.all.len(), 1);
        holders.leave(3);
        holders.sweep(20 + GRACE_MS);
        assert_eq!((holders.bytes(), holders.shares.owners(), holders.all.len()), (0, 0, 0));
    }

    #[test]
    fn a_flood_takes_nothing_from_others() {
        let mut holders = Holders::new(100_000);
        let honest: Arc<str> = "honest".into();
        holders.take(0, (&honest, &honest), vec![open("b", 1)], 1);
        for session in 1..1000 {
            let many = (0..20).map(|n| open(&format!("s-{n}"), 1)).collect();
            holders.take(session, (&"flood".into(), &format!("w-{session}").into()), many, 1);
            assert!(holders.bytes() <= 100_000);
        }
        assert!(holders.left_out() > 9_000);
        assert!(holders.held(1).iter().any(|of| of.owner == honest), "the honest one is heard");
    }
}
