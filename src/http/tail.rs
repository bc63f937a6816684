//! What stays with the two bodies of a request, whatever the direction: its record, its patience, and
//! what its answer came over.
//!
//! Invariant: the record learns of every byte and of how each body ended; an answer that nobody read
//! to its end was given up by its caller.

use std::rc::Rc;
use std::task::Context;

use http::HeaderMap;

use super::patience::Patience;
use super::{BodyError, Tail, classify, headers};
use crate::model::Reason;
use crate::runtime::clock;
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

/// What an answer comes over.
pub trait Carrier {
    /// Moves what the answer's frames come from.
    fn drive(&mut self, cx: &mut Context<'_>);

    /// The answer is through, at this moment of [`clock::now_us`].
    fn finish(&mut self, now_us: u64);
}

/// The tail of an answer's body; holds every place, `H`, until the last byte is through.
pub struct ResponseTail<V, H> {
    exchange: Rc<Exchange>,
    via: V,
    patience: Patience,
    ended: bool,
    #[allow(dead_code, reason = "held for its drop")]
    held: H,
}

impl<V, H> ResponseTail<V, H> {
    pub fn new(exchange: &Rc<Exchange>, via: V, patience: Patience, held: H) -> Self {
        Self { exchange: Rc::clone(exchange), via, patience, ended: false, held }
    }
}

impl<V: Carrier, H> Tail for ResponseTail<V, H> {
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
            Some(BodyError::Late(reason)) => self.exchange.blame(*reason),
            Some(_) => self.exchange.blame(Reason::UpstreamReset),
        }
    }
}

impl<V, H> Drop for ResponseTail<V, H> {
    fn drop(&mut self) {
        if !self.ended {
            self.exchange.blame(Reason::ClientClosed);
        }
    }
}
