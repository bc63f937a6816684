//! The metric families of traffic, and what one worker counts for one route.
//!
//! A [`RouteMeter`] is made when a worker first uses a route of a snapshot; a request then costs a
//! comparison of a few small numbers to find its counter, and no lock.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

use super::metrics::{Counter, Family, Gauge, Histogram, Registry};
use crate::model::{Direction, Reason, SpiffeId};

/// Series of requests that one process may have; services × routes × codes × peers stay far below
/// in a mesh whose sidecars know what they use.
const REQUEST_SERIES: usize = 4096;
const ROUTE_SERIES: usize = 1024;

/// The labels of each series of requests, and of their durations.
pub const REQUESTS: [&str; 8] =
    ["direction", "service", "route", "protocol", "code", "grpc_status", "peer", "reason"];
pub const DURATIONS: [&str; 3] = ["direction", "service", "route"];

/// All families; made once a process.
#[derive(Clone)]
pub struct TrafficMetrics {
    requests: Family<Counter>,
    durations: Family<Histogram>,
    connections: Family<Counter>,
    active: Family<Gauge>,
    bytes: Family<Counter>,
    retries: Family<Counter>,
    transitions: Family<Counter>,
    decisions: Family<Counter>,
    pub floor_held: Family<Counter>,
    pub mirrored: Family<Counter>,
}

impl TrafficMetrics {
    pub fn register(registry: &Registry) -> Self {
        Self {
            requests: registry.counter_family(
                "outrigger_requests_total",
                "Requests that ended, by how they ended.",
                REQUEST_SERIES,
                &REQUESTS,
            ),
            durations: registry.histogram_family(
                "outrigger_request_duration_seconds",
                "From a request's head to the last byte of its answer.",
                ROUTE_SERIES,
                &DURATIONS,
            ),
            connections: registry.counter_family(
                "outrigger_connections_total",
                "Connections accepted.",
                64,
                &["direction", "protocol", "tls"],
            ),
            active: registry.gauge_family(
                "outrigger_connections_active",
                "Connections open now.",
                64,
                &["direction", "protocol", "tls"],
            ),
            bytes: registry.counter_family(
                "outrigger_bytes_total",
                "Bytes of bodies and opaque streams; way is in (from downstream) or out.",
                8,
                &["direction", "way"],
            ),
            retries: registry.counter_family(
                "outrigger_retries_total",
                "Attempts made again, and those that the policy or budget did not allow.",
                ROUTE_SERIES,
                &["service", "route", "outcome"],
            ),
            transitions: registry.counter_family(
                "outrigger_circuit_transitions_total",
                "Changes of an endpoint's circuit.",
                ROUTE_SERIES,
                &["service", "to"],
            ),
            decisions: registry.counter_family(
                "outrigger_access_decisions_total",
                "Access decisions, for each request and opaque connection.",
                ROUTE_SERIES,
                &["policy", "decision"],
            ),
            floor_held: registry.counter_family(
                "outrigger_circuit_held_back_total",
                "Ejections that minReadyEndpoints held back.",
                ROUTE_SERIES,
                &["service"],
            ),
            mirrored: registry.counter_family(
                "outrigger_mirrored_total",
                "Copies of requests, by the mirror's service and whether they were answered.",
                ROUTE_SERIES,
                &["service", "outcome"],
            ),
        }
    }

    /// What became of requests so far; labels as in [`REQUESTS`].
    pub fn requests(&self) -> &Family<Counter> {
        &self.requests
    }

    /// How long they took; labels as in [`DURATIONS`].
    pub fn durations(&self) -> &Family<Histogram> {
        &self.durations
    }

    pub fn connection(&self, direction: Direction, protocol: &str, tls: &str) -> (Counter, Gauge) {
        let labels = [direction.as_str(), protocol, tls];
        (self.connections.with(&labels), self.active.with(&labels))
    }

    pub fn bytes(&self, direction: Direction) -> (Counter, Counter) {
        let way = |way| self.bytes.with(&[direction.as_str(), way]);
        (way("in"), way("out"))
    }

    pub fn transition(&self, service: &str, to: &str) -> Counter {
        self.transitions.with(&[service, to])
    }

    pub fn decision(&self, policy: &str, decision: &str) -> Counter {
        self.decisions.with(&[policy, decision])
    }
}

/// What was spoken downstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spoken {
    Http1,
    Http2,
    Grpc,
    Tcp,
}

impl Spoken {
    /// The metric label and log field.
    pub fn as_str(self) -> &'static str {
        match self {
            Spoken::Http1 => "http/1.1",
            Spoken::Http2 => "http/2",
            Spoken::Grpc => "grpc",
            Spoken::Tcp => "tcp",
        }
    }
}

/// How a request ended, as far as its counter goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ending<'a> {
    pub spoken: Spoken,
    pub code: u16,
    pub grpc: Option<u8>,
    pub peer: Option<&'a SpiffeId>,
    pub reason: Option<Reason>,
    /// The trace that keeps it; zero: none does.
    pub trace_id: u128,
}

/// Counters of one route, kept by one worker.
pub struct RouteMeter {
    metrics: TrafficMetrics,
    pub direction: Direction,
    pub service: Arc<str>,
    pub route: Arc<str>,
    duration: Histogram,
    kept: RefCell<Vec<Kept>>,
    pub retried: Counter,
    pub not_allowed: Counter,
    pub over_budget: Counter,
    pub not_repeatable: Counter,
}

struct Kept {
    spoken: Spoken,
    code: u16,
    grpc: Option<u8>,
    peer: Option<SpiffeId>,
    reason: Option<Reason>,
    counter: Counter,
}

/// Counters that one worker keeps for one route at most; beyond it they are looked up each time.
const KEPT: usize = 64;

impl RouteMeter {
    pub fn new(
        metrics: &TrafficMetrics,
        direction: Direction,
        service: Arc<str>,
        route: Arc<str>,
    ) -> Self {
        let retry = |outcome| metrics.retries.with(&[&service, &route, outcome]);
        Self {
            duration: metrics.durations.with(&[direction.as_str(), &service, &route]),
            retried: retry("retried"),
            not_allowed: retry("not-allowed"),
            over_budget: retry("over-budget"),
            not_repeatable: retry("not-repeatable"),
            metrics: metrics.clone(),
            direction,
            service,
            route,
            kept: RefCell::default(),
        }
    }

    /// Counts a request that ended.
    pub fn count(&self, ending: Ending<'_>, took: Duration) {
        match ending.trace_id {
            0 => self.duration.observe(took),
            trace_id => self.duration.observe_with(took, trace_id),
        }
        let mut kept = self.kept.borrow_mut();
        match kept.iter().position(|kept| kept.is(ending)) {
            Some(at) => kept[at].counter.inc(),
            None => {
                let counter = self.look_up(ending);
                counter.inc();
                if kept.len() < KEPT {
                    kept.push(Kept::new(ending, counter));
                }
            }
        }
    }

    fn look_up(&self, ending: Ending<'_>) -> Counter {
        let code = ending.code.to_string();
        let grpc = ending.grpc.map(|status| status.to_string()).unwrap_or_default();
        self.metrics.requests.with(&[
            self.direction.as_str(),
            &self.service,
            &self.route,
            ending.spoken.as_str(),
            &code,
            &grpc,
            ending.peer.map_or("", SpiffeId::as_str),
            ending.reason.map_or("", Reason::as_str),
        ])
    }
}

impl Kept {
    fn new(ending: Ending<'_>, counter: Counter) -> Self {
        let Ending { spoken, code, grpc, peer, reason, trace_id: _ } = ending;
        Self { spoken, code, grpc, peer: peer.cloned(), reason, counter }
    }

    fn is(&self, ending: Ending<'_>) -> bool {
        self.code == ending.code
            && self.spoken == ending.spoken
            && self.grpc == ending.grpc
            && self.reason == ending.reason
            && self.peer.as_ref() == ending.peer
    }
}
