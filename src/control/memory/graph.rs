//! Who calls whom, made of what callers and called say.
//!
//! What a caller's sidecar says of a call counts: it knows what became of it, also where it reached
//! nobody. What the called one says counts where the caller says nothing of any service that it is
//! of: it has no sidecar, or one that reports to a replica that can't be asked. Every request is in
//! one edge, and a node's signals are those of the edges that lead to it.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use super::directory::{Directory, EXTERNAL, UNMESHED};
use super::owners::{Key, Kind, OTHER};
use super::part::{Holder, Open, Worth};
use super::quantile::quantile_ms;
use super::report::{Buckets, Spoken};
use super::track::Sums;

/// What was counted of one thing in a window.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    pub owner: Arc<str>,
    pub key: Key,
    pub sums: Sums,
    pub spoken: Option<Spoken>,
    pub peer: Option<Arc<str>>,
}

/// Who calls whom.
#[derive(Clone, Debug, Default)]
pub struct Edge {
    pub from: Arc<str>,
    pub to: Arc<str>,
    /// SPIFFE ids, as far as they were proved.
    pub from_identity: Option<Arc<str>>,
    pub to_identity: Option<Arc<str>>,
    pub sums: Sums,
    pub spoken: Option<Spoken>,
    /// Connections, tunnels and requests that last, open now; and those of them in plaintext.
    pub open: u64,
    open_plain: u64,
    /// How long it took is the caller's own measure, not that of all who call.
    is_measured: bool,
}

impl Edge {
    /// `mtls`, `none`, or nothing where no connection was made.
    pub fn tls(&self) -> Option<&'static str> {
        let plain = self.sums.plain > 0 || self.open_plain > 0;
        let proved = self.sums.proved > 0 || self.open > self.open_plain;
        match (plain, proved) {
            (true, _) => Some("none"),
            (false, true) => Some("mtls"),
            (false, false) => None,
        }
    }
}

impl Edge {
    fn hold(&mut self, of: &Open, is_proved: bool) {
        self.open += of.count;
        self.open_plain += if is_proved { 0 } else { of.count };
        self.spoken = self.spoken.max(Some(of.spoken));
    }
}

/// A caller's way to somebody under one route.
#[derive(Clone, Debug, Default)]
pub struct Route {
    pub from: Arc<str>,
    pub to: Arc<str>,
    pub route: Arc<str>,
    pub sums: Sums,
    pub spoken: Option<Spoken>,
    /// As in [`Edge`].
    pub open: u64,
}

/// Somebody who calls or is called.
#[derive(Clone, Debug, Default)]
pub struct Node {
    pub name: Arc<str>,
    pub namespace: Arc<str>,
    /// `service`, `workload`, `external` or `unmeshed`.
    pub kind: &'static str,
    /// Of what it was asked.
    pub sums: Sums,
    pub sidecars: u32,
    pub ready: u32,
    pub ejected: u32,
    pub half_open: u32,
    /// That requests to it fell under.
    pub routes: u32,
    /// As in [`Edge`]; of what leads to it.
    pub open: u64,
}

/// All of it.
#[derive(Clone, Debug, Default)]
pub struct Graph {
    /// By name.
    pub nodes: Vec<Node>,
    /// The busiest first.
    pub edges: Vec<Edge>,
    /// The busiest first.
    pub routes: Vec<Route>,
    /// What the numbers are about.
    pub seconds: f64,
    pub worth: Worth,
}

/// Golden signals as people read them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Measured {
    pub requests: u64,
    pub failures: u64,
    /// Requests a second.
    pub rate: f64,
    /// 0 to 1.
    pub failure_rate: f64,
    pub p50_ms: Option<f64>,
    pub p95_ms: Option<f64>,
    pub p99_ms: Option<f64>,
}

impl Measured {
    pub fn of(sums: &Sums, seconds: f64) -> Self {
        let (requests, failures) = (sums.requests, sums.failed.min(sums.requests));
        let quantile = |q| quantile_ms(&sums.buckets, q);
        Self {
            requests,
            failures,
            rate: requests as f64 / seconds.max(1.0),
            failure_rate: if requests > 0 { failures as f64 / requests as f64 } else { 0.0 },
            p50_ms: quantile(0.5),
            p95_ms: quantile(0.95),
            p99_ms: quantile(0.99),
        }
    }
}

/// Puts rows of one window together, and what is open now.
pub fn graph(rows: &[&Row], holders: &[&Holder], directory: &Directory, seconds: f64) -> Graph {
    let mut edges = edges(rows, directory);
    hold(&mut edges, holders, directory);
    let routes = routes(rows, holders);
    let nodes = nodes(rows, &edges, &routes, directory);
    let mut edges: Vec<Edge> = edges.into_values().collect();
    edges.sort_by_key(|edge| std::cmp::Reverse((edge.sums.requests, edge.open)));
    Graph { nodes, edges, routes, seconds, worth: Worth::default() }
}

type Edges = BTreeMap<(Arc<str>, Arc<str>), Edge>;

fn edges(rows: &[&Row], directory: &Directory) -> Edges {
    let mut edges = Edges::new();
    let of_kind = |kind| rows.iter().filter(move |row| row.key.kind == kind);
    let told = Callers::of(of_kind(Kind::Flow).map(|row| (&*row.owner, &*row.key.to)));
    for row in of_kind(Kind::Flow) {
        let edge = edge(&mut edges, &row.key.from, &row.key.to);
        edge.sums.add(&row.sums);
        edge.spoken = edge.spoken.max(row.spoken);
        edge.is_measured = true;
        edge.from_identity = Some(Arc::clone(&row.owner));
        edge.to_identity = row.peer.clone().or(edge.to_identity.take());
    }
    let received = received(rows);
    for row in of_kind(Kind::Caller) {
        if told.told(&row.key.from, &row.key.to, &row.owner, directory) {
            continue;
        }
        let is_proved = !row.key.from.is_empty() && &*row.key.from != OTHER;
        let from = match &*row.key.from {
            "" => UNMESHED.into(),
            identity => directory.named(identity),
        };
        let edge = edge(&mut edges, &from, &row.key.to);
        edge.sums.add(&row.sums);
        edge.spoken = edge.spoken.max(row.spoken);
        if !edge.is_measured {
            edge.sums.buckets = received.get(&*row.key.to).copied().unwrap_or_default();
        }
        if is_proved {
            edge.from_identity = Some(Arc::clone(&row.key.from));
        }
        edge.to_identity.get_or_insert_with(|| Arc::clone(&row.owner));
    }
    edges
}

/// What is open belongs to the edges too, and makes them where nothing has ended.
fn hold(edges: &mut Edges, holders: &[&Holder], directory: &Directory) {
    let of_kind = |kind| all_open(holders).filter(move |(_, of)| of.key.kind == kind);
    let told = Callers::of(of_kind(Kind::Flow).map(|(owner, of)| (&**owner, &*of.key.to)));
    for (owner, of) in of_kind(Kind::Flow) {
        let edge = edge(edges, &of.key.from, &of.key.to);
        edge.hold(of, of.peer.is_some());
        edge.from_identity = Some(Arc::clone(owner));
        edge.to_identity = of.peer.clone().or(edge.to_identity.take());
    }
    for (owner, of) in of_kind(Kind::Caller) {
        if told.told(&of.key.from, &of.key.to, owner, directory) {
            continue;
        }
        let identity = Some(&of.key.from).filter(|from| !from.is_empty());
        let from = identity.map_or_else(|| UNMESHED.into(), |identity| directory.named(identity));
        let edge = edge(edges, &from, &of.key.to);
        edge.hold(of, identity.is_some());
        edge.from_identity = identity.cloned().or(edge.from_identity.take());
        edge.to_identity.get_or_insert_with(|| Arc::clone(owner));
    }
}

fn all_open<'a>(holders: &[&'a Holder]) -> impl Iterator<Item = (&'a Arc<str>, &'a Open)> {
    holders.iter().flat_map(|holder| holder.open.iter().map(|of| (&holder.owner, of)))
}

/// What callers tell themselves: identities, and the services that they called.
pub struct Callers<'a>(HashSet<(&'a str, &'a str)>);

impl<'a> Callers<'a> {
    pub fn of(told: impl Iterator<Item = (&'a str, &'a str)>) -> Self {
        Self(told.collect())
    }

    /// Whether the caller told already what the called one tells. It may have meant another service
    /// than the one by which the called one goes: a canary's, or one without an address.
    pub fn told(&self, from: &str, to: &str, called: &str, directory: &Directory) -> bool {
        let has = |service: &str| self.0.contains(&(from, service));
        has(to) || directory.kin(to, called).any(|service| has(service))
    }
}

fn edge<'a>(edges: &'a mut Edges, from: &Arc<str>, to: &Arc<str>) -> &'a mut Edge {
    let new = || Edge { from: Arc::clone(from), to: Arc::clone(to), ..Edge::default() };
    edges.entry((Arc::clone(from), Arc::clone(to))).or_insert_with(new)
}

/// How long it took as the called see it, by name.
fn received<'a>(rows: &[&'a Row]) -> HashMap<&'a str, Buckets> {
    let mut received: HashMap<&'a str, Sums> = HashMap::new();
    for row in rows.iter().filter(|row| row.key.kind == Kind::Received) {
        received.entry(&row.key.to).or_default().add(&row.sums);
    }
    received.into_iter().map(|(name, sums)| (name, sums.buckets)).collect()
}

type Routes<'a> = HashMap<(&'a str, &'a str, &'a str), Route>;

fn routes(rows: &[&Row], holders: &[&Holder]) -> Vec<Route> {
    let mut routes = Routes::new();
    for row in rows.iter().filter(|row| row.key.kind == Kind::Flow) {
        let of = route(&mut routes, &row.key);
        of.sums.add(&row.sums);
        of.spoken = of.spoken.max(row.spoken);
    }
    for (_, open) in all_open(holders).filter(|(_, of)| of.key.kind == Kind::Flow) {
        let of = route(&mut routes, &open.key);
        of.open += open.count;
        of.spoken = of.spoken.max(Some(open.spoken));
    }
    let mut routes: Vec<Route> = routes.into_values().collect();
    routes.sort_by(|a, b| {
        let names = |of: &Route| (Arc::clone(&of.to), Arc::clone(&of.route), Arc::clone(&of.from));
        let most = |of: &Route| (of.sums.requests, of.open);
        most(b).cmp(&most(a)).then_with(|| names(a).cmp(&names(b)))
    });
    routes
}

fn route<'a, 'b>(routes: &'b mut Routes<'a>, key: &'a Key) -> &'b mut Route {
    let Key { from, to, route, .. } = key;
    let new = || Route {
        from: Arc::clone(from),
        to: Arc::clone(to),
        route: Arc::clone(route),
        ..Route::default()
    };
    routes.entry((from, to, route)).or_insert_with(new)
}

fn nodes(rows: &[&Row], edges: &Edges, routes: &[Route], directory: &Directory) -> Vec<Node> {
    let mut nodes: BTreeMap<Arc<str>, Node> = BTreeMap::new();
    for (name, entry) in &directory.services {
        let kind = if entry.is_outside { "external" } else { "service" };
        let (name, namespace) = (Arc::clone(name), Arc::clone(&entry.namespace));
        nodes.insert(Arc::clone(&name), Node { name, namespace, kind, ..Node::default() });
    }
    for edge in edges.values() {
        for name in [&edge.from, &edge.to] {
            nodes.entry(Arc::clone(name)).or_insert_with(|| stranger(name));
        }
        if let Some(node) = nodes.get_mut(&edge.to) {
            let buckets = if edge.is_measured { edge.sums.buckets } else { Buckets::default() };
            node.sums.add(&Sums { buckets, ..edge.sums });
            node.open += edge.open;
        }
    }
    let received = received(rows);
    for node in nodes.values_mut().filter(|node| node.sums.buckets == Buckets::default()) {
        node.sums.buckets = received.get(&*node.name).copied().unwrap_or_default();
    }
    let under: BTreeSet<(&str, &str)> = routes.iter().map(|of| (&*of.to, &*of.route)).collect();
    for (to, _) in under {
        if let Some(node) = nodes.get_mut(to) {
            node.routes += 1;
        }
    }
    nodes.into_values().collect()
}

/// Who is no service.
pub fn stranger(name: &Arc<str>) -> Node {
    let kind = match &**name {
        EXTERNAL => "external",
        UNMESHED => "unmeshed",
        _ => "workload",
    };
    let account = name.split(' ').next().unwrap_or_default();
    let namespace = account.split_once('.').map_or("", |(_, namespace)| namespace).into();
    Node { name: Arc::clone(name), namespace, kind, ..Node::default() }
}
