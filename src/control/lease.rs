//! How long a registration outlives the session that made it.
//!
//! While a session holds it, it does not end; after that it lasts one lease more, so that a sidecar
//! that reconnects finds everything as it was. Invariant: a lease runs on time that this process
//! saw pass. Between two ticks that is at most two intervals: after a pause (a stopped process, a
//! suspended machine) the sidecars may have been there all along, and none of them is dropped for
//! what nobody saw. A synchronous core; `api` feeds it sessions and the clock.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use crate::runtime::clock::as_us;

/// The leases of all registrations, by name.
#[derive(Debug)]
pub struct Leases {
    lease_us: u64,
    clock: SeenClock,
    states: HashMap<Arc<str>, State>,
    /// Those that nobody holds, the first to end first.
    ending: BTreeSet<(u64, Arc<str>)>,
    /// The last tick came after a pause and ended nothing.
    spared: bool,
    /// Until then nothing ends.
    spared_until_us: u64,
}

/// How a registration stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    HeldBy(u64),
    /// In microseconds of the seen clock.
    EndsAt(u64),
}

impl Leases {
    /// `interval`: what passes between two calls of [`Leases::tick`] when all is well.
    pub fn new(lease: Duration, interval: Duration, now_us: u64) -> Leases {
        let clock = SeenClock { most_us: 2 * as_us(interval), seen_us: 0, last_us: now_us };
        Leases {
            lease_us: as_us(lease),
            clock,
            states: HashMap::new(),
            ending: BTreeSet::new(),
            spared: false,
            spared_until_us: 0,
        }
    }

    /// How long a registration outlives its session.
    pub fn lease(&self) -> Duration {
        Duration::from_micros(self.lease_us)
    }

    /// A registration of an earlier run begins with a full lease; one that is known stays as it is.
    pub fn restore(&mut self, name: Arc<str>, now_us: u64) {
        if !self.states.contains_key(&name) {
            self.let_run(name, now_us);
        }
    }

    /// `session` holds it from now on; whoever held it before does no more. Sessions are numbered as
    /// they begin: what an older one still had to say does not count against a newer one.
    pub fn hold(&mut self, name: Arc<str>, session: u64) {
        if let Some(State::HeldBy(holder)) = self.states.get(&name)
            && *holder > session
        {
            return;
        }
        if let Some(State::EndsAt(end)) =
            self.states.insert(Arc::clone(&name), State::HeldBy(session))
        {
            self.ending.remove(&(end, name));
        }
    }

    /// `session` ended: the lease begins to run. `false`, and nothing happens, unless it held it.
    pub fn release(&mut self, name: &str, session: u64, now_us: u64) -> bool {
        let Some(name) = self.held_by(name, session) else { return false };
        self.let_run(name, now_us);
        true
    }

    /// Ends it at once. `false`, and nothing happens, unless `session` held it.
    pub fn withdraw(&mut self, name: &str, session: u64) -> bool {
        let Some(name) = self.held_by(name, session) else { return false };
        self.states.remove(&name);
        true
    }

    /// Somebody who may hold one of them was told to come back in `later`: it can't be held against
    /// anybody that they are not here until then, nor for a lease more.
    pub fn spare(&mut self, later: Duration, now_us: u64) {
        let until_us = now_us.saturating_add(as_us(later)).saturating_add(self.lease_us);
        self.spared_until_us = self.spared_until_us.max(until_us);
    }

    /// Takes out those whose lease is over. After a pause none is, until the sidecars whose
    /// messages wait had one more interval to be heard.
    pub fn tick(&mut self, now_us: u64) -> Vec<Arc<str>> {
        let paused = self.clock.paused(now_us);
        let seen_us = self.clock.advance(now_us);
        // Only once in a row: a process that is always late must still end leases.
        self.spared = paused && !self.spared;
        if self.spared || now_us < self.spared_until_us {
            return Vec::new();
        }
        let mut ended = Vec::new();
        while self.ending.first().is_some_and(|(end, _)| *end <= seen_us) {
            let Some((_, name)) = self.ending.pop_first() else { break };
            self.states.remove(&name);
            ended.push(name);
        }
        ended
    }

    /// Whether it is held, or its lease still runs.
    pub fn contains(&self, name: &str) -> bool {
        self.states.contains_key(name)
    }

    /// Whether a session holds it.
    pub fn is_held(&self, name: &str) -> bool {
        matches!(self.states.get(name), Some(State::HeldBy(_)))
    }

    /// Of those that nobody holds: how long it lasts, unless the process is paused meanwhile.
    pub fn remaining(&self, name: &str, now_us: u64) -> Option<Duration> {
        match self.states.get(name)? {
            State::HeldBy(_) => None,
            State::EndsAt(end) => {
                Some(Duration::from_micros(end.saturating_sub(self.clock.at(now_us))))
            }
        }
    }

    pub fn len(&self) -> usize {
        self.states.len()
    }

    pub fn is_empty(&self) -> bool {
        self.states.is_empty()
    }

    fn held_by(&self, name: &str, session: u64) -> Option<Arc<str>> {
        let (name, state) = self.states.get_key_value(name)?;
        (*state == State::HeldBy(session)).then(|| Arc::clone(name))
    }

    fn let_run(&mut self, name: Arc<str>, now_us: u64) {
        let end = self.clock.at(now_us) + self.lease_us;
        self.states.insert(Arc::clone(&name), State::EndsAt(end));
        self.ending.insert((end, name));
    }
}

/// Counts the time that was seen to pass.
#[derive(Debug)]
struct SeenClock {
    /// Between two ticks, at most.
    most_us: u64,
    /// At the last tick.
    seen_us: u64,
    last_us: u64,
}

impl SeenClock {
    fn at(&self, now_us: u64) -> u64 {
        self.seen_us + now_us.saturating_sub(self.last_us).min(self.most_us)
    }

    fn paused(&self, now_us: u64) -> bool {
        now_us.saturating_sub(self.last_us) > self.most_us
    }

    fn advance(&mut self, now_us: u64) -> u64 {
        self.seen_us = self.at(now_us);
        self.last_us = self.last_us.max(now_us);
        self.seen_us
    }
}

#[cfg(test)]
mod tests;
