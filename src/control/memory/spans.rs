//! Kept requests of the last half hour, within a number of bytes.
//!
//! By whose report they are, as everything here: when there is no room, whoever holds the most gives
//! up its oldest. Found by looking at all of them, which are never many.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::report::{ALLOCATION, Kept};

/// A kept request, and who saw it.
#[derive(Clone, Debug)]
pub struct Seen {
    pub kept: Kept,
    /// Whose report it was: an identity.
    pub owner: Arc<str>,
    /// `name.namespace`.
    pub workload: Arc<str>,
    /// Which node of the mesh that is of.
    pub node: Arc<str>,
    /// When it was reported, in milliseconds since 1970.
    pub at_ms: i64,
}

#[derive(Debug, Default)]
struct Shelf {
    /// Oldest first.
    spans: VecDeque<Arc<Seen>>,
    bytes: usize,
}

/// All of them.
#[derive(Debug)]
pub struct Spans {
    all: HashMap<Arc<str>, Shelf>,
    bytes: usize,
    budget: usize,
    left_out: u64,
}

impl Seen {
    fn bytes(&self) -> usize {
        let texts = self.workload.len() + self.node.len() + 2 * ALLOCATION;
        // Its place in the shelf, which may be half empty, and the counts beside it.
        self.kept.bytes() + std::mem::size_of::<Self>() - std::mem::size_of::<Kept>() + texts + 32
    }
}

impl Spans {
    pub fn new(budget: usize) -> Self {
        Self { all: HashMap::new(), bytes: 0, budget, left_out: 0 }
    }

    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many were given up before their time.
    pub fn left_out(&self) -> u64 {
        self.left_out
    }

    /// One that can't be kept.
    pub fn refuse(&mut self) {
        self.left_out = self.left_out.saturating_add(1);
    }

    pub fn take(&mut self, seen: Seen) {
        let owner = &Arc::clone(&seen.owner);
        let bytes = seen.bytes();
        if bytes > self.budget / 4 {
            self.refuse();
            return;
        }
        let entry = || 2 * std::mem::size_of::<(Arc<str>, Shelf)>() + owner.len() + ALLOCATION;
        let shelf = match self.all.get_mut(owner) {
            Some(shelf) => shelf,
            None => {
                self.bytes += entry();
                let shelf = Shelf { bytes: entry(), ..Shelf::default() };
                self.all.entry(Arc::clone(owner)).or_insert(shelf)
            }
        };
        shelf.bytes += bytes;
        self.bytes += bytes;
        shelf.spans.push_back(Arc::new(seen));
        if self.bytes > self.budget {
            self.shrink();
        }
    }

    /// Makes some room, so that the next few need not.
    fn shrink(&mut self) {
        let enough = self.budget - self.budget / 16;
        while self.bytes > enough {
            let largest = self.all.iter().max_by_key(|(_, shelf)| shelf.bytes);
            let Some((name, shelf)) = largest else { return };
            let (name, bytes) = (Arc::clone(name), shelf.bytes);
            // A part of the largest before the next is looked for.
            let until = enough.max(self.bytes.saturating_sub(bytes / 8 + 1));
            while self.bytes > until && self.all.contains_key(&name) {
                self.give_up(&name);
                self.refuse();
            }
        }
    }

    /// Lets go of what was reported before.
    pub fn keep(&mut self, since_ms: i64) {
        let names: Vec<Arc<str>> = self.all.keys().cloned().collect();
        for name in names {
            let is_old = |shelf: &Shelf| shelf.spans.front().is_some_and(|s| s.at_ms < since_ms);
            while self.all.get(&name).is_some_and(is_old) {
                self.give_up(&name);
            }
        }
    }

    /// The owner's oldest.
    fn give_up(&mut self, name: &Arc<str>) {
        let Some(shelf) = self.all.get_mut(name) else { return };
        if let Some(gone) = shelf.spans.pop_front() {
            shelf.bytes -= gone.bytes();
            self.bytes -= gone.bytes();
        }
        if shelf.spans.is_empty() {
            self.bytes -= shelf.bytes;
            self.all.remove(name);
        } else if shelf.spans.capacity() > 4 * (shelf.spans.len() + 16) {
            shelf.spans.shrink_to_fit();
        }
    }

    /// In no order.
    pub fn each(&self) -> impl Iterator<Item = &Arc<Seen>> {
        self.all.values().flat_map(|shelf| &shelf.spans)
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use crate::control::memory::report::Why;

    /// A span of a trace, with nothing to say.
    pub fn kept(trace_id: u128, span_id: u64, parent_id: u64) -> Kept {
        Kept {
            trace_id,
            span_id,
            parent_id,
            why: Why::Sampled,
            inbound: false,
            started_us: 0,
            duration_us: 1000,
            protocol: "http/1.1".into(),
            method: "GET".into(),
            path: "/".into(),
            status: 200,
            grpc: None,
            reason: "".into(),
            sentence: "".into(),
            service: "".into(),
            route: "".into(),
            endpoint: None,
            peer: "".into(),
            tls: "mtls".into(),
            attempts: Box::default(),
        }
    }

    fn seen(trace_id: u128, at_ms: i64) -> Seen {
        let owner = if trace_id < 20 { "honest" } else { "flood" }.into();
        Seen { kept: kept(trace_id, 1, 0), owner, workload: "w".into(), node: "n".into(), at_ms }
    }

    #[test]
    fn a_flood_pushes_out_nothing_but_itself() {
        let mut spans = Spans::new(64 << 10);
        (0..20).for_each(|n| spans.take(seen(n, 1)));
        for n in 0..10_000 {
            spans.take(seen(1_000_000 + n, 2));
            assert!(spans.bytes() <= 64 << 10);
        }
        let honest = spans.each().filter(|seen| seen.kept.trace_id < 20).count();
        assert_eq!(honest, 20);
        let all = u64::try_from(spans.each().count()).expect("few");
        assert_eq!(all + spans.left_out(), 10_020);
        spans.keep(2);
        assert!(spans.each().all(|seen| seen.kept.trace_id >= 20));
        spans.keep(3);
        assert_eq!((spans.bytes(), spans.each().count()), (0, 0));
    }

    #[test]
    fn one_that_is_too_large_is_left_out() {
        let mut spans = Spans::new(4 << 10);
        let mut large = seen(1, 1);
        large.kept.sentence = "x".repeat(2 << 10).into();
        spans.take(large);
        assert_eq!((spans.each().count(), spans.left_out()), (0, 1));
    }
}
