//! Kept spans on their way to whoever sends them on: one bounded queue for each consumer.
//!
//! A worker only pushes, under a lock that is never held across anything else; a full queue drops and
//! counts, so a consumer that hangs costs spans and nothing more. A consumer waits until a batch is
//! there or a moment has passed, and drains. Spans are shared: each consumer holds the same ones.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::timeout;

use super::metrics::{Counter, Registry};
use super::span::Span;

/// What became of kept spans.
#[derive(Clone)]
pub struct SpanMetrics {
    /// A collector took them.
    pub exported: Counter,
    /// The exporter's queue was full.
    pub dropped: Counter,
    /// No collector took them, however often it was tried.
    pub failed: Counter,
    /// The control plane got them.
    pub reported: Counter,
    /// The queue of those for the control plane was full.
    pub unreported: Counter,
}

impl SpanMetrics {
    pub fn register(registry: &Registry) -> Self {
        let family = registry.counter_family(
            "outrigger_spans_total",
            "Kept spans, by what became of them.",
            5,
            &["result"],
        );
        let of = |result| family.with(&[result]);
        Self {
            exported: of("exported"),
            dropped: of("dropped"),
            failed: of("failed"),
            reported: of("reported"),
            unreported: of("unreported"),
        }
    }
}

/// A queue of at most `bound` spans, which tells its consumer when `batch` of them are there.
pub fn queue(bound: usize, batch: usize, dropped: Counter) -> (Feed, Taken) {
    let queue = Arc::new(Queue {
        spans: Mutex::default(),
        bound,
        batch: batch.clamp(1, bound.max(1)),
        filled: Notify::new(),
        dropped,
    });
    (Feed(Arc::clone(&queue)), Taken(queue))
}

struct Queue {
    spans: Mutex<VecDeque<Arc<Span>>>,
    bound: usize,
    batch: usize,
    /// A batch is there, or somebody asked for what is there.
    filled: Notify,
    dropped: Counter,
}

impl Queue {
    /// A panic under the lock is impossible short of running out of memory.
    fn lock(&self) -> MutexGuard<'_, VecDeque<Arc<Span>>> {
        self.spans.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The entrance; goes to any thread.
#[derive(Clone)]
pub struct Feed(Arc<Queue>);

impl Feed {
    /// Whether a span would be taken now; one that would not be is counted as dropped, and need not
    /// even be made.
    pub fn has_room(&self) -> bool {
        let has_room = self.0.lock().len() < self.0.bound;
        if !has_room {
            self.0.dropped.inc();
        }
        has_room
    }

    /// Queues a span, or drops and counts it.
    pub fn offer(&self, span: Arc<Span>) {
        let mut spans = self.0.lock();
        if spans.len() >= self.0.bound {
            drop(spans);
            self.0.dropped.inc();
            return;
        }
        spans.push_back(span);
        let is_batch = spans.len() == self.0.batch;
        drop(spans);
        if is_batch {
            self.0.filled.notify_one();
        }
    }
}

/// The exit; one consumer has it.
pub struct Taken(Arc<Queue>);

impl Taken {
    /// The oldest spans, at most so many.
    pub fn drain(&self, max: usize) -> Vec<Arc<Span>> {
        let mut spans = self.0.lock();
        let count = spans.len().min(max);
        let drained = spans.drain(..count).collect();
        // What a burst needed is given back.
        if spans.is_empty() {
            spans.shrink_to(self.0.batch);
        }
        drained
    }

    /// Of all that are there at most so many, and of no more bytes, those that failed first, then by
    /// their traces' ids; the others are counted as dropped. Sidecars that each have to choose so
    /// choose the same traces. One that is too large stops none of the others.
    pub fn choose(&self, most: usize, mut bytes: usize) -> Vec<Arc<Span>> {
        let mut all = self.drain(usize::MAX);
        all.sort_by_key(|span| (!span.has_failed(), span.trace_id as u64));
        let (offered, mut left) = (all.len(), most);
        all.retain(|span| {
            let fits = bytes.checked_sub(span.size()).filter(|_| left > 0);
            if let Some(rest) = fits {
                bytes = rest;
                left -= 1;
            }
            fits.is_some()
        });
        self.0.dropped.add((offered - all.len()) as u64);
        all
    }

    /// Waits until a batch is there, but no longer than `patience`.
    pub async fn batch(&self, patience: Duration) {
        if self.0.lock().len() < self.0.batch {
            let _ = timeout(patience, self.0.filled.notified()).await;
        }
    }

    pub fn len(&self) -> usize {
        self.0.lock().len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::span::tests::example;

    fn dropped() -> Counter {
        SpanMetrics::register(&Registry::default()).dropped
    }

    #[test]
    fn what_does_not_fit_is_dropped_and_counted() {
        let dropped = dropped();
        let (feed, taken) = queue(3, 2, dropped.clone());
        for n in 1..=5 {
            feed.offer(Arc::new(Span { span_id: n, ..example() }));
        }
        assert!(!feed.has_room());
        assert_eq!(dropped.value(), 3);
        let ids = |spans: Vec<Arc<Span>>| spans.iter().map(|s| s.span_id).collect::<Vec<_>>();
        assert_eq!(ids(taken.drain(2)), [1, 2]);
        assert!(feed.has_room());
        assert_eq!(ids(taken.drain(9)), [3]);
        assert!(taken.is_empty());
    }

    #[test]
    fn those_who_choose_choose_failures_and_the_same_traces() {
        let dropped = dropped();
        let chosen = |order: [u64; 6]| {
            let (feed, taken) = queue(9, 9, dropped.clone());
            for trace in order {
                let status = Some(if trace % 3 == 0 { 503 } else { 200 });
                let trace_id = u128::from(trace);
                feed.offer(Arc::new(Span { trace_id, status, reason: None, ..example() }));
            }
            taken.choose(4, usize::MAX).iter().map(|span| span.trace_id).collect::<Vec<_>>()
        };
        assert_eq!(chosen([1, 2, 3, 4, 5, 6]), [3, 6, 1, 2]);
        assert_eq!(chosen([6, 5, 4, 3, 2, 1]), [3, 6, 1, 2]);
        assert_eq!(dropped.value(), 4);
        let (feed, taken) = queue(9, 9, dropped.clone());
        (0..3).for_each(|_| feed.offer(Arc::new(example())));
        assert_eq!(taken.choose(9, 2 * example().size() + 1).len(), 2);
        assert_eq!(dropped.value(), 5);
        let large = Span { status: Some(503), path: Some("/x".repeat(500).into()), ..example() };
        feed.offer(Arc::new(large));
        (0..3).for_each(|_| feed.offer(Arc::new(example())));
        assert_eq!(taken.choose(9, 2 * example().size() + 1).len(), 2, "it stops nobody");
        assert_eq!(dropped.value(), 7);
    }

    #[tokio::test(start_paused = true)]
    async fn a_consumer_waits_for_a_batch_or_a_moment() {
        let (feed, taken) = queue(9, 2, dropped());
        let begun = tokio::time::Instant::now();
        feed.offer(Arc::new(example()));
        taken.batch(Duration::from_secs(1)).await;
        assert_eq!(begun.elapsed(), Duration::from_secs(1));
        feed.offer(Arc::new(example()));
        taken.batch(Duration::from_secs(1)).await;
        assert_eq!(begun.elapsed(), Duration::from_secs(1));
        assert_eq!(taken.drain(9).len(), 2);
    }
}
