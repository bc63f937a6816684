//! Answers from the memory: what was reported to all replicas, put together with what the catalog
//! knows of services. Each replica gives its part of what is asked for (`recall`); everything else is
//! done here, on copies. Without others there is one part, its own.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::SystemTime;

use super::Memory;
use super::chart::{self, Point};
use super::directory::Directory;
use super::found::{self, Found};
use super::graph::{self, Edge, Graph, Node, Route};
use super::part::{Question, Slots, Steps, Whole, Worth};
use super::report::State;
use super::spans::Seen;
use super::states::{self, Told};
use super::traces::{self, Filter, Summary, Trace};
use super::track::{SLOT_S, SLOTS, slot_ms, slot_of};
use crate::control::Settings;
use crate::control::catalog::Catalog;
use crate::control::desk::unix_ms;
use crate::control::plaintext::{self, Plaintext};
use crate::control::replicas::Others;
use crate::control::sessions::Sessions;

/// Failures of a service that are shown.
const FAILURES: usize = 50;

/// No sidecar tells more often.
const SHORTEST_S: f64 = 5.0;

/// Whoever looks at the mesh, looks through this. Its answers may take as long as other replicas may
/// take to give theirs: to be called where a thread may wait.
pub struct Observer {
    pub memory: Arc<Memory>,
    pub catalog: Arc<Catalog>,
    pub sessions: Arc<Sessions>,
    pub plaintext: Arc<Plaintext>,
    /// Present where there may be others beside this one.
    pub others: Option<Others>,
}

/// One service, or whoever else is called or calls.
pub struct Service {
    pub node: Node,
    /// What its signals, routes, callers and callees are about.
    pub seconds: f64,
    /// Oldest first.
    pub points: Vec<Point>,
    pub routes: Vec<Route>,
    pub endpoints: Vec<Found>,
    pub callers: Vec<Edge>,
    pub callees: Vec<Edge>,
    /// Newest first.
    pub failures: Vec<Failure>,
    pub worth: Worth,
}

/// A request that failed, and who asked.
pub struct Failure {
    pub seen: Arc<Seen>,
    pub from: Arc<str>,
}

impl Observer {
    /// Nothing was reported yet.
    pub fn new(
        settings: &Settings,
        catalog: &Arc<Catalog>,
        sessions: &Arc<Sessions>,
        others: Option<Others>,
        now: SystemTime,
    ) -> Self {
        let replica = settings.kubernetes.as_ref().map(|of| of.replica.clone());
        let replica = replica.or_else(host).unwrap_or_else(|| "control-plane".to_owned());
        let memory = Arc::new(Memory::new(settings.memory_budget, &replica, now));
        let (catalog, sessions) = (Arc::clone(catalog), Arc::clone(sessions));
        let plaintext = Arc::new(Plaintext::new(now));
        Self { memory, catalog, sessions, plaintext, others }
    }

    /// What all replicas remember of it.
    pub fn whole(&self, question: &Question, now: SystemTime) -> Whole {
        let asking = self.others.as_ref().map(|others| others.ask(question));
        let mut whole = Whole::default();
        whole.parts.push(Arc::new(self.recall(question, now)));
        if let Some(asking) = asking {
            let (asked, parts) = asking.wait();
            whole.asked = asked;
            whole.parts.extend(parts);
        }
        whole
    }

    /// Everybody within the last so many seconds.
    pub fn graph(&self, window_s: u32, now: SystemTime) -> Graph {
        let slots = slots(window_s, now);
        let question = Question {
            rows: Some(slots),
            sidecars: true,
            endpoints: true,
            open: true,
            ..Question::default()
        };
        self.graph_of(&self.whole(&question, now), slots, now)
    }

    pub fn graph_of(&self, whole: &Whole, slots: Slots, now: SystemTime) -> Graph {
        let directory = self.memory.directory(&self.catalog);
        let rows = whole.rows();
        let seconds = seconds(slots, whole.began_ms(), now);
        let mut graph = graph::graph(&rows, &whole.holders(), &directory, seconds);
        describe(&mut graph.nodes, whole, &directory);
        graph.worth = whole.worth();
        graph
    }

    /// One of them; `None`: nobody has this name.
    pub fn service(
        &self,
        name: &str,
        window_s: u32,
        minutes: u32,
        now: SystemTime,
    ) -> Option<Service> {
        let (slots, steps) = (slots(window_s, now), chart::steps(name, minutes, now));
        let question = Question {
            rows: Some(slots),
            steps: Some(steps.clone()),
            sidecars: true,
            endpoints: true,
            open: true,
            failures_of: Some(name.to_owned()),
            ..Question::default()
        };
        self.service_of(&self.whole(&question, now), slots, &steps, now)
    }

    pub fn service_of(
        &self,
        whole: &Whole,
        slots: Slots,
        steps: &Steps,
        now: SystemTime,
    ) -> Option<Service> {
        let (directory, name) = (self.memory.directory(&self.catalog), steps.service.as_str());
        let Graph { mut nodes, edges, mut routes, seconds, worth } =
            self.graph_of(whole, slots, now);
        nodes.retain(|node| *node.name == *name);
        let points = chart::points(whole, &directory, steps);
        if nodes.is_empty() && points.iter().any(|point| point.sums.requests > 0) {
            nodes.push(graph::stranger(&name.into()));
            describe(&mut nodes, whole, &directory);
        }
        let node = nodes.pop()?;
        routes.retain(|route| *route.to == *name);
        let of = |to: bool| {
            let is_it = |edge: &&Edge| if to { *edge.to == *name } else { *edge.from == *name };
            edges.iter().filter(is_it).cloned().collect()
        };
        Some(Service {
            endpoints: endpoints(name, whole, &directory),
            failures: failures(whole, &directory),
            callers: of(true),
            callees: of(false),
            node,
            seconds,
            points,
            routes: merged(routes),
            worth,
        })
    }

    /// Traces of which something was kept: which there are first, since parts of one trace are with
    /// several replicas, and then all of their parts.
    pub fn traces(&self, filter: &Filter, now: SystemTime) -> (Vec<Summary>, Worth) {
        let question = Question { traces: Some(filter.clone()), ..Question::default() };
        let begun = self.whole(&question, now);
        let all = begun.parts.iter().flat_map(|part| &part.traces).cloned().collect();
        let ids: Vec<u128> =
            traces::newest(all, filter.limit).into_iter().map(|of| of.id).collect();
        if ids.is_empty() {
            return (Vec::new(), begun.worth());
        }
        let whole = self.whole(&Question { spans: ids, ..Question::default() }, now);
        (traces::summaries(&whole.spans(), filter), whole.worth())
    }

    pub fn trace(&self, id: u128, now: SystemTime) -> (Option<Trace>, Worth) {
        let whole = self.whole(&Question { spans: vec![id], ..Question::default() }, now);
        (traces::trace(&whole.spans(), id), whole.worth())
    }

    /// Who is connected, and to which memories.
    pub fn sidecars(&self, now: SystemTime) -> Whole {
        self.whole(&Question { sidecars: true, ..Question::default() }, now)
    }

    /// Who still comes in plaintext to the workloads of a namespace, or of all (empty).
    pub fn plaintext(&self, namespace: &str, now: SystemTime) -> (plaintext::Seen, Worth) {
        let plaintext = Some(namespace.to_owned());
        let whole = self.whole(&Question { plaintext, ..Question::default() }, now);
        let seen = whole.parts.iter().filter_map(|part| part.plaintext.clone());
        (plaintext::together(seen), whole.worth())
    }
}

/// Whole slots and the one that has begun. While that is young one more counts, so that it is as
/// long as was asked for, give or take half a slot.
fn slots(window_s: u32, now: SystemTime) -> Slots {
    let now_ms = unix_ms(now);
    let last = slot_of(now_ms);
    let young = now_ms - slot_ms(last) < i64::from(SLOT_S) * 500;
    let slots = (window_s / SLOT_S).clamp(1, SLOTS) + u32::from(young);
    Slots { first: last.saturating_sub(slots.min(SLOTS) - 1), last }
}

/// How long that is, but for what lies before anybody's memory began.
fn seconds(Slots { first, last }: Slots, began_ms: i64, now: SystemTime) -> f64 {
    let first = first.max(slot_of(began_ms)).min(last);
    let since_ms = slot_ms(first).max(began_ms);
    ((unix_ms(now) - since_ms) as f64 / 1000.0).max(SHORTEST_S)
}

/// What only catalog, sessions and callers' sidecars know of nodes.
fn describe(nodes: &mut [Node], whole: &Whole, directory: &Directory) {
    let mut sidecars: HashMap<Arc<str>, u32> = HashMap::new();
    for of in whole.sidecars() {
        let place = directory.place(&of.workload, &of.identity.as_str().into());
        let name = place.unwrap_or_else(|| directory.account(&of.identity));
        *sidecars.entry(name).or_default() += 1;
    }
    let prevailing = states::prevailing(&whole.tellers());
    for node in nodes {
        node.sidecars = sidecars.get(&node.name).copied().unwrap_or_default();
        let Some(entry) = directory.services.get(&node.name) else { continue };
        // A workload is one endpoint, however many ports it has.
        let mut states: BTreeMap<(&str, &str), State> = BTreeMap::new();
        for endpoint in &entry.endpoints {
            let host = endpoint.shown.rsplit_once(':').map_or("", |(host, _)| host);
            let told = endpoint.address.and_then(|address| {
                prevailing.get(&(Arc::clone(&endpoint.service), address)).copied()
            });
            let state = states.entry((&endpoint.workload, host)).or_insert(State::Ready);
            *state = told.unwrap_or(State::Ready).max(*state);
        }
        for state in states.into_values() {
            match state {
                State::Ready | State::Connecting => node.ready += 1,
                State::HalfOpen => node.half_open += 1,
                State::Ejected => node.ejected += 1,
            }
        }
    }
}

fn endpoints(name: &str, whole: &Whole, directory: &Directory) -> Vec<Found> {
    let Some(entry) = directory.services.get(name) else { return Vec::new() };
    let ours = |service: &str| service.rsplit_once(':').is_some_and(|(of, _)| of == name);
    let told: Vec<Told> = states::told(&whole.tellers(), ours);
    found::found(&entry.endpoints, &told)
}

fn failures(whole: &Whole, directory: &Directory) -> Vec<Failure> {
    let mut all = whole.spans();
    let calls: HashSet<(u128, u64)> =
        all.iter().map(|seen| (seen.kept.trace_id, seen.kept.span_id)).collect();
    // What its caller told another replica of is told once.
    all.retain(|seen| {
        !seen.kept.inbound || !calls.contains(&(seen.kept.trace_id, seen.kept.parent_id))
    });
    all.sort_by_key(|seen| std::cmp::Reverse(seen.kept.started_us));
    let theirs = all.into_iter().map(|seen| (Arc::clone(&seen.owner), seen)).collect();
    let mut failures = traces::in_turns(theirs, FAILURES);
    failures.sort_by_key(|seen| std::cmp::Reverse(seen.kept.started_us));
    let failure = |seen: Arc<Seen>| {
        let from = match seen.kept.inbound {
            true => directory.named(&seen.kept.peer),
            false => Arc::clone(&seen.node),
        };
        Failure { seen, from }
    };
    failures.into_iter().map(failure).collect()
}

/// What this machine calls itself.
fn host() -> Option<String> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
    Some(name.trim().to_owned()).filter(|name| !name.is_empty())
}

/// The same route of all callers together; the busiest first.
fn merged(routes: Vec<Route>) -> Vec<Route> {
    let mut all: BTreeMap<Arc<str>, Route> = BTreeMap::new();
    for route in routes {
        match all.get_mut(&route.route) {
            Some(of) => {
                of.sums.add(&route.sums);
                of.open += route.open;
                of.spoken = of.spoken.max(route.spoken);
            }
            None => drop(all.insert(Arc::clone(&route.route), route)),
        }
    }
    let mut all: Vec<Route> = all.into_values().collect();
    all.sort_by_key(|route| std::cmp::Reverse((route.sums.requests, route.open)));
    all
}
