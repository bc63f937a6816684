//! The sidecar's certificate, key and trust bundle, from files.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwapOption;
use tokio::sync::watch as channel;
use tokio::time::sleep;
use tracing::{error, info, warn};

use super::POLL;
use crate::agent::CertificateMetrics;
use crate::http::respond::chain;
use crate::model::TrustDomain;
use crate::runtime::supervise::kept;
use crate::telemetry::metrics::Registry;
use crate::tls::{self, Credentials, LoadError, Settings};

/// Before its end, a certificate that nobody replaced is spoken of in the log.
const WARN_BEFORE: Duration = Duration::from_secs(3600);

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
    let metrics = CertificateMetrics::register(registry);
    let seen = tls::fingerprint(&settings.borrow());
    let credentials = load(&settings.borrow(), &trust_domain)?;
    metrics.taken(credentials.svid().not_after());
    published.store(Some(Arc::new(credentials)));
    let mut seen = (seen, 1);
    Ok(async move {
        kept("whoever watches the identity's files", async || {
            let (published, metrics) = (&published, &metrics);
            watch(&settings, &trust_domain, published, metrics, &mut seen, &renewed).await;
        })
        .await;
    })
}

/// `seen` is what the files in use were like, and the generation that they are.
async fn watch(
    settings: &channel::Receiver<Settings>,
    trust_domain: &TrustDomain,
    published: &ArcSwapOption<Credentials>,
    metrics: &CertificateMetrics,
    (seen, generation): &mut (tls::Fingerprint, u64),
    renewed: &dyn Fn(bool),
) {
    let (mut failing, mut warned) = (false, false);
    loop {
        sleep(POLL).await;
        let now = tls::fingerprint(&settings.borrow());
        if now == *seen && !failing {
            warn_of_end(published, &mut warned);
            continue;
        }
        let changed = now != *seen;
        *generation += 1;
        let loaded = tls::load(&settings.borrow(), trust_domain, *generation, SystemTime::now());
        match loaded {
            Ok(credentials) => {
                let serial = credentials.svid().serial().to_owned();
                let before = published.load_full();
                let roots_changed =
                    before.is_none_or(|before| !before.bundle().is_same(credentials.bundle()));
                metrics.taken(credentials.svid().not_after());
                published.store(Some(Arc::new(credentials)));
                (failing, warned) = (false, false);
                renewed(roots_changed);
                info!(serial, "certificate replaced");
            }
            Err(error) => {
                if changed || !failing {
                    metrics.failed();
                    error!(
                        "the identity files changed and can't be used, the old certificate stays: {}",
                        chain(&error)
                    );
                }
                failing = true;
            }
        }
        // Last: what broke on the way is looked at once more.
        *seen = now;
    }
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
