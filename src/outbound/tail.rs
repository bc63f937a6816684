//! What stays with the bodies of a request: its record, its places, its connection.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::Context;

use http::HeaderMap;

use super::worker::Outbound;
use crate::circuit::{self, Pass, Transition, Verdict};
use crate::dial::Via;
use crate::http::patience::Patience;
use crate::http::{BodyError, Tail, classify, headers};
use crate::limit::RequestTicket;
use crate::model::{Endpoint, Reason};
use crate::runtime::clock;
use crate::serve::ledger::UnderWay;
use crate::telemetry::exchange::Exchange;

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

/// The tail of a request's body.
pub struct RequestTail {
    pub exchange: Rc<Exchange>,
    pub patience: Patience,
}

impl Tail for RequestTail {
    fn wait(&mut self, cx: &mut Context<'_>) -> Option<BodyError> {
        self.patience.wait(cx, || self.exchange.moved())
    }

    fn data(&mut self, bytes: usize) {
        self.exchange.count_in(bytes);
    }

    fn trailers(&mut self, trailers: &mut HeaderMap) {
        headers::strip_trailers(trailers);
    }

    fn end(&mut self, error: Option<&BodyError>) {
        if let Some(error) = error {
            self.exchange.blame(error.reason());
        }
    }
}

/// The tail of an answer's body; holds every place until the last byte is through.
pub struct ResponseTail {
    pub exchange: Rc<Exchange>,
    pub via: Via,
    /// The endpoint's count and the request's place, given back with the last byte.
    #[allow(dead_code, reason = "held for their drop")]
    pub held: (Trial, RequestTicket, UnderWay),
    pub patience: Patience,
    pub ended: bool,
}

impl Tail for ResponseTail {
    fn wait(&mut self, cx: &mut Context<'_>) -> Option<BodyError> {
        self.patience.wait(cx, || self.exchange.moved())
    }

    fn drive(&mut self, cx: &mut Context<'_>) {
        self.via.drive(cx);
    }

    fn data(&mut self, bytes: usize) {
        self.exchange.count_out(bytes);
    }

    fn trailers(&mut self, trailers: &mut HeaderMap) {
        headers::strip_trailers(trailers);
        if let Some(status) = classify::grpc_status(trailers) {
            self.exchange.grpc.set(Some(status));
        }
    }

    fn end(&mut self, error: Option<&BodyError>) {
        self.ended = true;
        match error {
            None => {
                let now_us = clock::now_us();
                self.exchange.set_ended(now_us);
                self.via.finish(now_us);
            }
            Some(BodyError::Idle(_)) => self.exchange.blame(Reason::IdleTimeout),
            Some(_) => self.exchange.blame(Reason::UpstreamReset),
        }
    }
}

impl Drop for ResponseTail {
    fn drop(&mut self) {
        if !self.ended {
            self.exchange.blame(Reason::ClientClosed);
        }
    }
}
