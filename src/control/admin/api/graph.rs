//! `/api/graph` and `/api/services`: everybody who calls or is called, and who calls whom.

use std::collections::HashSet;
use std::time::SystemTime;

use serde_json::{Value, json};

use super::replicas;
use crate::control::desk::unix_ms;
use crate::control::memory::{Edge, Graph, Measured, Node, Observer};

/// What a picture can show. The idlest are left out.
const NODES: usize = 500;
const EDGES: usize = 2_000;
/// Of the list. The idlest are left out.
const SERVICES: usize = 2_000;

pub fn graph(observer: &Observer, window_s: u32, now: SystemTime) -> Value {
    let Graph { mut nodes, mut edges, routes: _, seconds, worth } = observer.graph(window_s, now);
    let (all_nodes, all_edges) = (nodes.len(), edges.len());
    if nodes.len() > NODES {
        nodes.sort_by_key(|node| std::cmp::Reverse((node.sums.requests, node.open)));
        nodes.truncate(NODES);
        nodes.sort_by(|a, b| a.name.cmp(&b.name));
        let shown: HashSet<&str> = nodes.iter().map(|node| &*node.name).collect();
        edges.retain(|edge| shown.contains(&*edge.from) && shown.contains(&*edge.to));
    }
    edges.truncate(EDGES);
    json!({
        "atMs": unix_ms(now),
        "windowS": seconds.round() as u32,
        "replica": &*observer.memory.replica,
        "replicas": replicas(&worth),
        "nodes": nodes.iter().map(|of| node(of, seconds)).collect::<Vec<_>>(),
        "edges": edges.iter().map(|of| edge(of, seconds)).collect::<Vec<_>>(),
        "leftOut": (all_nodes - nodes.len() + all_edges - edges.len()) as u64 + worth.left_out,
    })
}

pub fn services(observer: &Observer, window_s: u32, now: SystemTime) -> Value {
    let Graph { mut nodes, seconds, worth, .. } = observer.graph(window_s, now);
    let left_out = nodes.len().saturating_sub(SERVICES);
    if left_out > 0 {
        nodes.sort_by_key(|node| std::cmp::Reverse((node.sums.requests, node.open)));
        nodes.truncate(SERVICES);
        nodes.sort_by(|a, b| a.name.cmp(&b.name));
    }
    let row = |of: &Node| {
        let mut row = node(of, seconds);
        row["routes"] = of.routes.into();
        row
    };
    json!({
        "atMs": unix_ms(now),
        "windowS": seconds.round() as u32,
        "replica": &*observer.memory.replica,
        "replicas": replicas(&worth),
        "services": nodes.iter().map(row).collect::<Vec<_>>(),
        "leftOut": left_out as u64 + worth.left_out,
    })
}

pub fn node(node: &Node, seconds: f64) -> Value {
    let mut value = json!({"name": &*node.name, "namespace": &*node.namespace, "kind": node.kind});
    measured(&mut value, &Measured::of(&node.sums, seconds));
    value["open"] = node.open.into();
    value["sidecars"] = node.sidecars.into();
    value["endpoints"] =
        json!({"ready": node.ready, "ejected": node.ejected, "halfOpen": node.half_open});
    value
}

pub fn edge(edge: &Edge, seconds: f64) -> Value {
    let mut value = json!({"from": &*edge.from, "to": &*edge.to});
    measured(&mut value, &Measured::of(&edge.sums, seconds));
    value["open"] = edge.open.into();
    value["tls"] = edge.tls().into();
    value["protocol"] = edge.spoken.map(|spoken| spoken.as_str()).into();
    value["fromIdentity"] = edge.from_identity.as_deref().into();
    value["toIdentity"] = edge.to_identity.as_deref().into();
    value
}

/// Golden signals, written into an object.
pub fn measured(value: &mut Value, of: &Measured) {
    let Measured { requests, failures, rate, failure_rate, p50_ms, p95_ms, p99_ms } = *of;
    // More digits than anybody reads would be most of a large answer.
    let short = |number: f64| (number * 1000.0).round() / 1000.0;
    value["requests"] = requests.into();
    value["failures"] = failures.into();
    value["rate"] = short(rate).into();
    value["failureRate"] = ((failure_rate * 1e5).round() / 1e5).into();
    value["p50Ms"] = p50_ms.map(short).into();
    value["p95Ms"] = p95_ms.map(short).into();
    value["p99Ms"] = p99_ms.map(short).into();
}
