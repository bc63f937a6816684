//! Which of the replicas does what only one should do: write status, renew the issuer, hand the
//! trust bundle around, look after the webhook's registration.
//!
//! A Lease is held by its holder's name and renewed every few seconds; whoever can't renew it stops
//! well before another may take it. That keeps two from working against each other; it is no lock:
//! whatever a leader writes says what it was made from. Serving sidecars needs no leader.

mod elector;

use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::api::PostParams;
use kube::{Api, Client};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tracing::{info, warn};

use self::elector::{DURATION, Elector, Record};
use super::asking::{Error, MANAGER, asked};
use crate::http::respond::chain;
use crate::runtime::clock::{self, Rng};
use crate::runtime::supervise::vital;

/// The Lease's name.
pub const LEASE: &str = "outrigger-control-plane";

/// Between two renewals.
const RENEWAL: Duration = Duration::from_secs(5);

/// Between two looks of one that does not lead: so long a Lease that was given back is nobody's.
const LOOK: Duration = Duration::from_secs(2);

/// Before another try when the API server can't be asked.
const AGAIN: Duration = Duration::from_secs(1);

/// An answer that takes longer comes too late: another try may not.
const PATIENCE: Duration = Duration::from_secs(3);

/// Stands for leadership until `leaving` says so; then it gives the Lease back, and the task ends.
/// `identity` is this replica's alone: the name of its Pod.
pub fn stand(
    client: Client,
    namespace: &str,
    identity: &str,
    leaving: watch::Receiver<bool>,
) -> (watch::Receiver<bool>, JoinHandle<()>) {
    let (tell, is_leader) = watch::channel(false);
    let candidate = Candidate {
        api: Api::namespaced(client, namespace),
        elector: Elector::new(identity),
        tell,
        rng: Rng::from_system(),
    };
    // Who can't say that it leads no longer must not go on.
    (is_leader, tokio::spawn(vital("the candidate for the Lease", candidate.run(leaving))))
}

struct Candidate {
    api: Api<Lease>,
    elector: Elector,
    tell: watch::Sender<bool>,
    rng: Rng,
}

impl Candidate {
    async fn run(mut self, mut leaving: watch::Receiver<bool>) {
        let mut unheard = false;
        loop {
            let left = self.elector.leads_for(clock::now_us());
            let limit = left.map_or(PATIENCE, |left| left.min(PATIENCE));
            let tried = tokio::select! {
                tried = timeout(limit, self.renew()) => tried.unwrap_or(Err(Error::Late)),
                _ = leaving.wait_for(|leaving| *leaving) => break,
            };
            self.announce();
            let leads = self.elector.leads_for(clock::now_us());
            let pause = match &tried {
                Ok(()) if leads.is_some() => RENEWAL,
                Ok(()) => LOOK,
                Err(error) if error.is_conflict() => LOOK,
                Err(error) => {
                    if !unheard {
                        warn!("the Lease {LEASE} can't be renewed or read: {}", chain(error));
                    }
                    AGAIN
                }
            };
            unheard = tried.is_err();
            // Not all replicas of a restarted cluster at once.
            let pause = pause.mul_f64(0.8 + 0.2 * self.rng.unit());
            tokio::select! {
                _ = sleep(leads.map_or(pause, |leads| pause.min(leads))) => {}
                _ = leaving.wait_for(|leaving| *leaving) => break,
            }
            self.announce();
        }
        self.leave().await;
    }

    fn announce(&self) {
        let leads = self.elector.leads_for(clock::now_us()).is_some();
        let identity = self.elector.identity();
        self.tell.send_if_modified(|told| {
            let changed = *told != leads;
            if changed && leads {
                info!(identity, "this replica leads");
            } else if changed {
                info!(identity, "this replica leads no longer");
            }
            *told = leads;
            changed
        });
    }

    /// Looks, and asks for it if that is right.
    async fn renew(&mut self) -> Result<(), Error> {
        let asked_us = clock::now_us();
        let lease = asked(self.api.get_opt(LEASE)).await?;
        self.elector.see(lease.as_ref().map(record), clock::now_us());
        if !self.elector.may_ask(clock::now_us()) {
            return Ok(());
        }
        let put = self.put(lease, false).await?;
        self.elector.granted(record(&put), asked_us, clock::now_us());
        Ok(())
    }

    async fn put(&self, lease: Option<Lease>, give_back: bool) -> Result<Lease, Error> {
        let by = PostParams { field_manager: Some(MANAGER.to_owned()), ..PostParams::default() };
        let is_new = lease.is_none();
        let mut next = lease.unwrap_or_default();
        next.metadata.name = Some(LEASE.to_owned());
        next.spec = Some(self.spec(next.spec.take().unwrap_or_default(), give_back));
        if is_new {
            return asked(self.api.create(&by, &next)).await;
        }
        asked(self.api.replace(LEASE, &by, &next)).await
    }

    fn spec(&self, before: LeaseSpec, give_back: bool) -> LeaseSpec {
        let now = MicroTime(Timestamp::now());
        let identity = self.elector.identity();
        let is_ours = before.holder_identity.as_deref() == Some(identity);
        let transitions = before.lease_transitions.unwrap_or_default();
        LeaseSpec {
            holder_identity: Some(if give_back { String::new() } else { identity.to_owned() }),
            lease_duration_seconds: i32::try_from(DURATION.as_secs()).ok(),
            acquire_time: if is_ours { before.acquire_time } else { Some(now.clone()) },
            renew_time: Some(now),
            lease_transitions: Some(if is_ours { transitions } else { transitions + 1 }),
            ..LeaseSpec::default()
        }
    }

    /// First nobody leads, then anybody may.
    async fn leave(mut self) {
        let led = self.elector.leads_for(clock::now_us()).is_some();
        self.elector.give_up();
        self.announce();
        if !led {
            return;
        }
        let given = timeout(PATIENCE, async {
            let lease = asked(self.api.get_opt(LEASE)).await?;
            let ours = lease.filter(|lease| record(lease).holder == self.elector.identity());
            let Some(ours) = ours else { return Ok(()) };
            self.put(Some(ours), true).await.map(drop)
        });
        if let Err(error) = given.await.unwrap_or(Err(Error::Late)) {
            info!("the Lease {LEASE} was not given back, and ends by itself: {}", chain(&error));
        }
    }
}

fn record(lease: &Lease) -> Record {
    let spec = lease.spec.clone().unwrap_or_default();
    let seconds = spec.lease_duration_seconds.and_then(|seconds| u64::try_from(seconds).ok());
    Record {
        holder: spec.holder_identity.unwrap_or_default(),
        renewed: spec.renew_time.map(|time| time.0.to_string()).unwrap_or_default(),
        duration: seconds.map_or(DURATION, Duration::from_secs),
    }
}
