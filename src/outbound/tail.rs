//! What an answer keeps until its last byte is through: its endpoint's load, its places.

use std::rc::Rc;

use super::trial::Trial;
use super::verdict;
use super::worker::Outbound;
use crate::limit::RequestTicket;
use crate::runtime::clock;
use crate::serve::ledger::UnderWay;
use crate::telemetry::exchange::Exchange;

/// Held for its drop.
pub struct Held {
    trial: Trial,
    /// The circuit hears how the answer ended.
    pending: Option<Pending>,
    _place: Option<RequestTicket>,
    _under_way: UnderWay,
}

struct Pending {
    worker: Rc<Outbound>,
    exchange: Rc<Exchange>,
    took_us: u64,
}

impl Held {
    pub fn new(
        worker: &Rc<Outbound>,
        exchange: &Rc<Exchange>,
        trial: Trial,
        unsettled: bool,
        took_us: u64,
        place: Option<RequestTicket>,
        under_way: UnderWay,
    ) -> Self {
        let pending = unsettled.then(|| Pending {
            worker: Rc::clone(worker),
            exchange: Rc::clone(exchange),
            took_us,
        });
        Self { trial, pending, _place: place, _under_way: under_way }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(Pending { worker, exchange, took_us }) = self.pending.take() {
            let (reason, grpc) = (exchange.reason.get(), exchange.grpc.get());
            let verdict = verdict::of_end(&self.trial.backend, reason, grpc);
            let now_us = exchange.ended_us().unwrap_or_else(clock::now_us);
            self.trial.settle(&worker, verdict, Some(took_us), now_us);
        }
    }
}
