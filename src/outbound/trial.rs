//! One attempt on one endpoint, as its circuit and its load count it.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::worker::Outbound;
use crate::circuit::{self, Pass, Transition, Verdict};
use crate::model::Endpoint;

use super::snapshot::Target;

/// An attempt on one endpoint: counted while it lives, settled with its circuit exactly once.
pub struct Trial {
    pub endpoint: Arc<Endpoint>,
    target: Arc<Target>,
    pass: Pass,
    settled: bool,
}

impl Trial {
    /// `pass` is what the endpoint's circuit gave.
    pub fn begin(target: &Arc<Target>, endpoint: &Arc<Endpoint>, pass: Pass) -> Self {
        endpoint.health.in_flight.fetch_add(1, Relaxed);
        Self { endpoint: Arc::clone(endpoint), target: Arc::clone(target), pass, settled: false }
    }

    /// Tells the circuit how it went.
    pub fn settle(&mut self, worker: &Outbound, verdict: Verdict, now_us: u64) {
        if std::mem::replace(&mut self.settled, true) {
            return;
        }
        let service = &self.target.service;
        let policy = &service.policy.circuit;
        let changed = circuit::settle(
            &self.endpoint,
            &service.endpoints,
            self.pass,
            verdict,
            policy,
            now_us,
            &mut worker.rng.borrow_mut(),
        );
        if let Some(transition) = changed {
            report(worker, &self.target, &self.endpoint, transition);
        }
    }
}

/// Circuits change rarely, so this may look its counter up.
fn report(worker: &Outbound, target: &Target, endpoint: &Endpoint, transition: Transition) {
    let service = &*target.label;
    match transition {
        Transition::Opened => {
            tracing::warn!(service, endpoint = %endpoint.address, "circuit opened: the endpoint failed too often");
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
        if !self.settled && self.pass == Pass::Probe {
            // Given up before it said anything: the probe's place must not stay taken.
            circuit::give_back(&self.endpoint.health);
        }
    }
}
