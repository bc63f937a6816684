//! What is known of services, counted when somebody scrapes: nothing on the data path writes it.
//!
//! Services come from the picture of the mesh, so that each family has a bound: 1024 services.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use arc_swap::ArcSwap;

use crate::agent::session::{EndpointState, Unready};
use crate::circuit;
use crate::limit::load::Gates;
use crate::model::{CircuitState, Endpoint};
use crate::outbound::{Backend, Snapshot};
use crate::runtime::clock;
use crate::telemetry::metrics::{Desc, Registry, Sink};

const ENDPOINTS: Desc = Desc {
    name: "outrigger_endpoints",
    help: "Endpoints of each service by the state of their circuit.",
    bound: 4096,
    labels: &["service", "state"],
};

const PANIC: Desc = Desc {
    name: "outrigger_panic",
    help: "1 while so few endpoints of a service are ready that circuits are ignored.",
    bound: 1024,
    labels: &["service"],
};

const BUDGET: Desc = Desc {
    name: "outrigger_retry_budget_remaining",
    help: "Retries that the service's budget has left now; rules with a budget of their own are \
           not in it.",
    bound: 1024,
    labels: &["service"],
};

const LIMITS: Desc = Desc {
    name: "outrigger_limit_in_use",
    help: "What each limit of a service counts: requests under way, requests that wait for a \
           connection, connections.",
    bound: 3072,
    labels: &["service", "limit"],
};

const CONCURRENCY: Desc = Desc {
    name: "outrigger_concurrency",
    help: "For each port of the app that has a limit of requests under way: the limit, how many are \
           under way, how many wait.",
    bound: 256,
    labels: &["service", "of"],
};

/// Collects from the newest snapshot, and from the gates of the workload's ports.
pub fn register(registry: &Registry, snapshot: &Arc<ArcSwap<Snapshot>>, gates: &Arc<Gates>) {
    let (snapshot, gates) = (Arc::clone(snapshot), Arc::clone(gates));
    registry.collect(move |sink| {
        let now_us = clock::now_us();
        let snapshot = snapshot.load();
        for backend in snapshot.backends.values() {
            endpoints(sink, backend, now_us);
            limits(sink, backend);
        }
        for target in snapshot.targets.values() {
            let left = target.budget.remaining(now_us);
            sink.gauge(&BUDGET, &[&target.backend.label], left as f64);
        }
        gates.each(|gate| {
            let facts = gate.facts();
            let of = [
                ("limit", facts.limit),
                ("under-way", facts.under_way),
                ("waiting", facts.waiting),
            ];
            for (of, count) in of {
                sink.gauge(&CONCURRENCY, &[&gate.label, of], f64::from(count));
            }
        });
    });
}

/// How requests find the endpoints of every service in use, those that are not simply ready.
pub fn unready_endpoints(snapshot: &Snapshot, now_us: u64) -> Vec<Unready> {
    let of = |backend: &Arc<Backend>| {
        let endpoints = backend.service.endpoints.iter();
        let endpoints =
            endpoints.filter_map(|endpoint| Some((endpoint.address, unready(endpoint, now_us)?)));
        Unready { service: Arc::clone(&backend.label), endpoints: endpoints.collect() }
    };
    snapshot.backends.values().map(of).collect()
}

fn unready(endpoint: &Endpoint, now_us: u64) -> Option<EndpointState> {
    match circuit::state(&endpoint.health, now_us) {
        CircuitState::Open { .. } => Some(EndpointState::Ejected),
        CircuitState::HalfOpen => Some(EndpointState::HalfOpen),
        CircuitState::Closed if endpoint.health.connecting.load(Relaxed) > 0 => {
            Some(EndpointState::Connecting)
        }
        CircuitState::Closed => None,
    }
}

fn endpoints(sink: &mut Sink<'_>, backend: &Backend, now_us: u64) {
    let mut counts = [("ready", 0u32), ("ejected", 0), ("half-open", 0), ("connecting", 0)];
    for endpoint in &backend.service.endpoints {
        let at = match unready(endpoint, now_us) {
            None => 0,
            Some(EndpointState::Ejected) => 1,
            Some(EndpointState::HalfOpen) => 2,
            Some(EndpointState::Connecting) => 3,
        };
        counts[at].1 += 1;
    }
    let label = &*backend.label;
    for (state, count) in counts {
        sink.gauge(&ENDPOINTS, &[label, state], f64::from(count));
    }
    sink.gauge(&PANIC, &[label], f64::from(u8::from(backend.is_panicking(now_us))));
}

fn limits(sink: &mut Sink<'_>, backend: &Backend) {
    let label = &*backend.label;
    let facts = backend.bulkhead.facts();
    let in_use = [
        ("requests", facts.requests),
        ("pending", facts.pending),
        ("connections", facts.connections),
    ];
    for (limit, count) in in_use {
        sink.gauge(&LIMITS, &[label, limit], f64::from(count));
    }
}
