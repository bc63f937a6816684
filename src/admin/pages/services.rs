//! Services and their endpoints, as this sidecar was told of them and as they do.

use std::sync::atomic::Ordering::Relaxed;

use serde_json::{Value, json};

use super::{backends, told};
use crate::admin::view::View;
use crate::balance;
use crate::circuit::{self, Rate};
use crate::model::{CircuitState, Endpoint, EndpointHealth};
use crate::outbound::{Backend, Snapshot};
use crate::runtime::clock;

pub fn services(view: &View) -> Value {
    told(view, services_of(&view.snapshot.load(), clock::now_us()))
}

pub fn endpoints(view: &View) -> Value {
    told(view, endpoints_of(&view.snapshot.load(), clock::now_us()))
}

pub(super) fn services_of(snapshot: &Snapshot, now_us: u64) -> Value {
    let services: Vec<Value> =
        backends(snapshot).into_iter().map(|backend| service(backend, now_us)).collect();
    json!({"version": snapshot.version, "services": services})
}

fn service(backend: &Backend, now_us: u64) -> Value {
    let endpoints = &backend.service.endpoints;
    let circuit = &backend.policy().circuit;
    let is_ready = |e: &&std::sync::Arc<Endpoint>| circuit::is_ready(&e.health, circuit, now_us);
    let in_use = backend.bulkhead.facts();
    json!({
        "name": &*backend.label,
        "protocol": backend.service.protocol.as_str(),
        "balancing": backend.policy().balancing.policy.as_str(),
        "routes": backend.service.routes.len(),
        "endpoints": endpoints.len(),
        "ready": endpoints.iter().filter(is_ready).count(),
        "panicking": backend.is_panicking(now_us),
        "requests": in_use.requests,
        "pending": in_use.pending,
        "connections": in_use.connections,
    })
}

pub(super) fn endpoints_of(snapshot: &Snapshot, now_us: u64) -> Value {
    let of = |backend: &Backend| -> Vec<Value> {
        let all = backend.service.endpoints.iter().enumerate();
        all.map(|(index, e)| endpoint(backend, index, e, now_us)).collect()
    };
    let endpoints: Vec<Value> = backends(snapshot).into_iter().flat_map(of).collect();
    json!({"version": snapshot.version, "endpoints": endpoints})
}

fn endpoint(backend: &Backend, index: usize, endpoint: &Endpoint, now_us: u64) -> Value {
    let health = &endpoint.health;
    let facts = circuit::state_facts(health, &backend.policy().circuit, now_us);
    let ewma = balance::estimate_us(health, now_us);
    json!({
        "service": &*backend.label,
        "address": endpoint.address.to_string(),
        "host": endpoint.host.as_deref(),
        "workload": &*endpoint.workload,
        "identity": endpoint.identity.as_ref().map(ToString::to_string),
        "zone": endpoint.zone.as_deref(),
        "local": backend.balancer.is_local(index),
        "weight": endpoint.weight,
        "state": state(health, facts.state),
        "inFlight": health.in_flight.load(Relaxed),
        "ewmaMs": ewma.map(|us| (f64::from(us) / 10.0).round() / 100.0),
        "consecutiveFailures": facts.consecutive_failures,
        "failureRate": facts.failures.map(rate),
        "slowRate": facts.slow.map(rate),
        "reopened": facts.reopened,
        "heldBackMs": facts.held_back_us.map(|at| now_us.saturating_sub(at) / 1000),
        "lastError": last_error(health, now_us),
        "readmitInMs": readmit_in(facts.state, now_us),
    })
}

/// The word for what an endpoint takes.
pub(super) fn state(health: &EndpointHealth, circuit: CircuitState) -> &'static str {
    match circuit {
        CircuitState::Open { .. } => "ejected",
        CircuitState::HalfOpen => "half-open",
        CircuitState::Closed if health.connecting.load(Relaxed) > 0 => "connecting",
        CircuitState::Closed => "ready",
    }
}

/// Milliseconds until an ejected endpoint is asked again.
pub(super) fn readmit_in(circuit: CircuitState, now_us: u64) -> Option<u64> {
    match circuit {
        CircuitState::Open { until_us } => Some(until_us.saturating_sub(now_us) / 1000),
        CircuitState::Closed | CircuitState::HalfOpen => None,
    }
}

/// A share of the policy's window, with what it is a share of.
fn rate(rate: Rate) -> Value {
    let percent = rate.percent().map(|percent| (f64::from(percent) * 10.0).round() / 10.0);
    json!({"percent": percent, "bad": rate.bad, "requests": rate.requests})
}

fn last_error(health: &EndpointHealth, now_us: u64) -> Option<Value> {
    let error = health.last_error.lock().ok()?;
    let error = error.as_ref()?;
    Some(json!({
        "reason": error.reason.as_str(),
        "text": error.text,
        "agoMs": now_us.saturating_sub(error.at_us) / 1000,
    }))
}
