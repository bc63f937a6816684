//! The pages: live state as JSON, and an index for people.

use std::sync::atomic::Ordering::Relaxed;
use std::time::SystemTime;

use serde_json::{Value, json};

use super::view::View;
use crate::agent::session::{Facts, Status};
use crate::balance;
use crate::circuit;
use crate::http::answers::{self, Answer, timestamp};
use crate::model::{CircuitState, Endpoint};
use crate::outbound::Target;
use crate::runtime::{Phase, clock};

pub fn services(view: &View) -> Value {
    let snapshot = view.snapshot.load();
    let now_us = clock::now_us();
    let mut services: Vec<_> = snapshot.targets.values().collect();
    services.sort_by(|a, b| a.backend.label.cmp(&b.backend.label));
    let services: Vec<Value> = services
        .into_iter()
        .map(|target| {
            let endpoints = &target.backend.service.endpoints;
            let ready = endpoints.iter().filter(|e| is_ready(target, e, now_us)).count();
            json!({
                "name": &*target.backend.label,
                "protocol": target.backend.service.protocol.as_str(),
                "endpoints": endpoints.len(),
                "ready": ready,
                "requests": target.backend.bulkhead.requests(),
            })
        })
        .collect();
    told(view, json!({"version": snapshot.version, "services": services}))
}

/// Adds where it comes from, and how old it is.
fn told(view: &View, mut page: Value) -> Value {
    if let Some(status) = &view.control_plane {
        page["controlPlane"] = control_plane(status);
    }
    page
}

fn control_plane(status: &Status) -> Value {
    let Facts { connected, since, version, updated, heard, error, renews: _, refusals } =
        status.facts();
    let age = |time: SystemTime| {
        SystemTime::now().duration_since(time).map_or(0, |age| age.as_millis() as u64)
    };
    json!({
        "address": status.address,
        "connected": connected,
        "since": since.map(timestamp),
        "version": version,
        "lastUpdate": updated.map(timestamp),
        "ageMs": heard.map(age),
        "error": error,
        "registrationRefused": refusals,
    })
}

fn is_ready(target: &Target, endpoint: &Endpoint, now_us: u64) -> bool {
    circuit::is_ready(&endpoint.health, &target.backend.service.policy.circuit, now_us)
}

pub fn endpoints(view: &View) -> Value {
    let snapshot = view.snapshot.load();
    let now_us = clock::now_us();
    let mut targets: Vec<_> = snapshot.targets.values().collect();
    targets.sort_by(|a, b| a.backend.label.cmp(&b.backend.label));
    let endpoints: Vec<Value> = targets
        .into_iter()
        .flat_map(|target| {
            target.backend.service.endpoints.iter().map(move |e| endpoint(target, e, now_us))
        })
        .collect();
    told(view, json!({"version": snapshot.version, "endpoints": endpoints}))
}

fn endpoint(target: &Target, endpoint: &Endpoint, now_us: u64) -> Value {
    let health = &endpoint.health;
    let circuit = circuit::state(health, now_us);
    let state = match circuit {
        CircuitState::Open { .. } => "ejected",
        CircuitState::HalfOpen => "half-open",
        CircuitState::Closed if health.connecting.load(Relaxed) > 0 => "connecting",
        CircuitState::Closed => "ready",
    };
    let readmit = match circuit {
        CircuitState::Open { until_us } => Some(until_us.saturating_sub(now_us) / 1000),
        _ => None,
    };
    let last_error = health.last_error.lock().ok().and_then(|error| {
        error.as_ref().map(|error| {
            json!({
                "reason": error.reason.as_str(),
                "text": error.text,
                "agoMs": now_us.saturating_sub(error.at_us) / 1000,
            })
        })
    });
    json!({
        "service": &*target.backend.label,
        "address": endpoint.address.to_string(),
        "workload": &*endpoint.workload,
        "identity": endpoint.identity.as_ref().map(ToString::to_string),
        "zone": endpoint.zone.as_deref(),
        "weight": endpoint.weight,
        "state": state,
        "inFlight": health.in_flight.load(Relaxed),
        "ewmaMs": balance::estimate_us(health, now_us).map(|us| (f64::from(us) / 10.0).round() / 100.0),
        "consecutiveFailures": health.consecutive_failures.load(Relaxed),
        "lastError": last_error,
        "readmitInMs": readmit,
    })
}

pub fn certificates(view: &View) -> Value {
    let Some(credentials) = view.credentials.load_full() else {
        return json!({"identity": null, "note": "this sidecar has no identity; it can't reach meshed endpoints or take mutual TLS"});
    };
    let (svid, bundle) = (credentials.svid(), credentials.bundle());
    let roots: Vec<Value> = bundle
        .roots()
        .iter()
        .map(|root| {
            json!({
                "subject": root.subject,
                "serial": root.serial,
                "notBefore": timestamp(root.not_before),
                "notAfter": timestamp(root.not_after),
            })
        })
        .collect();
    json!({
        "identity": svid.id().as_str(),
        "serial": svid.serial(),
        "chain": svid.chain().len(),
        "notBefore": timestamp(svid.not_before()),
        "notAfter": timestamp(svid.not_after()),
        "nextRotation": next_rotation(view),
        "bundleGeneration": bundle.generation(),
        "trustBundle": roots,
    })
}

fn next_rotation(view: &View) -> Value {
    match &view.control_plane {
        Some(status) => json!(status.facts().renews.map(timestamp)),
        None => json!("when the identity files change"),
    }
}

pub fn connections(view: &View) -> Value {
    let now_us = clock::now_us();
    let connections: Vec<Value> = view
        .ledger
        .connections()
        .into_iter()
        .map(|connection| {
            json!({
                "direction": connection.direction.as_str(),
                "client": connection.client.to_string(),
                "listener": connection.listener.to_string(),
                "peer": connection.peer().map(|peer| peer.to_string()),
                "protocol": connection.speaks().as_str(),
                "ageMs": now_us.saturating_sub(connection.opened_us) / 1000,
                "bytesIn": connection.bytes.a_to_b.load(Relaxed),
                "bytesOut": connection.bytes.b_to_a.load(Relaxed),
                "streams": connection.streams.load(Relaxed),
            })
        })
        .collect();
    json!({"connections": connections})
}

/// A page for people: what this is, whether it is well, and where to look on.
pub fn index(view: &View) -> Answer {
    let state = match view.drain.phase() {
        Phase::Serving if view.readiness.missing().is_empty() => "ready".to_owned(),
        Phase::Serving => format!("waiting for {}", view.readiness.missing().join(", ")),
        Phase::Draining | Phase::Refusing | Phase::Closing => "draining".to_owned(),
    };
    let identity = view.credentials.load_full();
    let identity = identity.as_ref().map_or("none", |credentials| credentials.svid().id().as_str());
    let snapshot = view.snapshot.load();
    let rows = [
        ("workload", view.workload.to_string()),
        ("state", state),
        ("identity", identity.to_owned()),
        ("services", snapshot.targets.len().to_string()),
        ("open connections", view.drain.open_connections().to_string()),
        ("version", env!("CARGO_PKG_VERSION").to_owned()),
    ];
    let links = [
        "/services",
        "/endpoints",
        "/connections",
        "/certs",
        "/config",
        "/metrics",
        "/ready",
        "/log",
    ];
    let changes = "<code>POST /drain</code>, <code>POST /shutdown</code>, \
                   <code>POST /log?level=debug</code>";
    answers::index(&view.workload, &rows, &links, changes)
}
