//! What the control plane looks at again and again: leases that end, the issuer, and what has ended
//! and need not be kept.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::{Instant, MissedTickBehavior, interval, interval_at};
use tracing::{error, warn};

use super::catalog::enrollment_key;
use super::desk::{Desk, unix_ms};
use super::registrar;
use super::store::{CommitError, Expect, Key, Shelf, Write};
use crate::http::respond::chain;
use crate::runtime::clock;

/// Between two looks at what has ended, and at the issuer.
const HOURLY: Duration = Duration::from_secs(3600);
/// Tokens and enrolments that have ended are kept for so long: a clock that went ahead for a while
/// must not take away what has not ended.
const KEPT: Duration = Duration::from_secs(7 * 24 * 3600);

/// What has to be looked at again and again.
pub async fn regularly(desk: Arc<Desk>) {
    let mut leases = interval(registrar::TICK);
    leases.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // Not at once: at boot a clock may still be wrong by years.
    let mut hours = interval_at(Instant::now() + HOURLY, HOURLY);
    loop {
        tokio::select! {
            _ = leases.tick() => desk.registrar.expire(clock::now_us()).await,
            _ = hours.tick() => {
                desk.registrar.reconcile(clock::now_us());
                let authority = Arc::clone(&desk.authority);
                let renewed = tokio::task::spawn_blocking(move || {
                    authority.renew_issuer_if_due(SystemTime::now())
                });
                if let Ok(Err(error)) = renewed.await {
                    error!("the issuer can't be renewed: {}", chain(&error));
                }
                if let Err(error) = forget(&desk, SystemTime::now()).await {
                    warn!(%error, "what has ended can't be removed now");
                }
            }
        }
    }
}

/// Removes tokens and revocations that have ended, and enrolments whose last certificate has, in
/// small commits.
async fn forget(desk: &Desk, now: SystemTime) -> Result<(), CommitError> {
    let now_ms = unix_ms(now);
    let long_ago_ms = unix_ms(now - KEPT);
    let tokens = desk.catalog.tokens().into_iter();
    let tokens = tokens
        .filter(|(_, token)| token.value.expires_ms < long_ago_ms)
        .map(|(id, token)| (Key { shelf: Shelf::Tokens, name: id }, token.version));
    let enrollments = desk.catalog.enrollments().into_iter();
    let enrollments = enrollments
        .filter(|(_, enrollment)| enrollment.value.until_ms < long_ago_ms)
        .map(|(number, enrollment)| (enrollment_key(number), enrollment.version));
    let revocations = desk.catalog.revocations().into_iter();
    let revocations = revocations
        .filter(|(_, revocation)| revocation.value.until_ms < now_ms)
        .map(|(name, held)| (Key { shelf: Shelf::Revocations, name }, held.version));
    let ended: Vec<(Key, u64)> = tokens.chain(enrollments).chain(revocations).collect();
    for (key, version) in ended {
        let write = Write { key, expect: Expect::Version(version), value: None };
        match desk.store.commit(vec![write]).await {
            // It was renewed meanwhile.
            Ok(_) | Err(CommitError::Conflict { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
