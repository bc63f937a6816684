//! Kept spans to collectors, over OTLP or in Zipkin's form.
//!
//! Runs beside the data plane, and takes spans from bounded queues: a collector that is slow, hangs
//! or is not there costs spans, which are counted, and nothing else. `otlp` and `zipkin` write what
//! they speak, from the same `facts`; `link` is the way there; `batches` decides when, and how often
//! it is tried. OpenTelemetry's own exporters hand their work to threads and clients of their own;
//! here it is their messages, over the house's connections. Called by `app`.

mod batches;
mod facts;
mod link;
mod otlp;
mod resource;
mod settings;
mod zipkin;

use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::telemetry::spans::{self, Feed, SpanMetrics};

pub use resource::Resource;
pub use settings::{Collector, Endpoint, Format, Settings};

/// Spans that wait for one collector, at most: some 4 MiB. Arbitrary; it bridges a collector's
/// restart where a few hundred spans a second are kept.
const WAITING: usize = 4096;

/// Everything that is sent on.
pub struct Exports {
    tasks: Vec<JoinHandle<()>>,
    leave: watch::Sender<bool>,
}

/// Begins to send; to be called on the runtime that is to do it. Spans go into every feed.
pub fn start(
    settings: &Settings,
    resource: &Resource,
    metrics: &SpanMetrics,
) -> (Vec<Feed>, Exports) {
    let leave = watch::Sender::new(false);
    let begin = |collector: &Collector| {
        let (feed, taken) = spans::queue(WAITING, batches::BATCH, metrics.dropped.clone());
        let batches = batches::Batches::new(collector, resource, metrics, taken, leave.subscribe());
        (feed, tokio::task::spawn_local(batches.run()))
    };
    let (feeds, tasks) = settings.collectors.iter().map(begin).unzip();
    (feeds, Exports { tasks, leave })
}

impl Exports {
    /// Sends what is queued, for as long as `limit`; what is left then is lost.
    pub async fn close(&mut self, limit: Duration) {
        self.leave.send_replace(true);
        let all = async {
            for task in &mut self.tasks {
                let _ = task.await;
            }
        };
        let _ = timeout(limit, all).await;
        self.tasks.drain(..).for_each(|task| task.abort());
    }
}
