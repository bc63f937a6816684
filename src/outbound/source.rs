//! A request's body, as often as its attempts need it.

use std::rc::Rc;

use super::worker::Resolved;
use crate::http::Body;
use crate::http::patience::Patience;
use crate::http::replay::Replay;
use crate::http::tail::RequestTail;
use crate::telemetry::exchange::Exchange;

/// The body of every attempt.
pub enum Source {
    Empty,
    Once(Option<Body>),
    Replay(Replay),
}

impl Source {
    pub fn new(exchange: &Rc<Exchange>, resolved: &Resolved, body: Body, max: u32) -> Self {
        if body.is_empty() {
            return Source::Empty;
        }
        let policy = &resolved.target.service.policy;
        let patience = Patience::new(policy.timeouts.idle);
        let tail = RequestTail { exchange: Rc::clone(exchange), patience };
        let body = body.with_tail(Box::new(tail));
        if max == 0 {
            return Source::Once(Some(body));
        }
        Source::Replay(Replay::new(body, policy.retry.body_limit_bytes))
    }

    pub fn can_repeat(&self) -> bool {
        match self {
            Source::Empty => true,
            Source::Once(_) => false,
            Source::Replay(replay) => replay.can_repeat(),
        }
    }

    /// The answer was taken: nothing need be kept for another attempt.
    pub fn settle(&self) {
        if let Source::Replay(replay) = self {
            replay.settle();
        }
    }

    pub fn attempt(&mut self) -> Body {
        match self {
            Source::Empty => Body::empty(),
            Source::Once(body) => body.take().unwrap_or_default(),
            Source::Replay(replay) => replay.attempt(),
        }
    }
}
