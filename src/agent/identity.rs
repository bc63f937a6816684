//! The sidecar's certificate, key and trust bundle, from files.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwapOption;
use tokio::sync::watch as channel;
use tokio::time::sleep;
use tracing::{error, info, warn};

use super::POLL;
use crate::http::respond::chain;
use crate::model::TrustDomain;
use crate::telemetry::metrics::{Counter, GaugeF64, Registry};
use crate::tls::{self, Credentials, LoadError, Settings};

/// Before its end, a certificate that nobody replaced is spoken of in the log.
const WARN_BEFORE: Duration = Duration::from_secs(3600);

/// The watcher's counters.
struct Metrics {
    expiry: GaugeF64,
    succeeded: Counter,
    failed: Counter,
}

/// Loads the identity for the first time.
///
/// # Errors
/// What is wrong with which file; a sidecar does not start with a broken identity.
pub fn load(settings: &Settings, trust_domain: &TrustDomain) -> Result<Credentials, LoadError> {
    tls::load(settings, trust_domain, 1, SystemTime::now())
}

/// Publishes the identity now and whenever its files change; runs until the process ends.
/// `renewed` is called after each change but the first, and told whether the roots changed too.
///
/// # Errors
/// See [`load`].
pub fn watch_identity(
    settings: channel::Receiver<Settings>,
    trust_domain: TrustDomain,
    published: Arc<ArcSwapOption<Credentials>>,
    registry: &Registry,
    renewed: Box<dyn Fn(bool)>,
) -> Result<impl Future<Output = ()> + use<>, LoadError> {
    let rotations = registry.counter_family(
        "outrigger_certificate_rotations_total",
        "Certificates taken into use, and attempts that failed.",
        4,
        &["result"],
    );
    let metrics = Metrics {
        expiry: registry.gauge_f64(
            "outrigger_certificate_expiry_timestamp_seconds",
            "When the certificate in use ends, in seconds since 1970.",
        ),
        succeeded: rotations.with(&["success"]),
        failed: rotations.with(&["failure"]),
    };
    let seen = tls::fingerprint(&settings.borrow());
    let credentials = load(&settings.borrow(), &trust_domain)?;
    metrics.publish(credentials, &published);
    Ok(watch(settings, trust_domain, published, metrics, seen, renewed))
}

async fn watch(
    settings: channel::Receiver<Settings>,
    trust_domain: TrustDomain,
    published: Arc<ArcSwapOption<Credentials>>,
    metrics: Metrics,
    mut seen: tls::Fingerprint,
    renewed: Box<dyn Fn(bool)>,
) {
    let (mut generation, mut failing, mut warned) = (1, false, false);
    loop {
        sleep(POLL).await;
        let now = tls::fingerprint(&settings.borrow());
        if now == seen && !failing {
            warn_of_end(&published, &mut warned);
            continue;
        }
        let changed = now != seen;
        seen = now;
        generation += 1;
        let loaded = tls::load(&settings.borrow(), &trust_domain, generation, SystemTime::now());
        match loaded {
            Ok(credentials) => {
                let serial = credentials.svid().serial().to_owned();
                let before = published.load_full();
                let roots_changed = before.is_none_or(|before| !same_roots(&before, &credentials));
                metrics.publish(credentials, &published);
                (failing, warned) = (false, false);
                renewed(roots_changed);
                info!(serial, "certificate replaced");
            }
            Err(error) => {
                if changed || !failing {
                    metrics.failed.inc();
                    error!(
                        "the identity files changed and can't be used, the old certificate stays: {}",
                        chain(&error)
                    );
                }
                failing = true;
            }
        }
    }
}

fn same_roots(a: &Credentials, b: &Credentials) -> bool {
    let (a, b) = (a.bundle().roots(), b.bundle().roots());
    a.len() == b.len() && a.iter().all(|root| b.iter().any(|b| b.certificate == root.certificate))
}

fn warn_of_end(published: &ArcSwapOption<Credentials>, warned: &mut bool) {
    let Some(credentials) = published.load_full() else {
        return;
    };
    let left = credentials.svid().not_after().duration_since(SystemTime::now());
    if left.is_ok_and(|left| left > WARN_BEFORE) || std::mem::replace(warned, true) {
        return;
    }
    warn!(
        "the certificate ends within an hour and its files were not replaced; without a new one, traffic will be refused"
    );
}

impl Metrics {
    fn publish(&self, credentials: Credentials, published: &ArcSwapOption<Credentials>) {
        let ends = credentials.svid().not_after().duration_since(SystemTime::UNIX_EPOCH);
        self.expiry.set(ends.map_or(0.0, |since| since.as_secs_f64()));
        self.succeeded.inc();
        published.store(Some(Arc::new(credentials)));
    }
}
