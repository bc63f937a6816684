//! A question answered from what was reported to this replica: what is asked for is copied while the
//! memory is held, and nothing is made of it yet.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::SystemTime;

use super::directory::Directory;
use super::graph::{Callers, Row};
use super::observer::Observer;
use super::owners::{Kind, OTHER};
use super::part::{Caller, Part, Question, Sidecar, Slots, Stepped, Steps};
use super::spans::Seen;
use super::track::{SLOTS, Sums, slot_of};
use super::{Memory, traces};
use crate::control::desk::unix_ms;
use crate::control::sessions::Session;

/// Callers of one service that are told apart when several replicas know of them; the rest count
/// together. Arbitrary; the largest honest service that was seen had some hundred.
const CALLERS: usize = 1000;
/// Failures of a service that are looked at: more than are shown, since others may tell of some too.
const FAILURES: usize = 100;
/// Requests of one trace, and of all that are asked for.
const PARTS: usize = 500;
const SPANS: usize = 5_000;

impl Observer {
    /// This replica's part.
    pub fn recall(&self, question: &Question, now: SystemTime) -> Part {
        let Question {
            rows,
            steps,
            sidecars,
            endpoints,
            failures_of,
            traces,
            spans,
            plaintext,
            open,
        } = question;
        let directory = self.memory.directory(&self.catalog);
        let memory = &*self.memory;
        let mut part = Part {
            replica: Arc::clone(&memory.replica),
            began_ms: memory.began_ms,
            connected: u32::try_from(self.sessions.counts().live).unwrap_or(u32::MAX),
            ..Part::default()
        };
        if let Some(slots) = rows {
            part.rows = memory.rows(*slots);
        }
        if let Some(steps) = steps {
            part.steps = memory.stepped(&directory, steps);
        }
        if *sidecars {
            part.sidecars = self.sessions.list().into_iter().map(sidecar).collect();
        }
        if *endpoints {
            part.tellers = memory.lock().states.tellers();
        }
        if *open {
            part.holders = memory.lock().holders.held(unix_ms(now));
        }
        if let Some(name) = failures_of {
            part.spans = memory.failures(name);
        }
        if let Some(filter) = traces {
            part.traces = traces::beginnings(&memory.spans(|_| true), filter);
        }
        if !spans.is_empty() {
            part.spans = memory.of_traces(spans);
        }
        if let Some(namespace) = plaintext {
            let namespace = Some(namespace.as_str()).filter(|namespace| !namespace.is_empty());
            part.plaintext = Some(self.plaintext.seen(namespace, &self.catalog, now));
        }
        part
    }
}

impl Memory {
    /// What a report spreads over the time before this memory began is not of these.
    fn rows(&self, Slots { first, last }: Slots) -> Vec<Row> {
        let first = first.max(slot_of(self.began_ms)).min(last);
        let state = self.lock();
        let rows = state.owners.each().filter_map(|(owner, key, series)| {
            let sums = series.track.sums(first, last);
            (sums != Sums::default()).then(|| Row {
                owner: Arc::clone(owner),
                key: key.clone(),
                sums,
                spoken: series.spoken,
                peer: series.peer.clone(),
            })
        });
        rows.collect()
    }

    /// Added up while the memory is held, in one pass over what is kept and into as many sums as
    /// there are steps: however many routes somebody invents, nothing is copied for each.
    fn stepped(&self, directory: &Directory, steps: &Steps) -> Stepped {
        let Steps { service: name, first, each, count } = steps;
        let none = || vec![Sums::default(); (*count).min(SLOTS) as usize];
        let (mut asked, mut received) = (none(), none());
        let state = self.lock();
        let flows = state
            .owners
            .each()
            .filter(|(_, key, _)| key.kind == Kind::Flow && directory.may_mean(name, &key.to));
        let told: HashSet<(&Arc<str>, &Arc<str>)> =
            flows.map(|(owner, key, _)| (owner, &key.to)).collect();
        let known = Callers::of(told.iter().map(|(owner, to)| (&***owner, &***to)));
        let mut callers: HashMap<(&str, &str), Vec<Sums>> = HashMap::new();
        for (owner, key, series) in state.owners.each().filter(|(_, key, _)| *key.to == **name) {
            let track = &series.track;
            match key.kind {
                Kind::Received => track.add_to(&mut received, *first, *each),
                Kind::Flow => track.add_to(&mut asked, *first, *each),
                Kind::Caller if known.told(&key.from, name, owner, directory) => {}
                Kind::Caller => {
                    let is_one_more =
                        callers.len() >= CALLERS && !callers.contains_key(&(&*key.from, &**owner));
                    let from = if is_one_more { OTHER } else { &key.from };
                    let sums = callers.entry((from, owner)).or_insert_with(none);
                    track.add_to(sums, *first, *each);
                }
            }
        }
        let caller = |((from, owner), sums): ((&str, &str), Vec<Sums>)| Caller {
            from: from.into(),
            owner: owner.into(),
            steps: (0..).zip(sums).filter(|(_, sums)| *sums != Sums::default()).collect(),
        };
        let callers = callers.into_iter().map(caller).filter(|of| !of.steps.is_empty());
        let told = told.iter().map(|&(owner, to)| (Arc::clone(owner), Arc::clone(to)));
        Stepped { callers: callers.collect(), told: told.collect(), asked, received }
    }

    fn spans(&self, wanted: impl Fn(&Seen) -> bool) -> Vec<Arc<Seen>> {
        self.lock().spans.each().filter(|seen| wanted(seen)).cloned().collect()
    }

    /// Requests to a service that failed, the newest of everybody.
    fn failures(&self, name: &str) -> Vec<Arc<Seen>> {
        let mut all = self.spans(|seen| {
            let is_called = traces::called(seen) == Some(name);
            seen.kept.failed() && (is_called || seen.kept.inbound && *seen.node == *name)
        });
        let calls: HashSet<(u128, u64)> =
            all.iter().map(|seen| (seen.kept.trace_id, seen.kept.span_id)).collect();
        // What its caller tells of too is told once.
        all.retain(|seen| {
            !seen.kept.inbound || !calls.contains(&(seen.kept.trace_id, seen.kept.parent_id))
        });
        all.sort_by_key(|seen| std::cmp::Reverse(seen.kept.started_us));
        let theirs = all.into_iter().map(|seen| (Arc::clone(&seen.owner), seen)).collect();
        traces::in_turns(theirs, FAILURES)
    }

    fn of_traces(&self, ids: &[u128]) -> Vec<Arc<Seen>> {
        let wanted: HashSet<u128> = ids.iter().copied().collect();
        let mut each: HashMap<u128, usize> = HashMap::new();
        let mut all = self.spans(|seen| wanted.contains(&seen.kept.trace_id));
        all.sort_by_key(|seen| seen.kept.started_us);
        all.retain(|seen| {
            let count = each.entry(seen.kept.trace_id).or_default();
            *count += 1;
            *count <= PARTS
        });
        all.truncate(SPANS);
        all
    }
}

fn sidecar(of: Session) -> Sidecar {
    let facts = of.facts;
    Sidecar {
        workload: format!("{}.{}", facts.workload, facts.identity.namespace()).into(),
        since_ms: unix_ms(of.since),
        certificate_began_ms: unix_ms(facts.certificate_begins),
        certificate_ends_ms: unix_ms(facts.certificate_ends),
        bundle: of.bundle,
        acknowledges_bundles: facts.acknowledges_bundles,
        is_behind: of.acknowledged < of.sent,
        refused: of.refused.and_then(|refused| refused.errors.into_iter().next()),
        ungoverned: of.ungoverned.first().cloned(),
        identity: facts.identity,
    }
}
