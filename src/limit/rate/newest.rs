//! The limits in use, behind one pointer, and the buckets of the whole sidecar.
//!
//! A limit that says the same after a change of policies keeps what it has counted, wherever in its
//! policy it stands now. Buckets of one that is gone fill, and are then forgotten.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use arc_swap::{ArcSwap, Guard};

use super::at_port::{AtPort, Quota};
use super::rule::{Ask, Buckets, Rule};
use super::table::{MOST_KEYS, Table};
use crate::resources::RateLimitPolicy;
use crate::telemetry::traffic::TrafficMetrics;

/// How often the workload may be called.
pub struct Rates {
    metrics: TrafficMetrics,
    table: Table,
    newest: ArcSwap<Limits>,
    /// The number of the next limit that is new.
    next: AtomicU64,
}

/// All limits of the workload.
#[derive(Debug, Default)]
pub struct Limits {
    /// Those that policies name, in ascending order.
    ports: Box<[(u16, AtPort)]>,
    elsewhere: AtPort,
    rules: Vec<Arc<Rule>>,
}

impl Rates {
    pub fn new(metrics: TrafficMetrics) -> Self {
        let (table, newest) = (Table::new(MOST_KEYS), ArcSwap::default());
        Self { metrics, table, newest, next: AtomicU64::new(0) }
    }

    /// These hold from now on, and no others; all are about the workload.
    pub fn publish(&self, policies: &[Arc<RateLimitPolicy>]) {
        let before = self.newest.load();
        let mut kept: HashMap<Arc<str>, Vec<&Arc<Rule>>> = HashMap::new();
        for rule in &before.rules {
            kept.entry(Arc::clone(&rule.policy)).or_default().push(rule);
        }
        let mut made: Vec<(&RateLimitPolicy, Arc<Rule>)> = Vec::new();
        for policy in policies {
            let title: Arc<str> = policy.about().title().into();
            for (nth, written) in policy.limits.iter().enumerate() {
                let same = kept.get_mut(&title).and_then(|rules| {
                    let at = rules.iter().position(|rule| rule.written == *written)?;
                    Some(Arc::clone(&rules.remove(at).buckets))
                });
                let buckets = same.unwrap_or_else(|| self.buckets(&title));
                let rule = Rule::new(Arc::clone(&title), nth, written.clone(), buckets);
                made.push((policy, rule));
            }
        }
        self.newest.store(Arc::new(Limits::of(&made)));
    }

    fn buckets(&self, policy: &str) -> Arc<Buckets> {
        Buckets::new(self.next.fetch_add(1, Relaxed), self.metrics.rate_limited(policy))
    }

    /// Takes one request from each limit that is about it, or from none. `None`: none is about it.
    ///
    /// # Errors
    /// The limit that refuses it for longest; that is counted.
    pub fn take(&self, ask: &Ask<'_>, now_us: u64) -> Result<Option<Quota>, Quota> {
        let newest = self.newest.load();
        let at = newest.at(ask.port);
        if at.is_empty() {
            return Ok(None);
        }
        at.take(&self.table, ask, now_us.saturating_mul(1_000))
    }

    /// The limits that are about a request, and how it stands with each; takes nothing.
    pub fn look(&self, ask: Ask<'_>, now_us: u64) -> Vec<Quota> {
        let newest = self.newest.load();
        newest.at(ask.port).look(&self.table, ask, now_us.saturating_mul(1_000))
    }

    /// The newest limits; not to be kept across an await.
    pub fn newest(&self) -> Guard<Arc<Limits>> {
        self.newest.load()
    }

    /// Keys that are held now, of at most so many.
    pub fn keys(&self) -> (usize, usize) {
        (self.table.held(), MOST_KEYS)
    }

    /// Forgets what says nothing any more.
    pub fn sweep(&self, now_us: u64) {
        self.table.sweep(now_us.saturating_mul(1_000));
    }
}

impl Limits {
    fn of(made: &[(&RateLimitPolicy, Arc<Rule>)]) -> Self {
        let numbers: BTreeSet<u16> =
            made.iter().flat_map(|(policy, _)| &policy.ports).copied().collect();
        let about = |is_about: &dyn Fn(&RateLimitPolicy) -> bool| {
            let rules = made.iter().filter(|(policy, _)| is_about(policy));
            AtPort::of(rules.map(|(_, rule)| Arc::clone(rule)))
        };
        let at = |port| (port, about(&|policy| policy.about().is_about(port)));
        Self {
            ports: numbers.into_iter().map(at).collect(),
            elsewhere: about(&|policy| policy.ports.is_empty()),
            rules: made.iter().map(|(_, rule)| Arc::clone(rule)).collect(),
        }
    }

    /// What holds at a port of the app.
    pub fn at(&self, port: u16) -> &AtPort {
        match self.ports.binary_search_by_key(&port, |(named, _)| *named) {
            Ok(found) => &self.ports[found].1,
            Err(_) => &self.elsewhere,
        }
    }

    /// Each port that a policy names, and at last (`None`) all others.
    pub fn ports(&self) -> impl Iterator<Item = (Option<u16>, &AtPort)> {
        let named = self.ports.iter().map(|(port, at)| (Some(*port), at));
        named.chain([(None, &self.elsewhere)])
    }
}
