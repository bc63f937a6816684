//! The gates of all ports of the workload, and which of several policies counts for each.
//!
//! A port has its gate from its first request on, for as long as a policy asks for one; a policy that
//! changes turns the gate's limit, and what is under way stays counted.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use http::request::Parts;

use super::gate::{Facts, Gate};
use crate::http::classify;
use crate::limit::rate::{Readings, is_method};
use crate::resources::RateLimitPolicy;
use crate::resources::rate_limit_policy::{Concurrency, Most, Priority, PriorityRule};
use crate::telemetry::traffic::TrafficMetrics;

/// How much of the workload at once.
pub struct Gates {
    metrics: TrafficMetrics,
    newest: ArcSwap<Newest>,
    /// One at a time makes gates or takes policies.
    writing: Mutex<()>,
    /// Where the app is asked whether it is well.
    probed: Box<[(u16, Box<str>)]>,
}

#[derive(Clone, Debug, Default)]
struct Newest {
    /// Of each port that a policy names.
    ports: BTreeMap<u16, Option<Arc<Rule>>>,
    elsewhere: Option<Arc<Rule>>,
    gates: HashMap<u16, Arc<Gate>>,
}

/// What holds at a port.
#[derive(Debug)]
struct Rule {
    /// `namespace/name`.
    policy: Arc<str>,
    concurrency: Concurrency,
}

/// What is known of a port, for pages.
#[derive(Clone, Debug)]
pub struct AtPort {
    pub policy: Arc<str>,
    pub most: Most,
    /// `None`: nobody came yet.
    pub facts: Option<Facts>,
}

/// Ports that have a gate of their own; whoever scans all ports shares one for the rest.
const MOST_GATES: usize = 64;
/// Of the gate that they share.
const REST: u16 = 0;

impl Gates {
    /// `probed`: ports and paths, without their queries.
    pub fn new(metrics: TrafficMetrics, probed: Vec<(u16, Box<str>)>) -> Self {
        let (newest, writing) = (ArcSwap::default(), Mutex::default());
        Self { metrics, newest, writing, probed: probed.into() }
    }

    /// These hold from now on, and no others; all are about the workload.
    pub fn publish(&self, policies: &[Arc<RateLimitPolicy>]) {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut newest = Newest::default();
        let nearest = |is_about: &dyn Fn(&RateLimitPolicy) -> bool| {
            let about = policies.iter().filter(|policy| is_about(policy));
            let asking = about.filter(|policy| policy.concurrency.is_some());
            let key = |policy: &Arc<RateLimitPolicy>| {
                // Of equals the first by name, so that it doesn't waver.
                (policy.about().level(), std::cmp::Reverse(policy.about().title()))
            };
            let policy = asking.max_by_key(|policy| key(policy))?;
            let concurrency = policy.concurrency.clone()?;
            Some(Arc::new(Rule { policy: policy.about().title().into(), concurrency }))
        };
        for port in policies.iter().flat_map(|policy| &policy.ports) {
            let rule = nearest(&|policy| policy.about().is_about(*port));
            newest.ports.insert(*port, rule);
        }
        newest.elsewhere = nearest(&|policy| policy.ports.is_empty());
        for (port, gate) in &self.newest.load().gates {
            if let Some(rule) = newest.rule(*port) {
                gate.retune(rule.concurrency.most);
                newest.gates.insert(*port, Arc::clone(gate));
            }
        }
        self.newest.store(Arc::new(newest));
    }

    /// The gate of a port and the priority of a request there; `None`: as many as come.
    pub fn find(
        &self,
        port: u16,
        label: &Arc<str>,
        parts: &Parts,
        is_proven: bool,
    ) -> Option<(Arc<Gate>, Priority)> {
        let newest = self.newest.load();
        let rule = newest.rule(port)?;
        let priority = match self.is_probe(port, parts, is_proven) {
            true => Priority::Probe,
            false => priority(&rule.concurrency.priorities, parts),
        };
        if let Some(gate) = newest.gates.get(&port) {
            return Some((Arc::clone(gate), priority));
        }
        drop(newest);
        Some((self.make(port, label)?, priority))
    }

    /// What holds at each port that a policy names, and at last (`None`) at all others.
    pub fn ports(&self) -> Vec<(Option<u16>, AtPort)> {
        let newest = self.newest.load();
        let of = |port: Option<u16>, rule: &Arc<Rule>, gate: Option<&Arc<Gate>>| {
            let facts = gate.map(|gate| gate.facts());
            (port, AtPort { policy: Arc::clone(&rule.policy), most: rule.concurrency.most, facts })
        };
        let mut all: BTreeMap<u16, &Arc<Rule>> = BTreeMap::new();
        let known = newest.ports.keys().chain(newest.gates.keys());
        all.extend(known.filter_map(|port| Some((*port, newest.rule(*port)?))));
        let named =
            all.into_iter().map(|(port, rule)| of(Some(port), rule, newest.gates.get(&port)));
        let rest = newest.elsewhere.iter().map(|rule| of(None, rule, None));
        named.chain(rest).collect()
    }

    /// Every gate there is.
    pub fn each(&self, mut show: impl FnMut(&Gate)) {
        self.newest.load().gates.values().for_each(|gate| show(gate));
    }

    fn make(&self, port: u16, label: &Arc<str>) -> Option<Arc<Gate>> {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut newest = Newest::clone(&self.newest.load());
        let is_full = newest.gates.len() >= MOST_GATES;
        let most = newest.rule(port)?.concurrency.most;
        let port = if is_full { REST } else { port };
        if let Some(gate) = newest.gates.get(&port) {
            return Some(Arc::clone(gate));
        }
        let label = if is_full { "other".into() } else { Arc::clone(label) };
        let shed = Priority::ALL.map(|priority| self.metrics.shed(&label, priority.as_str()));
        let gate = Gate::new(label, most, shed);
        newest.gates.insert(port, Arc::clone(&gate));
        self.newest.store(Arc::new(newest));
        Some(gate)
    }

    /// A question about health: of the kubelet, which has no identity, of gRPC's own service, or by a
    /// path that the app's probes have.
    fn is_probe(&self, port: u16, parts: &Parts, is_proven: bool) -> bool {
        let path = parts.uri.path();
        let agent = parts.headers.get(http::header::USER_AGENT);
        let is_kubelet = || agent.is_some_and(|agent| agent.as_bytes().starts_with(b"kube-probe/"));
        !is_proven && is_kubelet()
            || path.starts_with("/grpc.health.v1.Health/") && classify::is_grpc(&parts.headers)
            || self.probed.iter().any(|(of, probed)| *of == port && **probed == *path)
    }
}

impl Newest {
    fn rule(&self, port: u16) -> Option<&Arc<Rule>> {
        self.ports.get(&port).unwrap_or(&self.elsewhere).as_ref()
    }
}

/// The first that holds.
fn priority(rules: &[PriorityRule], parts: &Parts) -> Priority {
    let mut readings = None;
    let mut holds = |rule: &PriorityRule| {
        (rule.methods.is_empty() || is_method(parts, &rule.methods))
            && (rule.paths.is_empty()
                || readings.get_or_insert_with(|| Readings::of(parts)).have(&rule.paths))
            && rule.headers.iter().all(|(name, of)| {
                let values = parts.headers.get_all(name);
                values.iter().any(|value| of.iter().any(|of| of.matches(value.as_bytes())))
            })
    };
    rules.iter().find(|rule| holds(rule)).map_or(Priority::Normal, |rule| rule.priority)
}
