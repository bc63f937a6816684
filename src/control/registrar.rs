//! Registrations: what workloads offer, for as long as their sidecars keep them up.
//!
//! A registration is durable before it is acknowledged. It is held by one session; when that ends it
//! lasts a lease longer, so that a restart of the control plane or a lost connection takes nobody
//! out of service, and a sidecar that died is gone soon. A draining sidecar takes it back at once.
//! What a replica held that died is ended by the others (`strays`), who see that it is no longer kept
//! up (`kept`).
//! What concerns one name happens in turn, so that a lease that ends can't take away what was just
//! registered anew.

mod kept;
mod strays;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::net::IpAddr;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use futures_util::future::join_all;
use tracing::{info, warn};

use super::catalog::{Catalog, Registration, StoredResource, encoded, resource_name};
use super::desk::unix_ms;
use super::grant::Grant;
use super::lease::Leases;
use super::store::{CommitError, Expect, Key, Shelf, Store, Write};
use crate::model::SpiffeId;
use crate::resources::{Origin, Resource, Workload, manifest, parse_documents};
use crate::runtime::clock;

pub use kept::REFRESH;
pub use strays::LOOK;
use strays::Strays;

/// Between two looks for leases that ended.
pub const TICK: Duration = Duration::from_millis(500);
/// Names are spread over this many locks.
const LANES: usize = 64;

/// Keeps registrations.
pub struct Registrar {
    catalog: Arc<Catalog>,
    store: Arc<dyn Store>,
    leases: Mutex<Leases>,
    lanes: [tokio::sync::Mutex<()>; LANES],
    holders: Holders,
    /// As they were held here last: what has another version by now is held by another replica.
    held: Mutex<HashMap<Arc<str>, Arc<Registration>>>,
    strays: Mutex<Strays>,
    /// Held here, and not registered when it was to be written last.
    missed: Mutex<HashSet<Arc<str>>>,
    /// When all that is held here was last written.
    refreshed_us: AtomicU64,
}

/// Who may hold registrations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holders {
    /// This process alone: what nobody holds here is held nowhere.
    Us,
    /// Other replicas too: only what was held here is taken out here.
    Replicas,
}

/// What a sidecar offers.
pub struct Offer {
    /// The session that makes it.
    pub session: u64,
    pub identity: SpiffeId,
    pub enrollment: u64,
    pub connected_from: IpAddr,
    /// The workload's manifest, not checked yet.
    pub manifest: serde_json::Value,
}

/// Why an offer was not taken.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// Each in a sentence. The offer itself has to change.
    #[error("{}", .0.join("; "))]
    Offer(Vec<String>),
    /// It may be taken later.
    #[error("the registration can't be stored")]
    Store(#[source] CommitError),
}

impl Registrar {
    /// Everything that is registered already begins with a whole lease.
    pub fn new(
        catalog: Arc<Catalog>,
        store: Arc<dyn Store>,
        lease: Duration,
        holders: Holders,
        now_us: u64,
    ) -> Self {
        let leases = Mutex::new(Leases::new(lease, TICK, now_us));
        let lanes = std::array::from_fn(|_| tokio::sync::Mutex::default());
        let held = Mutex::default();
        let strays = Mutex::new(Strays::new(now_us));
        let missed = Mutex::default();
        let refreshed_us = AtomicU64::new(now_us);
        let registrar =
            Self { catalog, store, leases, lanes, holders, held, strays, missed, refreshed_us };
        registrar.reconcile(now_us);
        registrar
    }

    /// Takes an offer; durable when this returns.
    ///
    /// # Errors
    /// [`Refusal`]: then nothing changed.
    pub async fn register(
        &self,
        offer: Offer,
        grant: &Grant,
        now: SystemTime,
    ) -> Result<Arc<str>, Refusal> {
        let workload = check(&offer, grant)?;
        let name = name(&workload);
        let _turn = self.lane(&name).lock().await;
        let mut expect = Expect::Absent;
        let mut created_ms = unix_ms(now);
        if let Some(held) = self.catalog.registration(&name) {
            self.may_replace(&held, &offer)?;
            expect = Expect::Version(held.version);
            let is_held = self.lock().is_held(&name);
            if is_held && held.enrollment != offer.enrollment {
                warn!(workload = %name, "two sidecars register this name: the newer one counts; give each its own, unless the older one died just now");
            }
            created_ms = held.created_ms;
            let is_same = held.workload == workload && held.enrollment == offer.enrollment;
            // Else written once more, so that the replica that held it sees that it does no longer.
            let is_kept_here = is_held && !self.is_held_elsewhere(&held);
            if is_same && (is_kept_here || self.holders == Holders::Us) {
                self.hold(&name, offer.session);
                return Ok(name);
            }
        } else if self.is_applied(&workload) {
            let message = "an operator applied a Workload of this name: give this one another";
            return Err(Refusal::Offer(vec![message.into()]));
        }
        let stored = stored(workload, created_ms, offer.enrollment);
        let key = Key { shelf: Shelf::Registrations, name: Arc::clone(&name) };
        let mut writes = vec![Write { key, expect, value: Some(encoded(&stored)) }];
        if expect == Expect::Absent {
            // Nobody may apply a workload of this name meanwhile.
            let (namespace, workload) = name.split_once('/').unwrap_or_default();
            let name = resource_name("Workload", namespace, workload);
            let key = Key { shelf: Shelf::Resources, name };
            writes.push(Write { key, expect: Expect::Absent, value: None });
        }
        self.store.commit(writes).await.map_err(Refusal::Store)?;
        self.hold(&name, offer.session);
        info!(workload = %name, identity = %offer.identity, "registered");
        Ok(name)
    }

    fn hold(&self, name: &Arc<str>, session: u64) {
        self.lock().hold(Arc::clone(name), session);
        if let Some(held) = self.catalog.registration(name) {
            self.held().insert(Arc::clone(name), held);
        }
    }

    /// The newest of one name counts, so that a workload that died and came back need not wait; but
    /// only its own kind may take its place.
    fn may_replace(&self, held: &Registration, offer: &Offer) -> Result<(), Refusal> {
        let account = held.workload.service_account.as_deref();
        if account != Some(offer.identity.service_account()) {
            let other = account.unwrap_or("nobody");
            return Err(Refusal::Offer(vec![format!(
                "the name is taken by a workload of service account {other}: give this one another"
            )]));
        }
        Ok(())
    }

    fn is_applied(&self, workload: &Workload) -> bool {
        let metadata = &workload.metadata;
        let name = resource_name("Workload", &metadata.namespace, &metadata.name);
        self.catalog.resource(&name).is_some()
    }

    /// Takes a registration back, if `session` holds it, or an earlier session of the same sidecar
    /// did; `false` when it is somebody else's by now.
    ///
    /// # Errors
    /// When the store can't write; the lease ends it then.
    pub async fn withdraw(
        &self,
        name: &Arc<str>,
        session: u64,
        enrollment: u64,
    ) -> Result<bool, CommitError> {
        let _turn = self.lane(name).lock().await;
        let newest = self.catalog.registration(name);
        if newest.as_ref().is_some_and(|held| held.enrollment == enrollment) {
            self.lock().hold(Arc::clone(name), session);
        }
        if !self.lock().withdraw(name, session) {
            return Ok(false);
        }
        let Some(newest) = newest else {
            self.held().remove(name);
            return Ok(true);
        };
        match self.store.commit(vec![removal(name, newest.version)]).await {
            Ok(_) => {
                self.held().remove(name);
                info!(workload = %name, "withdrawn");
                Ok(true)
            }
            // Another replica wrote it, or took it out: what is there now is not ours to end.
            Err(CommitError::Conflict { .. }) => {
                self.held().remove(name);
                Ok(false)
            }
            Err(error) => {
                self.lock().restore(Arc::clone(name), clock::now_us());
                Err(error)
            }
        }
    }

    /// The session is over: what it holds lasts a lease longer.
    pub fn release(&self, name: &Arc<str>, session: u64) {
        self.lock().release(name, session, clock::now_us());
    }

    /// Gives a lease to whatever is registered without one: a commit whose fate was in doubt.
    pub fn reconcile(&self, now_us: u64) {
        if self.holders == Holders::Replicas {
            return;
        }
        for held in self.catalog.registrations() {
            self.lock().restore(held.name().into(), now_us);
        }
    }

    /// Removes what nobody keeps up any more; to be called regularly.
    pub async fn expire(&self, now_us: u64) {
        let ended = self.lock().tick(now_us);
        if ended.is_empty() {
            return;
        }
        let _turns = self.turns(&ended).await;
        // Each by itself, so that one that somebody else wrote keeps no other from ending; the
        // store makes one update of them.
        let removals = ended.into_iter().filter_map(|name| {
            if self.lock().contains(&name) {
                return None;
            }
            let newest = self.catalog.registration(&name);
            let ours = newest.filter(|newest| !self.is_held_elsewhere(newest));
            if ours.is_none() {
                self.held().remove(&name);
            }
            ours.map(|ours| self.end(name, ours.version, now_us))
        });
        let failed = join_all(removals.collect::<Vec<_>>()).await.into_iter().flatten().next();
        if let Some(error) = failed {
            warn!(%error, "what has ended can't be taken out now");
        }
    }

    /// `None`: it was taken out, or somebody else holds it.
    async fn end(&self, name: Arc<str>, version: u64, now_us: u64) -> Option<CommitError> {
        let failed = match self.store.commit(vec![removal(&name, version)]).await {
            Ok(_) => {
                warn!(workload = %name, "its sidecar did not come back within the lease; it is taken out");
                None
            }
            Err(CommitError::Conflict { .. }) => None,
            Err(error) => Some(error),
        };
        match failed {
            None => drop(self.held().remove(&name)),
            Some(_) => self.lock().restore(name, now_us),
        }
        failed
    }

    /// Whether another replica has written it since it was held here, if it was.
    fn is_held_elsewhere(&self, newest: &Registration) -> bool {
        let ours = self.held().get(&*newest.name()).map(|held| held.version);
        self.holders == Holders::Replicas && ours != Some(newest.version)
    }

    fn held(&self) -> MutexGuard<'_, HashMap<Arc<str>, Arc<Registration>>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// For several names. In ascending order, while everybody else holds one lane at most: nobody
    /// waits in a circle.
    async fn turns(&self, names: &[Arc<str>]) -> Vec<tokio::sync::MutexGuard<'_, ()>> {
        let lanes: BTreeSet<usize> = names.iter().map(|name| lane(name)).collect();
        let mut turns = Vec::with_capacity(lanes.len());
        for lane in lanes {
            turns.push(self.lanes[lane].lock().await);
        }
        turns
    }

    fn lane(&self, name: &str) -> &tokio::sync::Mutex<()> {
        &self.lanes[lane(name)]
    }

    /// Somebody was told to come back in `later`: nothing ends until then, nor for a while more.
    pub fn spare(&self, later: Duration, now_us: u64) {
        self.lock().spare(later, now_us);
        self.strays().spare(later, now_us);
    }

    /// Its leases, for the pages.
    pub fn lock(&self) -> MutexGuard<'_, Leases> {
        self.leases.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Which of the locks a name has.
fn lane(name: &str) -> usize {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hasher = DefaultHasher::new();
    name.hash(&mut hasher);
    hasher.finish() as usize % LANES
}

fn stored(workload: Workload, created_ms: i64, enrollment: u64) -> StoredResource {
    let manifest = manifest::of(&Resource::Workload(workload));
    StoredResource { manifest, created_ms, enrollment: Some(enrollment) }
}

/// Only of what is known: another replica may have written it since, for a sidecar that lives.
fn removal(name: &Arc<str>, version: u64) -> Write {
    let key = Key { shelf: Shelf::Registrations, name: Arc::clone(name) };
    Write { key, expect: Expect::Version(version), value: None }
}

fn name(workload: &Workload) -> Arc<str> {
    format!("{}/{}", workload.metadata.namespace, workload.metadata.name).into()
}

/// The workload that an offer describes, if it may be registered.
fn check(offer: &Offer, grant: &Grant) -> Result<Workload, Refusal> {
    let origin = Origin::file("registration");
    let read = parse_documents(&offer.manifest.to_string(), &origin, "default");
    let read = read.map_err(|faults| {
        let say = |fault: &crate::resources::Fault| format!("{}: {}", fault.path, fault.message);
        Refusal::Offer(faults.iter().map(say).collect())
    })?;
    let Some(Resource::Workload(workload)) = read.into_iter().next() else {
        return Err(Refusal::Offer(vec!["it describes no workload".into()]));
    };
    let crate::resources::Address::Ip(address) = workload.address else {
        return Err(Refusal::Offer(vec!["the address must be an IP address".into()]));
    };
    let objections = grant.objections(&workload.metadata.labels, address, offer.connected_from);
    if objections.is_empty() { Ok(workload) } else { Err(Refusal::Offer(objections)) }
}
