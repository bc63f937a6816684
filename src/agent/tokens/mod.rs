//! What callers' tokens are verified by: keys fetched or read, and issuers asked.
//!
//! Runs beside the data plane and follows what policies name. Keys are fetched every few minutes, as
//! their issuer's `Cache-Control` says within bounds, and when somebody comes with a key that is not
//! among them; an issuer that is silent changes nothing but an age. Nothing of a token, and no
//! client's secret, is written anywhere.

mod fetch;
mod introspection;

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::mpsc::Receiver;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::sleep;
use tracing::{info, warn};

use self::fetch::Client;
use super::POLL;
use crate::access::tokens::{Question, Ring, Source};
use crate::jwt::Keys;
use crate::resources::access_policy::KeySource;
use crate::runtime::clock::Rng;
use crate::runtime::supervise::kept;
use crate::telemetry::metrics::{Counter, Desc, Family, GaugeF64, Registry};

/// Between two fetches that nobody asked for, where the issuer does not say, and at least and at most
/// where it does. Arbitrary.
const USUAL: Duration = Duration::from_secs(300);
const SOONEST: Duration = Duration::from_secs(60);
const LATEST: Duration = Duration::from_secs(3600);
/// After a failure; doubled each time.
const AGAIN: Duration = Duration::from_secs(1);
/// Sources of which metrics tell apart.
const SOURCES: usize = 100;

/// The families about tokens.
#[derive(Clone)]
struct Metrics {
    fetched: Family<GaugeF64>,
    asked: Family<Counter>,
}

/// Follows what policies name; runs until the process ends.
pub async fn follow(mut sources: watch::Receiver<Vec<Source>>, registry: Registry) {
    let metrics = Metrics::register(&registry);
    let mut followed: Vec<(Source, JoinHandle<()>)> = Vec::new();
    kept("whoever follows the keys of tokens", async || {
        follow_from(&mut sources, &mut followed, &metrics).await;
    })
    .await;
}

async fn follow_from(
    sources: &mut watch::Receiver<Vec<Source>>,
    followed: &mut Vec<(Source, JoinHandle<()>)>,
    metrics: &Metrics,
) {
    loop {
        let wanted = sources.borrow_and_update().clone();
        followed.retain(|(source, task)| {
            let stays = wanted.iter().any(|other| is_same(source, other));
            if !stays {
                task.abort();
            }
            stays
        });
        for source in wanted {
            if !followed.iter().any(|(other, _)| is_same(other, &source)) {
                let (of, metrics) = (source.clone(), metrics.clone());
                let mut questions = match &of {
                    Source::Answers(asker) => asker.queue(),
                    Source::Keys(_) => None,
                };
                // The keys that came stay in use.
                let keeping = kept("a source of keys", async move || {
                    keep(&of, &mut questions, &metrics).await;
                });
                followed.push((source, tokio::task::spawn_local(keeping)));
            }
        }
        if sources.changed().await.is_err() {
            return;
        }
    }
}

fn is_same(a: &Source, b: &Source) -> bool {
    match (a, b) {
        (Source::Keys(a), Source::Keys(b)) => Arc::ptr_eq(a, b),
        (Source::Answers(a), Source::Answers(b)) => Arc::ptr_eq(a, b),
        _ => false,
    }
}

async fn keep(source: &Source, questions: &mut Option<Receiver<Question>>, metrics: &Metrics) {
    match source {
        Source::Answers(asker) => {
            if let Some(questions) = questions {
                introspection::answer(asker, questions, metrics).await;
            }
        }
        Source::Keys(ring) => match &ring.source {
            KeySource::Inline(_) => {}
            KeySource::File(file) => {
                let name = file.display().to_string();
                let mut read = None;
                loop {
                    let newest = std::fs::read(file)
                        .map_err(|error| format!("{} can't be read: {error}", file.display()));
                    if read.as_ref() != Some(&newest) {
                        let keys = newest.as_deref().map_err(Clone::clone).and_then(keys);
                        take(ring, &name, keys, metrics);
                        read = Some(newest);
                    }
                    sleep(POLL).await;
                }
            }
            KeySource::Url { url, ca_file } => {
                let mut client = Client::new(url, ca_file.as_deref());
                let (mut failures, mut rng) = (0, Rng::from_system());
                loop {
                    ring.begin();
                    let fetched = client.fetch().await;
                    let (found, pause) = match fetched {
                        Ok(fetched) => (keys(&fetched.body), fetched.max_age.unwrap_or(USUAL)),
                        Err(error) => (Err(error), Duration::ZERO),
                    };
                    failures = if found.is_ok() { 0 } else { failures + 1 };
                    let pause = match failures {
                        0 => pause.clamp(SOONEST, LATEST),
                        many => SOONEST.min(AGAIN * 2_u32.pow(many.min(6) - 1)),
                    };
                    take(ring, url.as_str(), found, metrics);
                    let jittered = pause.mul_f64(0.9 + 0.2 * rng.unit());
                    tokio::select! {
                        () = sleep(jittered) => {}
                        () = ring.asked() => {}
                    }
                }
            }
        },
    }
}

fn keys(body: &[u8]) -> Result<Keys, String> {
    Keys::read(body).map_err(|error| error.to_string())
}

/// Hands keys on, or says why there are none; the same once.
fn take(ring: &Ring, name: &str, keys: Result<Keys, String>, metrics: &Metrics) {
    let before = ring.facts(Instant::now());
    let result = if keys.is_ok() { "success" } else { "failure" };
    metrics.asked.with(&[name, result]).inc();
    match &keys {
        Ok(keys) => {
            let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
            let seconds = since.map_or(0.0, |since| since.as_secs_f64());
            metrics.fetched.with(&[name]).set(seconds);
            if before.keys != keys.len() || before.error.is_some() {
                info!(source = name, keys = keys.len(), "keys of tokens taken");
            }
        }
        Err(error) if before.error.as_ref() != Some(error) => {
            warn!(
                source = name,
                keys = before.keys,
                "no keys of tokens, those before stay: {error}"
            );
        }
        Err(_) => {}
    }
    ring.take(keys, Instant::now(), SystemTime::now());
}

impl Metrics {
    fn register(registry: &Registry) -> Self {
        Self {
            fetched: registry.family(Desc {
                name: "outrigger_token_keys_timestamp_seconds",
                help: "When the newest keys of a source of tokens' keys came, in seconds since 1970.",
                bound: SOURCES,
                labels: &["source"],
            }),
            asked: registry.counter_family(
                "outrigger_token_lookups_total",
                "Fetches of tokens' keys, and questions about tokens, and whether they succeeded.",
                2 * SOURCES,
                &["source", "result"],
            ),
        }
    }
}
