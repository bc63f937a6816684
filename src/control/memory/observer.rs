//! Answers from the memory: what was reported, put together with what the catalog knows of services
//! and the ledger of sessions. What is asked for is copied first; everything else is done on copies.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::SystemTime;

use super::chart::{self, Point};
use super::directory::Directory;
use super::found::{self, Found};
use super::graph::{self, Edge, Graph, Node, Route, Row};
use super::owners::Key;
use super::report::State;
use super::spans::Seen;
use super::traces::{self, Filter, Summary, Trace};
use super::track::{SLOT_S, SLOTS, Sums, slot_ms, slot_of};
use super::{Memory, Told};
use crate::control::Settings;
use crate::control::catalog::Catalog;
use crate::control::desk::unix_ms;
use crate::control::sessions::{SessionFacts, Sessions};

/// Failures of a service that are shown.
const FAILURES: usize = 50;

/// No sidecar tells more often.
const SHORTEST_S: f64 = 5.0;

/// Whoever looks at the mesh, looks through this.
pub struct Observer {
    pub memory: Arc<Memory>,
    pub catalog: Arc<Catalog>,
    pub sessions: Arc<Sessions>,
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
}

/// A request that failed, and who asked.
pub struct Failure {
    pub seen: Arc<Seen>,
    pub from: Arc<str>,
}

/// Some slots, and the time that they are about.
#[derive(Clone, Copy)]
struct Window {
    first: u32,
    last: u32,
    seconds: f64,
}

impl Observer {
    /// Nothing was reported yet.
    pub fn new(
        settings: &Settings,
        catalog: &Arc<Catalog>,
        sessions: &Arc<Sessions>,
        now: SystemTime,
    ) -> Self {
        let replica = settings.kubernetes.as_ref().map(|of| of.replica.clone());
        let replica = replica.or_else(host).unwrap_or_else(|| "control-plane".to_owned());
        let memory = Arc::new(Memory::new(settings.memory_budget, &replica, now));
        Self { memory, catalog: Arc::clone(catalog), sessions: Arc::clone(sessions) }
    }

    /// Everybody within the last so many seconds.
    pub fn graph(&self, window_s: u32, now: SystemTime) -> Graph {
        let directory = self.memory.directory(&self.catalog);
        let window = self.window(window_s, now);
        let rows = self.rows(window, |_| true);
        let mut graph = graph::graph(&rows, &directory, window.seconds);
        self.describe(&mut graph.nodes, &directory);
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
        let directory = self.memory.directory(&self.catalog);
        let window = self.window(window_s, now);
        let rows = self.rows(window, |_| true);
        let Graph { mut nodes, edges, mut routes, seconds } =
            graph::graph(&rows, &directory, window.seconds);
        nodes.retain(|node| *node.name == *name);
        let points = chart::points(&self.memory, &directory, name, minutes, now);
        if nodes.is_empty() && points.iter().any(|point| point.sums.requests > 0) {
            nodes.push(graph::stranger(&name.into()));
        }
        self.describe(&mut nodes, &directory);
        let node = nodes.pop()?;
        routes.retain(|route| *route.to == *name);
        let of = |to: bool| {
            let is_it = |edge: &&Edge| if to { *edge.to == *name } else { *edge.from == *name };
            edges.iter().filter(is_it).cloned().collect()
        };
        Some(Service {
            endpoints: self.endpoints(name, &directory),
            failures: self.failures(name, &directory),
            callers: of(true),
            callees: of(false),
            node,
            seconds,
            points,
            routes: merged(routes),
        })
    }

    /// Traces of which something was kept.
    pub fn traces(&self, filter: &Filter) -> Vec<Summary> {
        traces::summaries(&self.spans(), filter)
    }

    pub fn trace(&self, id: u128) -> Option<Trace> {
        traces::trace(&self.spans(), id)
    }

    fn spans(&self) -> Vec<Arc<Seen>> {
        self.memory.lock().spans.each().cloned().collect()
    }

    /// Whole slots and the one that has begun, but nothing from before the memory began. While that
    /// is young one more counts, so that it is as long as was asked for, give or take half a slot.
    fn window(&self, window_s: u32, now: SystemTime) -> Window {
        let now_ms = unix_ms(now);
        let last = slot_of(now_ms);
        let young = now_ms - slot_ms(last) < i64::from(SLOT_S) * 500;
        let slots = (window_s / SLOT_S).clamp(1, SLOTS) + u32::from(young);
        let first = last.saturating_sub(slots.min(SLOTS) - 1);
        // What a report spreads over the time before is not of this one.
        let first = first.max(slot_of(self.memory.began_ms)).min(last);
        let since_ms = slot_ms(first).max(self.memory.began_ms);
        let seconds = (now_ms - since_ms) as f64 / 1000.0;
        Window { first, last, seconds: seconds.max(SHORTEST_S) }
    }

    fn rows(&self, Window { first, last, .. }: Window, wanted: impl Fn(&Key) -> bool) -> Vec<Row> {
        let state = self.memory.lock();
        let rows = state.owners.each().filter(|(_, key, _)| wanted(key)).filter_map(|row| {
            let (owner, key, series) = row;
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

    /// What only catalog, sessions and callers' sidecars know of nodes.
    fn describe(&self, nodes: &mut [Node], directory: &Directory) {
        let mut sidecars: HashMap<Arc<str>, u32> = HashMap::new();
        for session in self.sessions.list() {
            let SessionFacts { workload, identity, .. } = &session.facts;
            let workload = format!("{workload}.{}", identity.namespace()).into();
            let place = directory.place(&workload, &identity.as_str().into());
            let name = place.unwrap_or_else(|| directory.account(identity));
            *sidecars.entry(name).or_default() += 1;
        }
        let prevailing = self.memory.lock().states.prevailing();
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

    fn endpoints(&self, name: &str, directory: &Directory) -> Vec<Found> {
        let Some(entry) = directory.services.get(name) else { return Vec::new() };
        let ours = |service: &str| service.rsplit_once(':').is_some_and(|(of, _)| of == name);
        let told: Vec<Told> = self.memory.lock().states.told(ours);
        found::found(&entry.endpoints, &told)
    }

    fn failures(&self, name: &str, directory: &Directory) -> Vec<Failure> {
        let is_it = |seen: &Arc<Seen>| {
            let is_called = traces::called(seen) == Some(name);
            seen.kept.failed() && (is_called || seen.kept.inbound && *seen.node == *name)
        };
        let all: Vec<Arc<Seen>> =
            self.memory.lock().spans.each().filter(|seen| is_it(seen)).cloned().collect();
        let calls: HashSet<(u128, u64)> =
            all.iter().map(|seen| (seen.kept.trace_id, seen.kept.span_id)).collect();
        // What its caller tells of too is told once.
        let is_news = |seen: &&Arc<Seen>| {
            !seen.kept.inbound || !calls.contains(&(seen.kept.trace_id, seen.kept.parent_id))
        };
        let mut failures: Vec<Arc<Seen>> = all.iter().filter(is_news).cloned().collect();
        failures.sort_by_key(|seen| std::cmp::Reverse(seen.kept.started_us));
        let theirs = failures.into_iter().map(|seen| (Arc::clone(&seen.owner), seen)).collect();
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
                of.spoken = of.spoken.max(route.spoken);
            }
            None => drop(all.insert(Arc::clone(&route.route), route)),
        }
    }
    let mut all: Vec<Route> = all.into_values().collect();
    all.sort_by_key(|route| std::cmp::Reverse(route.sums.requests));
    all
}
