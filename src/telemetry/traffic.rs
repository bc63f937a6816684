//! The metric families of traffic, and what one worker counts for one route.
//!
//! A [`RouteMeter`] is made when a worker first uses a route of a snapshot; a request then costs
//! comparisons of a few small numbers to find its counter, and no lock.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

use super::metrics::{Counter, Family, Gauge, Histogram, Registry};
use crate::model::{Direction, Reason, SpiffeId};

/// Series of requests that one process may have; services × routes × codes × peers stay far below
/// in a mesh whose sidecars know what they use.
const REQUEST_SERIES: usize = 4096;
const ROUTE_SERIES: usize = 1024;
/// Four priorities of each port that has a gate of its own, and of those that share one.
const SHED_SERIES: usize = 260;

/// The labels of each series of requests, and of their durations.
pub const REQUESTS: [&str; 8] =
    ["direction", "service", "route", "protocol", "code", "grpc_status", "peer", "reason"];
pub const DURATIONS: [&str; 3] = ["direction", "service", "route"];
/// And of what is open.
pub const OPEN: [&str; 5] = ["direction", "service", "route", "protocol", "peer"];

/// All families; made once a process.
#[derive(Clone)]
pub struct TrafficMetrics {
    requests: Family<Counter>,
    durations: Family<Histogram>,
    open: Family<Gauge>,
    connections: Family<Counter>,
    active: Family<Gauge>,
    bytes: Family<Counter>,
    retries: Family<Counter>,
    transitions: Family<Counter>,
    decisions: Family<Counter>,
    rate_limited: Family<Counter>,
    shed: Family<Counter>,
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
            open: registry.gauge_family(
                "outrigger_requests_open",
                "TCP connections, tunnels, and requests that last longer than a second: open now.",
                REQUEST_SERIES,
                &OPEN,
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
            rate_limited: registry.counter_family(
                "outrigger_rate_limited_total",
                "Requests that a rate limit refused, by the policy that has it.",
                ROUTE_SERIES,
                &["policy"],
            ),
            shed: registry.counter_family(
                "outrigger_shed_total",
                "Requests that got no place among those under way, by their priority.",
                SHED_SERIES,
                &["service", "priority"],
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

    /// What is open; labels as in [`OPEN`].
    pub fn open(&self) -> &Family<Gauge> {
        &self.open
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

    pub fn shed(&self, service: &str, priority: &str) -> Counter {
        self.shed.with(&[service, priority])
    }

    pub fn rate_limited(&self, policy: &str) -> Counter {
        self.rate_limited.with(&[policy])
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
    /// In the order of [`Kept::key`].
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
/// Arbitrary: a hundred callers of a route that ends in ten ways.
const KEPT: usize = 1024;

/// Numbers first: they differ where peers are alike in their first forty letters.
type Key<'a> = (u16, Option<u8>, Option<u8>, u8, Option<&'a str>);

fn key<'a>(
    spoken: Spoken,
    code: u16,
    grpc: Option<u8>,
    reason: Option<Reason>,
    peer: Option<&'a SpiffeId>,
) -> Key<'a> {
    (code, grpc, reason.map(|reason| reason as u8), spoken as u8, peer.map(SpiffeId::as_str))
}

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
        let wanted = ending.key();
        match kept.binary_search_by(|kept| kept.key().cmp(&wanted)) {
            Ok(at) => kept[at].counter.inc(),
            Err(at) => {
                let counter = self.look_up(ending);
                counter.inc();
                if kept.len() < KEPT {
                    kept.insert(at, Kept::new(ending, counter));
                }
            }
        }
    }

    /// What counts exchanges of it that are open.
    pub fn open(&self, spoken: Spoken, peer: Option<&SpiffeId>) -> Gauge {
        self.metrics.open.with(&[
            self.direction.as_str(),
            &self.service,
            &self.route,
            spoken.as_str(),
            peer.map_or("", SpiffeId::as_str),
        ])
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

    fn key(&self) -> Key<'_> {
        key(self.spoken, self.code, self.grpc, self.reason, self.peer.as_ref())
    }
}

impl<'a> Ending<'a> {
    fn key(self) -> Key<'a> {
        key(self.spoken, self.code, self.grpc, self.reason, self.peer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_ways_to_end_are_found_again() {
        let metrics = TrafficMetrics::register(&Registry::default());
        let meter =
            RouteMeter::new(&metrics, Direction::Inbound, "web.shop:80".into(), "web".into());
        let peers: Vec<SpiffeId> = (0..50)
            .map(|n| format!("spiffe://cluster.local/ns/shop/sa/caller-{n}"))
            .map(|id| SpiffeId::parse(&id).expect("an id"))
            .collect();
        let ending = |n: usize| Ending {
            spoken: [Spoken::Http1, Spoken::Grpc][n % 2],
            code: [200, 404, 503, 500][n % 4],
            grpc: [None, Some(14)][n % 2],
            peer: peers.get(n / 8),
            reason: [None, Some(Reason::NoRoute)][n / 4 % 2],
            trace_id: 0,
        };
        for round in 1..=3 {
            (0..400).rev().for_each(|n| meter.count(ending(n), Duration::from_millis(1)));
            assert_eq!(meter.kept.borrow().len(), 400);
            assert!((0..400).all(|n| meter.look_up(ending(n)).value() == round), "{round}");
        }
    }

    #[test]
    fn no_more_are_kept_than_there_is_room_for() {
        let metrics = TrafficMetrics::register(&Registry::default());
        let meter = RouteMeter::new(&metrics, Direction::Inbound, "w".into(), "r".into());
        let ending = |code| Ending {
            spoken: Spoken::Http1,
            code,
            grpc: None,
            peer: None,
            reason: None,
            trace_id: 0,
        };
        for code in (0..2000).chain(0..2000) {
            meter.count(ending(code), Duration::from_millis(1));
        }
        assert_eq!(meter.kept.borrow().len(), KEPT);
        assert!((0..2000).all(|code| meter.look_up(ending(code)).value() == 2));
    }
}
