//! A request's body, as often as its attempts need it.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use crate::http::Body;
use crate::http::patience::Patience;
use crate::http::replay::Replay;
use crate::http::tail::RequestTail;
use crate::telemetry::exchange::Exchange;

/// The body of every attempt.
pub enum Source {
    Empty,
    Once(Cell<Option<Body>>),
    Replay(Replay),
}

impl Source {
    /// `limit_bytes` are kept for other attempts; `None`: there won't be any.
    pub fn new(
        exchange: &Rc<Exchange>,
        body: Body,
        idle: Duration,
        limit_bytes: Option<usize>,
    ) -> Self {
        if body.is_empty() {
            return Source::Empty;
        }
        let tail = RequestTail { exchange: Rc::clone(exchange), patience: Patience::new(idle) };
        let body = body.with_tail(Box::new(tail));
        match limit_bytes {
            None => Source::Once(Cell::new(Some(body))),
            Some(limit_bytes) => Source::Replay(Replay::new(body, limit_bytes)),
        }
    }

    pub fn can_repeat(&self) -> bool {
        match self {
            Source::Empty => true,
            Source::Once(_) => false,
            Source::Replay(replay) => replay.can_repeat(),
        }
    }

    /// True when attempts side by side can send it.
    pub fn is_whole(&self) -> bool {
        match self {
            Source::Empty => true,
            Source::Once(_) => false,
            Source::Replay(replay) => replay.is_whole(),
        }
    }

    /// The answer was taken: nothing need be kept for another attempt.
    pub fn settle(&self) {
        if let Source::Replay(replay) = self {
            replay.settle();
        }
    }

    pub fn attempt(&self) -> Body {
        match self {
            Source::Empty => Body::empty(),
            Source::Once(body) => body.take().unwrap_or_default(),
            Source::Replay(replay) => replay.attempt(),
        }
    }
}
