//! What the control plane looks at again and again: leases that end, the issuer, and what has ended
//! and need not be kept.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::{Instant, MissedTickBehavior, interval, interval_at};
use tracing::{error, warn};

use super::catalog::{Catalog, enrollment_key};
use super::desk::{Desk, unix_ms};
use super::registrar;
use super::store::{CommitError, Expect, Key, Shelf, Store, Write};
use crate::http::respond::chain;
use crate::runtime::clock;
use crate::runtime::rehearsal::{self, At};
use crate::runtime::supervise::kept_anew;

/// Between two looks at what has ended, and at the issuer.
const HOURLY: Duration = Duration::from_secs(3600);
/// Between two looks at what the memory of the mesh need not hold any more.
const SLOT: Duration = Duration::from_secs(10);
/// Tokens, enrolments and revocations that have ended are kept for so long: a clock that went ahead
/// for a while must not take away what has not ended.
const KEPT: Duration = Duration::from_secs(7 * 24 * 3600);

/// What has to be looked at again and again; begins when everything that there is was seen.
pub async fn regularly(desk: Arc<Desk>) {
    // It keeps nothing: the next round does what this one left.
    kept_anew("the control plane's housekeeping", || rounds(Arc::clone(&desk))).await;
}

async fn rounds(desk: Arc<Desk>) {
    let mut leases = interval(registrar::TICK);
    leases.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut strays = interval(registrar::LOOK);
    strays.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut refreshes = interval(registrar::REFRESH);
    refreshes.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut slots = interval(SLOT);
    slots.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // Not at once: at boot a clock may still be wrong by years.
    let mut hours = interval_at(Instant::now() + HOURLY, HOURLY);
    loop {
        tokio::select! {
            _ = leases.tick() => {
                rehearsal::pass(At::Housekeeping);
                desk.registrar.expire(clock::now_us()).await;
            }
            _ = strays.tick() => desk.registrar.end_strays(clock::now_us()).await,
            _ = refreshes.tick() => desk.registrar.refresh(clock::now_us()).await,
            _ = slots.tick() => desk.observer.memory.sweep(SystemTime::now()),
            _ = hours.tick() => {
                desk.registrar.reconcile(clock::now_us());
                let authority = Arc::clone(&desk.authority);
                let renewed = tokio::task::spawn_blocking(move || {
                    authority.renew_issuer_if_due(SystemTime::now())
                });
                if let Ok(Err(error)) = renewed.await {
                    error!("the issuer can't be renewed: {}", chain(&error));
                }
                // Beside the others: there may be thousands to remove, and leases end on time.
                let desk = Arc::clone(&desk);
                tokio::spawn(async move {
                    let now = SystemTime::now();
                    if let Err(error) = forget(&desk.catalog, &*desk.store, now).await {
                        warn!(%error, "what has ended can't be removed now");
                    }
                });
            }
        }
    }
}

/// Removes tokens that have ended, revocations that have and concern nobody who is there, and
/// enrolments whose last certificate has ended, in small commits.
async fn forget(catalog: &Catalog, store: &dyn Store, now: SystemTime) -> Result<(), CommitError> {
    let long_ago_ms = unix_ms(now - KEPT);
    let tokens = catalog.tokens().into_iter();
    let tokens = tokens
        .filter(|(_, token)| token.value.expires_ms < long_ago_ms)
        .map(|(id, token)| (Key { shelf: Shelf::Tokens, name: id }, token.version));
    let enrollments = catalog.enrollments().into_iter();
    let enrollments = enrollments
        .filter(|(_, enrollment)| enrollment.value.until_ms < long_ago_ms)
        .map(|(number, enrollment)| (enrollment_key(number), enrollment.version));
    let revocations = catalog.revocations().into_iter();
    let revocations = revocations
        .filter(|(_, revocation, is_there)| revocation.value.until_ms < long_ago_ms && !is_there)
        .map(|(name, held, _)| (Key { shelf: Shelf::Revocations, name }, held.version));
    let ended: Vec<(Key, u64)> = tokens.chain(enrollments).chain(revocations).collect();
    for (key, version) in ended {
        let write = Write { key, expect: Expect::Version(version), value: None };
        match store.commit(vec![write]).await {
            // It was renewed meanwhile.
            Ok(_) | Err(CommitError::Conflict { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;
    use crate::control::catalog::{Change, Pod, Revocation, encoded};
    use crate::control::store::memory::Memory;
    use crate::model::TrustDomain;
    use crate::resources::{Labels, Metadata, Origin};

    const ACCOUNT: &str = "spiffe://cluster.local/ns/shop/sa/web";

    fn pod(enrollment: u64, created_s: i64) -> Pod {
        let created = jiff::Timestamp::from_second(created_s).expect("a time");
        Pod {
            metadata: Metadata {
                name: format!("web-{enrollment}"),
                namespace: "shop".into(),
                labels: Labels::new(),
                created: Some(created),
                version: None,
                at: Origin::Default,
            },
            uid: format!("uid-{enrollment}").into(),
            enrollment,
            addresses: Vec::new(),
            service_account: "web".into(),
            node: None,
            ports: Vec::new(),
            is_meshed: true,
            restarts: 0,
            is_on_host: false,
            is_terminating: false,
            version: 1,
        }
    }

    #[tokio::test]
    async fn a_revocation_lasts_as_long_as_what_was_there_when_it_was_made() {
        let store = Memory::default();
        let catalog = Arc::new(Catalog::new(TrustDomain::default(), 0, &[]));
        let follower = Arc::clone(&catalog);
        store.follow(Box::new(move |committed| follower.absorb(committed))).expect("readable");
        let runs = |pod: Pod| Change::Pod(pod.name(), Some(Arc::new(pod)));
        let gone = |pod: Pod| Change::Pod(pod.name(), None);
        let (old, new) = (|| pod(0xa, 1_000), || pod(0xb, 3_000));
        catalog.take(vec![runs(old()), runs(new())]);
        for (name, made_ms) in [("a", Some(2_000_000)), (ACCOUNT, Some(2_000_000)), ("c", None)] {
            let key = Key { shelf: Shelf::Revocations, name: name.into() };
            let value = Some(encoded(&Revocation { until_ms: 9_000_000, made_ms }));
            store.commit(vec![Write { key, expect: Expect::Any, value }]).await.expect("written");
        }
        let forget = async |at_s: u64| {
            let now = UNIX_EPOCH + Duration::from_secs(at_s);
            forget(&catalog, &store, now).await.expect("written");
            let revoked = catalog.revoked();
            (revoked.enrollments.len(), revoked.identities.len())
        };
        let kept = KEPT.as_secs();
        assert_eq!(forget(kept + 8_999).await, (2, 1));
        assert_eq!(forget(kept + 9_001).await, (1, 1), "nobody has the third");
        // A pod of the account that came after it was made is not what was revoked.
        catalog.take(vec![gone(old())]);
        assert_eq!(forget(kept + 9_001).await, (0, 0));
        assert!(catalog.pod_of(0xb).is_some());
    }
}
