//! What happened: for each edge (who calls whom) the calls, as the caller saw them, and the
//! identities, as the called side saw them; and what happened besides.
//!
//! Callers record results and latencies; receivers record whose certificate came with the call.
//! Neither knows of the other, so that an identity in the result was really presented.

use std::error::Error;
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use super::histogram::Histogram;
use super::shop::SERVICES;

/// So many failures of an edge are remembered; the others are counted.
const EXAMPLES: usize = 3;

/// Everything that is counted.
#[derive(Debug)]
pub(super) struct Tally {
    pub(super) begun: Instant,
    pub(super) edges: Vec<Arc<Edge>>,
    happened: Mutex<Vec<Event>>,
}

/// Something that happened, and when: milliseconds since the demo began.
#[derive(Clone, Debug, serde::Serialize)]
pub(super) struct Event {
    pub(super) at_ms: u64,
    pub(super) what: String,
}

/// The calls of one service to another.
#[derive(Debug)]
pub(super) struct Edge {
    pub(super) from: &'static str,
    pub(super) to: &'static str,
    pub(super) protocol: &'static str,
    requests: AtomicU64,
    failed: AtomicU64,
    /// Round trips that the caller made again, because the mesh can't.
    repeated: AtomicU64,
    latency: Histogram,
    failures: Mutex<Vec<String>>,
    /// Observations without an identity.
    anonymous: AtomicU64,
    peer: OnceLock<String>,
}

impl Tally {
    /// With an edge for each call in the plan.
    pub(super) fn new() -> Arc<Tally> {
        let calls = |from: &'static super::shop::Service| {
            let called = from.calls.iter().filter_map(|name| super::shop::service(name));
            called.map(|to| Arc::new(Edge::new(from.name, to.name, to.protocol)))
        };
        Arc::new(Tally {
            begun: Instant::now(),
            edges: SERVICES.iter().flat_map(calls).collect(),
            happened: Mutex::default(),
        })
    }

    /// The edge that leads to a service. In this plan there is just one.
    pub(super) fn to(&self, service: &str) -> Arc<Edge> {
        let edge = self.edges.iter().find(|edge| edge.to == service);
        Arc::clone(edge.expect("the plan has a caller for every service that is asked for"))
    }

    pub(super) fn happened(&self, what: String) {
        let at_ms = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.happened.lock().unwrap_or_else(PoisonError::into_inner).push(Event { at_ms, what });
    }

    pub(super) fn events(&self) -> Vec<Event> {
        self.happened.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A few failures of each edge, in words.
    pub(super) fn failures(&self) -> Vec<String> {
        self.edges.iter().flat_map(|edge| edge.failures()).collect()
    }
}

impl Edge {
    pub(super) fn new(from: &'static str, to: &'static str, protocol: &'static str) -> Edge {
        Edge {
            from,
            to,
            protocol,
            requests: AtomicU64::default(),
            failed: AtomicU64::default(),
            repeated: AtomicU64::default(),
            latency: Histogram::default(),
            failures: Mutex::default(),
            anonymous: AtomicU64::default(),
            peer: OnceLock::new(),
        }
    }

    /// The caller's side: makes a call, and records how it went.
    pub(super) async fn timed<T, E: Error>(
        &self,
        call: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        let begun = Instant::now();
        let result = call.await;
        self.record(begun.elapsed(), result.as_ref().err());
        result
    }

    /// The caller's side: a call has ended.
    pub(super) fn record(&self, took: Duration, failure: Option<&impl Error>) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.latency.record(took);
        let Some(failure) = failure else { return };
        self.failed.fetch_add(1, Ordering::Relaxed);
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        if failures.len() < EXAMPLES {
            failures.push(format!("{} → {}: {}", self.from, self.to, super::explain(failure)));
        }
    }

    /// The called side: a call or a connection came, with or without an identity.
    pub(super) fn observe(&self, peer: Option<&str>) {
        match peer {
            Some(peer) => {
                self.peer.get_or_init(|| peer.to_owned());
            }
            None => {
                self.anonymous.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    pub(super) fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    pub(super) fn failed(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }

    /// The caller's side: a round trip broke off, and is made again.
    pub(super) fn repeat(&self) {
        self.repeated.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn repeated(&self) -> u64 {
        self.repeated.load(Ordering::Relaxed)
    }

    pub(super) fn quantile(&self, share: f64) -> Option<Duration> {
        self.latency.quantile(share)
    }

    /// Whose identity came with the calls.
    pub(super) fn peer(&self) -> Option<&str> {
        self.peer.get().map(String::as_str)
    }

    /// True when something was observed, and nothing came without an identity.
    pub(super) fn is_mtls(&self) -> bool {
        self.peer.get().is_some() && self.anonymous.load(Ordering::Relaxed) == 0
    }

    fn failures(&self) -> Vec<String> {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_call_without_identity_is_no_mtls() {
        let edge = Edge::new("a", "b", "http");
        assert!(!edge.is_mtls(), "nothing was seen yet");
        edge.observe(Some("spiffe://x/ns/a/sa/a"));
        assert!(edge.is_mtls());
        assert_eq!(edge.peer(), Some("spiffe://x/ns/a/sa/a"));
        edge.observe(None);
        assert!(!edge.is_mtls());
    }

    #[test]
    fn failures_are_counted_and_the_first_remembered() {
        let tally = Tally::new();
        let edge = tally.to("orders");
        let error = std::io::Error::other("broke");
        edge.record(Duration::from_millis(1), None::<&std::io::Error>);
        (0..9).for_each(|_| edge.record(Duration::from_millis(1), Some(&error)));
        assert_eq!((edge.requests(), edge.failed()), (10, 9));
        assert_eq!(tally.failures(), vec!["web → orders: broke"; EXAMPLES]);
    }

    #[test]
    fn every_called_service_has_its_edge() {
        let tally = Tally::new();
        let edges: Vec<_> = tally.edges.iter().map(|e| (e.from, e.to, e.protocol)).collect();
        assert_eq!(
            edges,
            [
                ("shopper", "web", "http"),
                ("web", "orders", "http"),
                ("web", "prices", "grpc"),
                ("orders", "ledger", "tcp"),
            ]
        );
    }
}
