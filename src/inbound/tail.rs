//! What stays with the bodies of a request: its record and its connection to the app.

use std::rc::Rc;
use std::task::Context;

use http::HeaderMap;

use crate::dial::Via;
use crate::http::patience::Patience;
use crate::http::{BodyError, Tail, classify, headers};
use crate::model::Reason;
use crate::runtime::clock;
use crate::serve::ledger::UnderWay;
use crate::telemetry::exchange::Exchange;

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

/// The tail of an answer's body.
pub struct ResponseTail {
    pub exchange: Rc<Exchange>,
    pub via: Via,
    pub patience: Patience,
    /// Counts as a stream of its connection until the last byte.
    #[allow(dead_code, reason = "held for its drop")]
    pub under_way: UnderWay,
    pub ended: bool,
}

impl Tail for ResponseTail {
    fn drive(&mut self, cx: &mut Context<'_>) {
        self.via.drive(cx);
    }

    fn wait(&mut self, cx: &mut Context<'_>) -> Option<BodyError> {
        self.patience.wait(cx, || self.exchange.moved())
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
