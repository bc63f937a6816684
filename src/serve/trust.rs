//! How long a tunnel may outlive what its peer was proven by.
//!
//! Requests are told to go elsewhere; opaque bytes can't be. Trust that is taken back ends a tunnel
//! at once. One whose certificate has ended, or whose root has left, is drained: it goes on for as
//! long as it is used, so that a rotation cuts no database session off in mid-sentence, is let go
//! when it was silent for a minute, and cut when the certificate's lifetime has gone by once more.
//! Nothing is looked at per byte: a connection sleeps until there is news, and then reads a counter
//! once a minute.

use std::cell::Cell;
use std::future::pending;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwapOption;
use tokio::time::{Instant, sleep, sleep_until};
use tracing::debug;

use crate::model::Reason;
use crate::runtime::Open;
use crate::tcp::Counters;
use crate::tls::{Credentials, Proof};

/// A drained tunnel that was silent for this long is let go. Arbitrary.
const QUIET: Duration = Duration::from_secs(60);
/// Between two looks at the wall clock. Arbitrary.
const LOOK: Duration = Duration::from_secs(60);
/// Chains are judged anew within this time after roots changed, not all of them at once: each takes
/// as long as half a handshake. Arbitrary.
const SPREAD: Duration = Duration::from_secs(10);

/// What a tunnel's peer was proven by, and what counts now.
pub struct Trust {
    /// `None`: the peer is no member of the mesh, and nothing is known about it.
    pub proof: Option<Rc<Proof>>,
    pub newest: Arc<ArcSwapOption<Credentials>>,
    /// Any number that differs from tunnel to tunnel.
    pub at: u16,
}

impl Trust {
    /// Waits until the peer is trusted no more, and says why.
    pub async fn is_over(&self, open: &Open, moved: &Counters) -> Reason {
        let Some(proof) = &self.proof else { return pending().await };
        let drained = async {
            self.is_due(open, proof).await;
            is_drained(proof, moved).await
        };
        tokio::select! {
            () = is_revoked(open, proof, &self.newest) => Reason::Revoked,
            reason = drained => reason,
        }
    }

    /// Waits until a certificate has ended, or no root vouches for the peer's.
    async fn is_due(&self, open: &Open, proof: &Proof) {
        let pause = SPREAD.mul_f64(f64::from(self.at) / f64::from(u16::MAX));
        tokio::select! {
            () = has_ended(proof) => debug!("a tunnel's certificate has ended; it is drained"),
            () = has_no_root(open, proof, &self.newest, pause) => {}
        }
    }
}

/// The wall clock may be set meanwhile, and goes on while the machine sleeps, when no timer does.
async fn has_ended(proof: &Proof) {
    let last = Instant::now() + proof.left();
    while Instant::now() < last && !proof.left().is_zero() {
        sleep_until((Instant::now() + LOOK).min(last)).await;
    }
}

async fn is_revoked(open: &Open, proof: &Proof, newest: &ArcSwapOption<Credentials>) {
    let news = Cell::new(0);
    // At once, too: the news may be older than `open`.
    while !newest.load().as_ref().is_some_and(|newest| proof.is_revoked(newest)) {
        open.renewed(&news).await;
    }
}

async fn is_drained(proof: &Proof, moved: &Counters) -> Reason {
    let last = Instant::now() + proof.lifetime;
    loop {
        let before = sum(moved);
        sleep_until((Instant::now() + QUIET).min(last)).await;
        if Instant::now() >= last {
            return Reason::PermissionWithdrawn;
        }
        if sum(moved) == before {
            return Reason::IdleTimeout;
        }
    }
}

async fn has_no_root(
    open: &Open,
    proof: &Proof,
    newest: &ArcSwapOption<Credentials>,
    pause: Duration,
) {
    let news = Cell::new(0);
    loop {
        open.renewed(&news).await;
        sleep(pause).await;
        let newest = newest.load_full();
        let checked = newest.map(|newest| proof.check(&newest, SystemTime::now()));
        if let Some(Err(error)) = checked {
            debug!(%error, "today's roots don't vouch for a tunnel's peer; it is drained");
            return;
        }
    }
}

fn sum(moved: &Counters) -> u64 {
    let (forth, back) = moved.read();
    forth + back
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering::Relaxed;

    use super::*;
    use crate::identity::issue::Authority;
    use crate::identity::{Revoked, Svid, TrustBundle};
    use crate::model::{SpiffeId, TrustDomain};
    use crate::runtime::{Doorway, Drain};

    const HOUR: Duration = Duration::from_secs(3600);

    /// A member of a mesh whose certificate is good for four hours in all, and for one from now.
    struct Member {
        svid: Svid,
        roots: TrustBundle,
        newest: Arc<ArcSwapOption<Credentials>>,
        doorway: Rc<Doorway>,
        moved: Counters,
    }

    fn roots() -> (Authority, TrustBundle) {
        let root = Authority::new(&TrustDomain::default()).expect("keys can be made");
        let bundle = TrustBundle::from_pem(root.root_pem().as_bytes(), 1).expect("a root");
        (root, bundle)
    }

    fn member() -> Member {
        let (root, roots) = roots();
        let now = SystemTime::now();
        let id = SpiffeId::parse("spiffe://cluster.local/ns/shop/sa/web").expect("an id");
        let issued = root.issue(&id, now - 3 * HOUR, now + HOUR).expect("issued");
        let svid = Svid::from_pem(issued.cert_pem.as_bytes(), issued.key_pem.as_bytes());
        let svid = svid.expect("a right pair");
        let newest = Credentials::new(svid.clone(), roots.clone());
        let newest = Arc::new(ArcSwapOption::from_pointee(newest));
        let doorway = Doorway::new(Drain::default());
        Member { svid, roots, newest, doorway, moved: Counters::default() }
    }

    impl Member {
        /// How long its tunnel lasts, in minutes, and why no longer.
        async fn lasts(&self) -> (u64, Reason) {
            let open = self.doorway.enter();
            let proof = Proof::of(self.svid.chain(), None).map(Rc::new);
            let trust = Trust { proof, newest: Arc::clone(&self.newest), at: 30_000 };
            let begun = Instant::now();
            let why = trust.is_over(&open, &self.moved).await;
            ((begun.elapsed().as_secs() + 30) / 60, why)
        }

        fn learn(&self, roots: TrustBundle) {
            self.newest.store(Some(Arc::new(Credentials::new(self.svid.clone(), roots))));
            self.doorway.renew();
        }

        async fn talk(&self) {
            loop {
                sleep(Duration::from_secs(20)).await;
                self.moved.a_to_b.fetch_add(1, Relaxed);
            }
        }
    }

    async fn local(test: impl AsyncFnOnce(&Member)) {
        tokio::task::LocalSet::new().run_until(async { test(&member()).await }).await;
    }

    #[tokio::test(start_paused = true)]
    async fn what_ended_is_kept_while_it_is_used_and_not_for_ever() {
        local(async |member| {
            assert_eq!(member.lasts().await, (61, Reason::IdleTimeout), "a silent one");
            let lasts = tokio::select! {
                lasts = member.lasts() => lasts,
                () = member.talk() => unreachable!("it goes on for ever"),
            };
            assert_eq!(lasts, (5 * 60, Reason::PermissionWithdrawn), "one that is used");
        })
        .await;
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_revoked_ends_at_once() {
        local(async |member| {
            let revoke = async {
                sleep(Duration::from_secs(60)).await;
                member.learn(member.roots.clone());
                sleep(Duration::from_secs(60)).await;
                let identities = [member.svid.id().clone()].into();
                let revoked = Revoked { identities, ..Revoked::default() };
                member.learn(member.roots.clone().without(Arc::new(revoked)));
            };
            let (lasts, ()) = tokio::join!(member.lasts(), revoke);
            assert_eq!(lasts, (2, Reason::Revoked));
            assert_eq!(member.lasts().await, (0, Reason::Revoked), "one that comes after the news");
        })
        .await;
    }

    #[tokio::test(start_paused = true)]
    async fn whose_root_has_left_is_drained() {
        local(async |member| {
            let rotate = async {
                sleep(Duration::from_secs(60)).await;
                member.learn(roots().1);
            };
            let (lasts, ()) = tokio::join!(member.lasts(), rotate);
            assert_eq!(lasts, (2, Reason::IdleTimeout));
        })
        .await;
    }
}
