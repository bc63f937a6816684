//! When spans are sent to one collector, and how often it is tried.
//!
//! A batch goes as soon as it is full, or after a second. One that can't be delivered is tried again,
//! with longer and longer pauses; meanwhile others wait, and what does not fit is dropped. In the end
//! it is given up, so that a collector that comes back gets news, not history.

use std::sync::Arc;
use std::time::Duration;

use prost::Message;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tracing::{info, warn};

use super::link::{Link, Missed, Payload};
use super::settings::{Collector, Format};
use super::{Resource, otlp, zipkin};
use crate::http::respond::chain;
use crate::runtime::supervise::caught;
use crate::telemetry::span::Span;
use crate::telemetry::spans::{SpanMetrics, Taken};

/// Spans that are sent together, as OpenTelemetry's own processors have it.
pub const BATCH: usize = 512;
/// The oldest span waits no longer.
const PERIOD: Duration = Duration::from_secs(1);
/// For a batch's answer, as the specification has it.
const PATIENCE: Duration = Duration::from_secs(10);
/// Pauses before further tries. Arbitrary: together with the queue they bridge a restart.
const PAUSES: [Duration; 3] =
    [Duration::from_secs(1), Duration::from_secs(2), Duration::from_secs(4)];

/// What is sent to one collector.
pub struct Batches {
    link: Link,
    format: Format,
    resource: Resource,
    metrics: SpanMetrics,
    taken: Taken,
    leave: watch::Receiver<bool>,
    /// Spans lost since the collector last took some; none: it takes them.
    lost: Option<u64>,
}

impl Batches {
    pub fn new(
        collector: &Collector,
        resource: &Resource,
        metrics: &SpanMetrics,
        taken: Taken,
        leave: watch::Receiver<bool>,
    ) -> Self {
        Self {
            link: Link::new(collector),
            format: collector.format,
            resource: resource.clone(),
            metrics: metrics.clone(),
            taken,
            leave,
            lost: None,
        }
    }

    /// Until it is told to leave, and what was queued then is sent.
    pub async fn run(mut self) {
        loop {
            tokio::select! {
                () = self.taken.batch(PERIOD) => {}
                _ = self.leave.wait_for(|leave| *leave) => {}
            }
            let is_last = *self.leave.borrow();
            loop {
                let spans = self.taken.drain(BATCH);
                if spans.is_empty() {
                    break;
                }
                if let Err(error) = caught(self.deliver(&spans)).await {
                    self.failed(spans.len() as u64, &chain(&error));
                }
            }
            if is_last {
                return;
            }
        }
    }

    async fn deliver(&mut self, spans: &[Arc<Span>]) {
        let payload = self.payload(spans);
        let count = spans.len() as u64;
        let mut pauses = PAUSES.iter();
        loop {
            let (why, may_repeat) = match timeout(PATIENCE, self.link.send(&payload)).await {
                Ok(Ok(rejected)) => return self.delivered(count, rejected.min(count)),
                Ok(Err(missed)) => (describe(&missed), missed.may_repeat()),
                Err(_) => (format!("it did not answer within {PATIENCE:?}"), true),
            };
            let pause = pauses.next().filter(|_| may_repeat && !*self.leave.borrow());
            let Some(pause) = pause else { return self.failed(count, &why) };
            if self.lost.is_none() {
                self.missed(&why);
            }
            tokio::select! {
                () = sleep(*pause) => {}
                _ = self.leave.wait_for(|leave| *leave) => {}
            }
        }
    }

    fn payload(&self, spans: &[Arc<Span>]) -> Payload {
        match self.format {
            Format::OtlpGrpc => Payload::Message(otlp::message(&self.resource, spans)),
            Format::OtlpHttp => {
                Payload::Bytes(otlp::message(&self.resource, spans).encode_to_vec().into())
            }
            Format::Zipkin => Payload::Bytes(zipkin::message(&self.resource, spans).into()),
        }
    }

    fn delivered(&mut self, count: u64, rejected: u64) {
        self.metrics.exported.add(count - rejected);
        if rejected > 0 {
            self.metrics.failed.add(rejected);
            warn!(collector = %self.link.endpoint().url.authority, rejected, "the collector refused spans");
        }
        if let Some(lost) = self.lost.take() {
            info!(collector = %self.link.endpoint().url.authority, lost, "spans are sent again");
        }
    }

    fn failed(&mut self, count: u64, why: &str) {
        self.metrics.failed.add(count);
        if self.lost.is_none() {
            self.missed(why);
        }
        self.lost = self.lost.map(|lost| lost + count);
    }

    /// Said once, until it is well again.
    fn missed(&mut self, why: &str) {
        self.lost = Some(0);
        let endpoint = self.link.endpoint();
        warn!(collector = %endpoint.url.authority, "spans can't be sent: {why}; requests go on, and what the queue can't hold is dropped");
    }
}

fn describe(missed: &Missed) -> String {
    chain(missed)
}
