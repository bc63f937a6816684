//! `/api/service`: one service over time, its routes, endpoints, policies, callers and failures.

use std::sync::Arc;
use std::time::SystemTime;

use serde_json::{Value, json};

use super::super::View;
use super::graph::{edge, measured, node};
use super::{Asked, ROWS, cut, replicas};
use crate::control::api::{Id, Standings};
use crate::control::memory::report::State;
use crate::control::memory::{Edge, Failure, Found, Measured, Point, Route};
use crate::model::SpiffeId;
use crate::resources::{Metadata, Resource};

pub fn service(view: &View, name: &str, asked: &Asked, now: SystemTime) -> Option<Value> {
    let observer = &view.api.observer;
    let mut found = observer.service(name, asked.window_s, asked.minutes, now)?;
    if found.endpoints.len() > ROWS {
        // Those that are not ready are what people look for.
        let worst = |of: &Found| of.states.first().map(|(_, state)| *state);
        found.endpoints.sort_by_key(|of| std::cmp::Reverse(worst(of)));
    }
    let left_out = cut(&mut found.endpoints)
        + cut(&mut found.routes)
        + cut(&mut found.callers)
        + cut(&mut found.callees);
    let seconds = found.seconds;
    let caller = |of: &Edge| {
        let mut row = edge(of, seconds);
        row["identity"] = of.from_identity.as_deref().into();
        row
    };
    let callee = |of: &Edge| {
        let mut row = edge(of, seconds);
        row["identity"] = of.to_identity.as_deref().into();
        row
    };
    Some(json!({
        "name": name,
        "replica": &*observer.memory.replica,
        "replicas": replicas(&found.worth),
        "windowS": seconds.round() as u32,
        "node": node(&found.node, seconds),
        "series": found.points.iter().map(point).collect::<Vec<_>>(),
        "routes": found.routes.iter().map(|of| route(of, seconds)).collect::<Vec<_>>(),
        "endpoints": found.endpoints.iter().map(endpoint).collect::<Vec<_>>(),
        "policies": policies(view, name),
        "callers": found.callers.iter().map(caller).collect::<Vec<_>>(),
        "callees": found.callees.iter().map(callee).collect::<Vec<_>>(),
        "failures": found.failures.iter().map(failure).collect::<Vec<_>>(),
        "leftOut": left_out as u64 + found.worth.left_out,
    }))
}

fn point(point: &Point) -> Value {
    let mut value = json!({"atMs": point.at_ms});
    measured(&mut value, &Measured::of(&point.sums, point.seconds));
    value
}

fn route(route: &Route, seconds: f64) -> Value {
    let mut value = json!({"route": &*route.route});
    measured(&mut value, &Measured::of(&route.sums, seconds));
    value["open"] = route.open.into();
    value["protocol"] = route.spoken.map(|spoken| spoken.as_str()).into();
    value
}

fn endpoint(Found { endpoint, states }: &Found) -> Value {
    let state =
        |(by, state): &(Arc<str>, State)| json!({"reportedBy": &**by, "state": state.as_str()});
    json!({
        "address": endpoint.shown,
        "workload": &*endpoint.workload,
        "zone": endpoint.zone.as_deref(),
        "identity": endpoint.identity.as_ref().map(SpiffeId::as_str),
        "states": states.iter().map(state).collect::<Vec<_>>(),
    })
}

/// What hangs on any port of it, and what is wrong with that.
fn policies(view: &View, name: &str) -> Vec<Value> {
    let services = view.catalog.services();
    let ports = services.iter().filter(|(served, _)| {
        let of = &served.bound.name;
        format!("{}.{}", of.name, of.namespace) == name
    });
    let mut all: Vec<&Arc<Resource>> =
        ports.flat_map(|(served, _)| &served.bound.attachments).collect();
    all.sort_by_key(|of| Id::of(of));
    all.dedup_by_key(|of| Id::of(of));
    let standings = (!all.is_empty()).then(|| view.api.standings.now(&view.catalog));
    let row = |of: &Arc<Resource>| {
        let Metadata { name, namespace, .. } = of.metadata();
        let problem = standings.as_ref().and_then(|all| problem(all, of));
        json!({"kind": of.kind(), "name": name, "namespace": namespace, "problem": problem})
    };
    all.into_iter().map(row).collect()
}

fn problem(standings: &Standings, of: &Resource) -> Option<String> {
    let status = standings.status(&Id::of(of));
    (!status.is_empty() && status != Standings::SOUND).then(|| status.to_owned())
}

fn failure(Failure { seen, from }: &Failure) -> Value {
    let kept = &seen.kept;
    let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    json!({
        "atMs": kept.started_us / 1000,
        "reason": some(&kept.reason),
        "sentence": some(&kept.sentence),
        "status": (kept.status > 0).then_some(kept.status),
        "grpcStatus": kept.grpc,
        "from": &**from,
        "route": some(&kept.route),
        "method": some(&kept.method),
        "path": some(&kept.path),
        "traceId": format!("{:032x}", kept.trace_id),
    })
}
