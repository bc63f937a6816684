//! One attempt on one endpoint, as its circuit and its load count it.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, PoisonError};

use super::backend::Backend;
use super::verdict;
use super::worker::Outbound;
use crate::circuit::{self, Pass, Transition, Verdict};
use crate::http::respond::Failure;
use crate::model::{Endpoint, LastError, Reason};
use crate::retry::Failed;
use crate::telemetry::span::Circuit;

/// An attempt on one endpoint: counted while it lives, settled with its circuit exactly once.
pub struct Trial {
    pub endpoint: Arc<Endpoint>,
    pub backend: Arc<Backend>,
    pass: Pass,
    settled: bool,
}

impl Trial {
    /// `pass` is what the endpoint's circuit gave.
    pub fn begin(backend: &Arc<Backend>, endpoint: &Arc<Endpoint>, pass: Pass) -> Self {
        endpoint.health.in_flight.fetch_add(1, Relaxed);
        let (endpoint, backend) = (Arc::clone(endpoint), Arc::clone(backend));
        Self { endpoint, backend, pass, settled: false }
    }

    /// Whether the circuit waits for it to let others through.
    pub fn is_probe(&self) -> bool {
        matches!(self.pass, Pass::Probe(_))
    }

    /// What it is to a circuit that is not simply closed.
    pub fn circuit(&self) -> Option<Circuit> {
        match self.pass {
            Pass::Normal => None,
            Pass::Probe(_) => Some(Circuit::HalfOpen),
            Pass::Needed => Some(Circuit::Ignored),
        }
    }

    /// Tells the circuit how it went; `took_us` is the time to the answer's head.
    pub fn settle(
        &mut self,
        worker: &Outbound,
        verdict: Verdict,
        took_us: Option<u64>,
        now_us: u64,
    ) {
        if std::mem::replace(&mut self.settled, true) {
            return;
        }
        let changed = circuit::settle(
            &self.endpoint,
            &self.backend.service.endpoints,
            self.pass,
            verdict,
            took_us,
            &self.backend.policy().circuit,
            now_us,
            &mut worker.rng.borrow_mut(),
        );
        if let Some(transition) = changed {
            report(worker, &self.backend, &self.endpoint, transition);
        }
    }

    /// It had no answer: tells the circuit, and keeps why for the pages.
    pub fn fail(
        &mut self,
        worker: &Outbound,
        failed: Option<Failed>,
        failure: &Failure,
        took_us: Option<u64>,
        now_us: u64,
    ) {
        // That the caller went away says nothing about the endpoint.
        if failure.reason != Reason::ClientClosed {
            self.note_error(failure.reason, failure.sentence(), now_us);
        }
        let verdict = verdict::of_failure(&self.backend, failed, failure.reason);
        self.settle(worker, verdict, took_us, now_us);
    }

    /// Keeps what went wrong for the pages.
    pub fn note_error(&self, reason: Reason, text: &str, now_us: u64) {
        let error = LastError { reason, text: text.to_owned(), at_us: now_us };
        self.endpoint.health.note_error(error);
    }
}

/// Circuits change rarely, so this may look its counter up.
fn report(worker: &Outbound, backend: &Backend, endpoint: &Endpoint, transition: Transition) {
    let service = &*backend.label;
    match transition {
        Transition::Opened => {
            let last = endpoint.health.last_error.lock().unwrap_or_else(PoisonError::into_inner);
            let (reason, why) = last.as_ref().map_or(("", ""), |e| (e.reason.as_str(), &e.text));
            tracing::warn!(service, endpoint = %endpoint.address, reason, why, "circuit opened: the endpoint failed too often");
            worker.shared.metrics.transition(service, "open").inc();
        }
        Transition::Closed => {
            tracing::info!(service, endpoint = %endpoint.address, "circuit closed: the endpoint is well again");
            worker.shared.metrics.transition(service, "closed").inc();
        }
        Transition::HeldBack => worker.shared.metrics.floor_held.with(&[service]).inc(),
    }
}

impl Drop for Trial {
    fn drop(&mut self) {
        self.endpoint.health.in_flight.fetch_sub(1, Relaxed);
        if !self.settled {
            // Given up before it said anything: the probe's place must not stay taken.
            circuit::give_back(&self.endpoint.health, self.pass);
        }
    }
}
