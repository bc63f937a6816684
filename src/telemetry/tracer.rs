//! Where a request stands in its trace, whether it is sampled, and whether its span is kept.
//!
//! What the caller decided holds. Where nobody has decided, a share of the traces is sampled, by the
//! trace id alone: every sidecar comes to the same answer, and tells it on. At its end a span is kept
//! that was sampled, but also one that failed or was slow, as far as this sidecar saw it. Where nobody
//! wants spans, contexts are only carried on.

use std::cell::{Cell, RefCell};
use std::sync::Arc;

use http::HeaderMap;

use super::ids::Ids;
use super::span::{Kept, Span};
use super::spans::Feed;
use super::trace_context::TraceContext;
use super::values::Values;
use super::{Propagation, Traces};

/// Trace ids are random in so many bits, at least (W3C level 2); the decision is made on them.
const RANDOM_BITS: u32 = 56;

/// One worker's part in tracing.
pub struct Tracer {
    /// Written.
    formats: Box<[Propagation]>,
    /// Read: what is written first, then the others, since who calls may speak any of them.
    order: Box<[Propagation]>,
    /// Trace ids whose random part is this or above are sampled, as OpenTelemetry's consistent
    /// samplers do it.
    from: Cell<u64>,
    slower_than_us: Cell<u64>,
    feeds: Box<[Feed]>,
    ids: RefCell<Ids>,
    /// For everything that a request is given on its way.
    pub values: RefCell<Values>,
}

/// A request's place in its trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// What is passed on: the span is ours where it is recorded, else still the caller's.
    pub context: TraceContext,
    /// The span that called; none begins the trace.
    pub parent_id: Option<u64>,
    /// Whether there is a span of ours that may be kept.
    pub is_recorded: bool,
}

/// What is known of a request at its end.
#[derive(Clone, Copy, Debug)]
pub struct End {
    pub has_failed: bool,
    /// None where the time says nothing: connections last as long as both ends want.
    pub took_us: Option<u64>,
}

impl Tracer {
    /// Without any feed nothing is recorded.
    pub fn new(settings: &Traces, feeds: Vec<Feed>, ids: Ids) -> Self {
        let mut order = settings.propagation.clone();
        order.extend(Propagation::ALL.into_iter().filter(|it| !settings.propagation.contains(it)));
        let tracer = Self {
            order: order.into(),
            formats: settings.propagation.clone().into(),
            from: Cell::new(u64::MAX),
            slower_than_us: Cell::new(u64::MAX),
            feeds: feeds.into(),
            ids: RefCell::new(ids),
            values: RefCell::default(),
        };
        tracer.configure(settings);
        tracer
    }

    /// Takes in what may change while running: the ratio, and what is slow.
    pub fn configure(&self, settings: &Traces) {
        let all = (1u64 << RANDOM_BITS) as f64;
        // A float cast saturates: from 1 on all are sampled.
        self.from.set(((1.0 - settings.sample_ratio) * all) as u64);
        let slow = settings.slower_than.as_micros();
        self.slower_than_us.set(u64::try_from(slow).unwrap_or(u64::MAX));
    }

    /// Whether anybody wants spans.
    pub fn is_recording(&self) -> bool {
        !self.feeds.is_empty()
    }

    /// Where a request stands that came with these headers, or an opaque connection. `None`: it has
    /// no trace, and gets none.
    pub fn join(&self, headers: Option<&HeaderMap>) -> Option<Position> {
        let caller = headers.and_then(|headers| TraceContext::read(headers, &self.order));
        if !self.is_recording() {
            let carried = |context| Position { context, parent_id: None, is_recorded: false };
            return caller.map(carried);
        }
        let random = &mut || self.ids.borrow_mut().next_u64();
        let mut context = match &caller {
            Some(caller) => caller.child(random),
            None => {
                let decided = headers.and_then(|h| TraceContext::decision(h, &self.order));
                TraceContext { sampled: decided, ..TraceContext::fresh(random) }
            }
        };
        context.sampled = Some(context.sampled.unwrap_or_else(|| self.samples(context.trace_id)));
        let parent_id = caller.map(|caller| caller.span_id);
        Some(Position { context, parent_id, is_recorded: true })
    }

    fn samples(&self, trace_id: u128) -> bool {
        let random = trace_id as u64 & ((1 << RANDOM_BITS) - 1);
        random >= self.from.get()
    }

    /// Writes the position for whoever is called next.
    pub fn carry(&self, position: Position, headers: &mut HeaderMap) {
        position.context.write(headers, &self.formats, &mut self.values.borrow_mut());
    }

    /// Whether, and why, a span is kept.
    pub fn keeps(&self, position: Position, end: End) -> Option<Kept> {
        if !position.is_recorded {
            None
        } else if position.context.sampled == Some(true) {
            Some(Kept::Sampled)
        } else if end.has_failed {
            Some(Kept::Failed)
        } else {
            end.took_us.is_some_and(|us| us >= self.slower_than_us.get()).then_some(Kept::Slow)
        }
    }

    /// Gives a span to whoever wants it; it is made only if one of them has room.
    pub fn offer(&self, make: impl FnOnce() -> Span) {
        let mut span: Option<Arc<Span>> = None;
        let mut make = Some(make);
        for feed in self.feeds.iter().filter(|feed| feed.has_room()) {
            if let Some(make) = make.take() {
                span = Some(Arc::new(make()));
            }
            if let Some(span) = &span {
                feed.offer(Arc::clone(span));
            }
        }
    }
}

#[cfg(test)]
mod tests;
