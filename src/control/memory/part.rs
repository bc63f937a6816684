//! What one replica of the control plane remembers of a question, and all parts as one whole.
//!
//! A part is raw: counts and not quotients, votes and not verdicts, so that parts put together say
//! what one replica would say to which everybody had reported. A sidecar that went from one replica
//! to another told each what it did not tell the other, and counts add up; of what it says of itself
//! or of endpoints the newest counts. Parts are shared, and only looked at.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;

use super::directory::Directory;
use super::graph::Row;
use super::owners::Key;
use super::report::{Spoken, State};
use super::spans::Seen;
use super::traces::{Beginning, Filter};
use super::track::Sums;
use crate::control::plaintext;
use crate::model::SpiffeId;

/// What is wanted; the rest is left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Question {
    pub rows: Option<Slots>,
    pub steps: Option<Steps>,
    pub sidecars: bool,
    pub endpoints: bool,
    /// Requests to a service that failed.
    pub failures_of: Option<String>,
    pub traces: Option<Filter>,
    pub spans: Vec<u128>,
    /// Of the workloads of a namespace, or of all (empty).
    pub plaintext: Option<String>,
    pub open: bool,
}

/// Both ends are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Slots {
    pub first: u32,
    pub last: u32,
}

/// So many steps of so many slots each.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Steps {
    pub service: String,
    pub first: u32,
    pub each: u32,
    pub count: u32,
}

/// One replica's answer.
#[derive(Clone, Debug, Default)]
pub struct Part {
    pub replica: Arc<str>,
    pub began_ms: i64,
    /// Sidecars.
    pub connected: u32,
    pub rows: Vec<Row>,
    pub steps: Stepped,
    pub sidecars: Vec<Sidecar>,
    pub tellers: Vec<Teller>,
    pub traces: Vec<Beginning>,
    pub spans: Vec<Arc<Seen>>,
    pub plaintext: Option<plaintext::Seen>,
    pub holders: Vec<Holder>,
    /// What there was no room for in the answer.
    pub left_out: u64,
    /// What it follows of the authority's changes; of one's own it is not said.
    pub trust_revision: u64,
}

/// What a service was asked, step by step.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stepped {
    /// As callers tell it.
    pub asked: Vec<Sums>,
    /// As it tells itself, with how long it took.
    pub received: Vec<Sums>,
    /// Identities of callers, and the services that they tell of.
    pub told: Vec<(Arc<str>, Arc<str>)>,
    /// What it tells of callers who tell nothing of it here.
    pub callers: Vec<Caller>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Its identity, and that of the called one.
    pub from: Arc<str>,
    pub owner: Arc<str>,
    /// Those in which something happened.
    pub steps: Vec<(u32, Sums)>,
}

/// One that is connected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sidecar {
    /// `name.namespace`.
    pub workload: Arc<str>,
    pub identity: SpiffeId,
    /// All in milliseconds since 1970.
    pub since_ms: i64,
    pub certificate_began_ms: i64,
    pub certificate_ends_ms: i64,
    /// The generation of the trust bundle that it goes by, and whether it says so.
    pub bundle: u64,
    pub acknowledges_bundles: bool,
    /// It works with something older than it was sent.
    pub is_behind: bool,
    /// Why it did not take what it was sent.
    pub refused: Option<String>,
    /// Why it can't read who may call it.
    pub ungoverned: Option<String>,
}

/// Those endpoints of a service that are not simply ready, for one sidecar.
pub type Endpoints = Arc<[(SocketAddr, State)]>;

/// How one sidecar finds endpoints of the services that it uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Teller {
    /// An identity.
    pub owner: Arc<str>,
    /// `name.namespace`.
    pub workload: Arc<str>,
    /// When it said anything of that last, in milliseconds since 1970.
    pub at_ms: i64,
    /// By `name.namespace:port`.
    pub services: Vec<(Arc<str>, Endpoints)>,
}

/// What one sidecar has open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// An identity.
    pub owner: Arc<str>,
    /// `name.namespace`.
    pub workload: Arc<str>,
    /// When it said so, in milliseconds since 1970.
    pub at_ms: i64,
    pub open: Arc<[Open]>,
}

/// Connections, tunnels and requests that last, between the same two.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Open {
    /// Never [`super::Kind::Received`].
    pub key: Key,
    pub spoken: Spoken,
    /// The far end of a flow, if it proved itself.
    pub peer: Option<Arc<str>>,
    pub count: u64,
}

/// A replica that was asked, and why it did not answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    pub replica: Arc<str>,
    /// `address:port`.
    pub address: String,
    pub silence: Option<String>,
}

/// What an answer is worth.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Worth {
    /// All that there are, by name; empty: one that is alone.
    pub replicas: Vec<Asked>,
    /// That are connected to those who answered.
    pub sidecars: u32,
    /// What there was no room for between them.
    pub left_out: u64,
}

impl Worth {
    /// What follows a sentence that says that something is not there; nothing, if all answered.
    pub fn doubt(&self) -> String {
        let silent = self.replicas.iter().filter_map(|of| {
            let why = of.silence.as_ref()?;
            Some(format!("; replica {} may know of it, but was not heard: {why}", of.replica))
        });
        silent.collect()
    }
}

/// What all who answered remember.
#[derive(Clone, Debug, Default)]
pub struct Whole {
    pub parts: Vec<Arc<Part>>,
    pub asked: Vec<Asked>,
}

impl Whole {
    /// Since when anybody remembers anything, in milliseconds since 1970.
    pub fn began_ms(&self) -> i64 {
        self.parts.iter().map(|part| part.began_ms).min().unwrap_or_default()
    }

    pub fn rows(&self) -> Vec<&Row> {
        self.parts.iter().flat_map(|part| &part.rows).collect()
    }

    pub fn worth(&self) -> Worth {
        let listed = self.sidecars().len();
        let connected = self.parts.iter().map(|part| part.connected).sum();
        Worth {
            replicas: self.asked.clone(),
            sidecars: if listed > 0 {
                u32::try_from(listed).unwrap_or(u32::MAX)
            } else {
                connected
            },
            left_out: self.parts.iter().map(|part| part.left_out).sum(),
        }
    }

    /// Who is connected, by workload; one that went from one replica to another where it came last.
    pub fn sidecars(&self) -> Vec<&Sidecar> {
        let key = |of: &Sidecar| (Arc::clone(&of.workload), of.identity.clone());
        let mut all = self.newest(|part| &part.sidecars, key, |of| of.since_ms);
        all.sort_by(|a, b| (&a.workload, a.since_ms).cmp(&(&b.workload, b.since_ms)));
        all
    }

    /// How sidecars find endpoints, each as it said last.
    pub fn tellers(&self) -> Vec<&Teller> {
        let key = |of: &Teller| (Arc::clone(&of.workload), Arc::clone(&of.owner));
        self.newest(|part| &part.tellers, key, |of| of.at_ms)
    }

    /// What sidecars have open, each as it said last.
    pub fn holders(&self) -> Vec<&Holder> {
        let key = |of: &Holder| (Arc::clone(&of.workload), Arc::clone(&of.owner));
        self.newest(|part| &part.holders, key, |of| of.at_ms)
    }

    /// Each once.
    pub fn spans(&self) -> Vec<Arc<Seen>> {
        let all = self.parts.iter().flat_map(|part| &part.spans);
        if self.parts.len() == 1 {
            return all.cloned().collect();
        }
        // With B3 both ends of a call have one id.
        let key = |of: &Seen| (of.kept.trace_id, of.kept.span_id, of.kept.inbound);
        let mut known = HashSet::new();
        let is_new = |of: &&Arc<Seen>| known.insert((key(of), Arc::clone(&of.workload)));
        all.filter(is_new).cloned().collect()
    }

    /// What a service was asked, and how long it took as it saw it.
    pub fn steps(&self, count: usize, directory: &Directory, name: &str) -> [Vec<Sums>; 2] {
        let mut sums = [vec![Sums::default(); count], vec![Sums::default(); count]];
        let all = || self.parts.iter().map(|part| &part.steps);
        let told = all().flat_map(|of| &of.told).map(|(owner, to)| (&**owner, &**to));
        let told = super::graph::Callers::of(told);
        for of in all() {
            for (sums, more) in sums.iter_mut().zip([&of.asked, &of.received]) {
                sums.iter_mut().zip(more).for_each(|(sum, more)| sum.add(more));
            }
            let news = of.callers.iter();
            for caller in news.filter(|of| !told.told(&of.from, name, &of.owner, directory)) {
                for (at, more) in &caller.steps {
                    if let Some(sum) = sums[0].get_mut(*at as usize) {
                        sum.add(more);
                    }
                }
            }
        }
        sums
    }

    /// All of the lists of parts; what several parts have, as the one has it who heard of it last.
    fn newest<'a, T, K: Eq + std::hash::Hash>(
        &'a self,
        list: impl Fn(&'a Part) -> &'a Vec<T>,
        key: impl Fn(&T) -> K,
        at_ms: impl Fn(&T) -> i64,
    ) -> Vec<&'a T> {
        if let [only] = &self.parts[..] {
            return list(only).iter().collect();
        }
        let mut holders: HashMap<K, (i64, usize)> = HashMap::new();
        for (at, part) in self.parts.iter().enumerate() {
            for of in list(part) {
                let holder = holders.entry(key(of)).or_insert((at_ms(of), at));
                *holder = (*holder).max((at_ms(of), at));
            }
        }
        let parts = self.parts.iter().enumerate();
        let theirs = parts.flat_map(|(at, part)| list(part).iter().map(move |of| (at, of)));
        let is_newest = |(at, of): &(usize, &T)| holders.get(&key(of)).is_some_and(|h| h.1 == *at);
        theirs.filter(is_newest).map(|(_, of)| of).collect()
    }
}
