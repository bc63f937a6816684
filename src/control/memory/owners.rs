//! Everything that is counted, by whose report it is, within a number of bytes.
//!
//! An owner is the identity of a certificate. When the bytes are used up, whoever holds the most
//! gives up what happened longest ago, so that nobody who invents names or never stops talking takes
//! anything from others; who is alone has a shorter history. What was given up is counted. An owner
//! that tells of too many things has the rest of them counted together.

use std::collections::HashMap;
use std::sync::Arc;

use super::report::{ALLOCATION, Spoken};
use super::track::Track;

/// Things of one owner that are told apart: whatever is made of all of them stays small. Arbitrary;
/// the largest honest sidecar that was seen had some hundred.
const SERIES: usize = 4096;
/// What the rest of them goes by.
pub const OTHER: &str = "other";

/// What is counted.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    pub kind: Kind,
    /// Who calls: a name; of [`Kind::Caller`] a SPIFFE id, or nothing. Of [`Kind::Received`] nothing.
    pub from: Arc<str>,
    pub to: Arc<str>,
    pub route: Arc<str>,
}

/// Whose view it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The owner calls.
    Flow,
    /// The owner is called, by whomever.
    Received,
    /// The owner is called by somebody; how long it took is not told apart by that.
    Caller,
}

/// One thing over time.
#[derive(Debug, Default)]
pub struct Series {
    pub track: Track,
    /// The most that was spoken.
    pub spoken: Option<Spoken>,
    /// The far end as it proved itself last.
    pub peer: Option<Arc<str>>,
    bytes: usize,
}

#[derive(Debug, Default)]
struct Owner {
    series: HashMap<Key, Series>,
    bytes: usize,
}

/// All of it.
#[derive(Debug)]
pub struct Owners {
    all: HashMap<Arc<str>, Owner>,
    bytes: usize,
    budget: usize,
    left_out: u64,
}

impl Owners {
    pub fn new(budget: usize) -> Self {
        Self { all: HashMap::new(), bytes: 0, budget, left_out: 0 }
    }

    /// What it takes, in bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Slots that were given up before their time.
    pub fn left_out(&self) -> u64 {
        self.left_out
    }

    /// Changes what is counted of one thing.
    pub fn change(&mut self, owner: &Arc<str>, key: Key, change: impl FnOnce(&mut Series)) {
        let of = match self.all.get_mut(owner) {
            Some(of) => of,
            None => {
                let bytes = entry(owner);
                self.bytes += bytes;
                let of = Owner { bytes, ..Owner::default() };
                self.all.entry(Arc::clone(owner)).or_insert(of)
            }
        };
        let is_one_more = of.series.len() >= SERIES && !of.series.contains_key(&key);
        let key = if is_one_more { key.folded() } else { key };
        let fixed = key.bytes();
        let series = of.series.entry(key).or_default();
        let before = series.bytes;
        change(series);
        series.bytes = fixed + series.variable();
        of.bytes = of.bytes - before + series.bytes;
        self.bytes = self.bytes - before + series.bytes;
        if self.bytes > self.budget {
            self.shrink();
        }
    }

    /// All that there is.
    pub fn each(&self) -> impl Iterator<Item = (&Arc<str>, &Key, &Series)> {
        self.all
            .iter()
            .flat_map(|(owner, of)| of.series.iter().map(move |(key, series)| (owner, key, series)))
    }

    /// Lets go of the slots outside `first..=last`.
    pub fn keep(&mut self, first: u32, last: u32) {
        self.all.retain(|_, of| {
            of.keep(first, last);
            !of.series.is_empty()
        });
        self.add_up();
    }

    fn add_up(&mut self) {
        for (name, of) in &mut self.all {
            of.add_up(name);
        }
        self.bytes = self.all.values().map(|of| of.bytes).sum();
    }

    /// Makes some room, so that the next few rows need not.
    fn shrink(&mut self) {
        let enough = self.budget - self.budget / 16;
        while self.bytes > enough {
            let largest = self.all.iter_mut().max_by_key(|(_, of)| of.bytes);
            let Some((name, of)) = largest else { break };
            let (name, before) = (Arc::clone(name), of.bytes);
            self.left_out = self.left_out.saturating_add(of.give_up());
            of.add_up(&name);
            self.bytes = self.bytes - before + of.bytes;
            if of.series.is_empty() {
                self.bytes -= of.bytes;
                self.all.remove(&name);
            }
        }
    }
}

impl Owner {
    fn add_up(&mut self, name: &str) {
        self.bytes = entry(name);
        self.bytes += self.series.values().map(|series| series.bytes).sum::<usize>();
    }

    fn keep(&mut self, first: u32, last: u32) {
        self.series.retain(|key, series| {
            series.track.keep(first, last);
            series.bytes = series.sized(key);
            !series.track.is_empty()
        });
        if self.series.capacity() > 4 * (self.series.len() + 16) {
            self.series.shrink_to_fit();
        }
    }

    /// Gives up the oldest quarter of what it has; of what all happened now, any quarter.
    fn give_up(&mut self) -> u64 {
        let mut moments: Vec<u32> =
            self.series.values().flat_map(|series| series.track.moments()).collect();
        let (count, at) = (moments.len(), moments.len() / 4);
        let (Some(&oldest), Some(&newest)) = (moments.iter().min(), moments.iter().max()) else {
            self.series.clear();
            return 0;
        };
        if oldest == newest {
            let mut doomed = self.series.len().div_ceil(4);
            self.series.retain(|_, _| {
                let goes = doomed > 0;
                doomed = doomed.saturating_sub(1);
                !goes
            });
        } else {
            let (_, &mut quarter, _) = moments.select_nth_unstable(at);
            let first = quarter.max(oldest + 1);
            self.keep(first, newest);
            for (key, series) in &mut self.series {
                series.track.tighten();
                series.bytes = series.sized(key);
            }
        }
        let left: usize = self.series.values().map(|series| series.track.moments().count()).sum();
        u64::try_from(count - left).unwrap_or(u64::MAX)
    }
}

/// An owner's place in the table, and its name.
fn entry(name: &str) -> usize {
    2 * std::mem::size_of::<(Arc<str>, Owner)>() + name.len() + ALLOCATION
}

impl Series {
    fn sized(&self, key: &Key) -> usize {
        key.bytes() + self.variable()
    }

    fn variable(&self) -> usize {
        let peer = self.peer.as_ref().map_or(0, |peer| peer.len() + ALLOCATION);
        peer + self.track.bytes()
    }
}

impl Key {
    /// Of all that there is no place for. Who is called stays: there are no more of them than
    /// services.
    fn folded(self) -> Self {
        match self.kind {
            Kind::Flow => Self { route: OTHER.into(), ..self },
            Kind::Caller => Self { from: OTHER.into(), ..self },
            Kind::Received => self,
        }
    }

    /// With its place in the table, which is at most half empty. Names may be shared; nobody counts
    /// on it.
    fn bytes(&self) -> usize {
        let names = [&self.from, &self.to, &self.route];
        2 * std::mem::size_of::<(Key, Series)>()
            + names.iter().map(|name| name.len() + ALLOCATION).sum::<usize>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::memory::report::Outcome;

    fn key(route: &str) -> Key {
        Key { kind: Kind::Flow, from: "a".into(), to: "b".into(), route: route.into() }
    }

    fn count(owners: &mut Owners, owner: &str, route: &str, at: u32) {
        owners.change(&owner.into(), key(route), |series| {
            series.track.count(at, Outcome::default(), 1);
        });
    }

    fn total(owners: &Owners, owner: &str) -> u64 {
        let of = owners.each().filter(|(name, ..)| &***name == owner);
        of.map(|(_, _, series)| series.track.sums(0, u32::MAX).requests).sum()
    }

    #[test]
    fn whoever_invents_names_takes_nothing_from_others() {
        let mut owners = Owners::new(1 << 20);
        for at in 0..100 {
            count(&mut owners, "honest", "r", at);
        }
        for n in 0..100_000 {
            count(&mut owners, "liar", &format!("route-{n}"), 100);
            assert!(owners.bytes() <= 1 << 20);
        }
        let before = owners.bytes();
        owners.add_up();
        assert_eq!(owners.bytes(), before, "differences add up to the same");
        assert_eq!(total(&owners, "honest"), 100);
        assert!(owners.left_out() > 90_000, "{}", owners.left_out());
        count(&mut owners, "late", "r", 100);
        assert_eq!(total(&owners, "late"), 1);
    }

    #[test]
    fn who_tells_of_too_much_has_the_rest_counted_together() {
        let mut owners = Owners::new(1 << 30);
        for n in 0..10_000 {
            count(&mut owners, "liar", &format!("route-{n}"), n % 9);
        }
        assert_eq!(owners.each().count(), SERIES + 1);
        assert_eq!((total(&owners, "liar"), owners.left_out()), (10_000, 0));
        count(&mut owners, "liar", "route-1", 9);
        let known = owners.each().find(|(_, key, _)| &*key.route == "route-1");
        let known = known.expect("it is there").2.track.sums(0, 9).requests;
        assert_eq!(known, 2, "what is known is told apart");
        let before = owners.bytes();
        owners.add_up();
        assert_eq!(owners.bytes(), before);
    }

    #[test]
    fn who_is_alone_keeps_the_newest() {
        let mut owners = Owners::new(256 << 10);
        for at in 0..180 {
            for n in 0..100 {
                count(&mut owners, "one", &format!("r{n}"), at);
            }
            assert!(owners.bytes() <= 256 << 10);
        }
        let newest = owners.each().map(|(_, _, series)| series.track.sums(170, 180).requests);
        assert_eq!(newest.sum::<u64>(), 1000, "what happens now is all there");
        assert!(total(&owners, "one") < 18_000);
    }

    #[test]
    fn what_is_accounted_is_what_there_is() {
        let mut owners = Owners::new(1 << 30);
        for n in 0..1000 {
            count(&mut owners, &format!("o{}", n % 7), &format!("r{}", n % 50), n % 180);
        }
        let before = owners.bytes();
        owners.add_up();
        assert_eq!(owners.bytes(), before);
        owners.keep(170, 180);
        assert!(owners.bytes() < before);
        owners.keep(1000, 1001);
        assert_eq!((owners.bytes(), owners.all.len()), (0, 0));
    }
}
