//! Everything that the store holds, in memory and joined: the picture that sidecars are told.
//!
//! Fed by the store, commit by commit, so that it never shows what was not acknowledged and never
//! lags behind what was; in a cluster also by whoever watches that. Whoever depends on a part of it
//! is marked when that part changes (`audience`) and reads the newest state when it gets to it: a
//! slow reader skips states, it never queues them. Called by every part of the API.

mod ages;
mod attachments;
mod audience;
mod cluster;
mod governed;
mod held;
mod limited;
mod members;
mod picture;
mod revoked;
mod served;
mod state;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

pub use attachments::ServiceKey;
pub use audience::{Mailbox, News};
pub use cluster::{Change, Member, ObjectName, Pod, Slice, SlicePort};
pub use governed::{Governing, Known};
pub use held::{
    Enrollment, Held, Registration, Revocable, Revocation, StoredResource, Token, encoded,
    enrollment_key, resource_name,
};
pub use picture::AddressFact;
pub use served::Served;

use super::store::{Committed, Record};
use crate::model::{ServiceName, TrustDomain};
use state::State;

/// The picture, shared by all who serve.
pub struct Catalog {
    state: Mutex<State>,
    /// The newest revision, for those who follow everything.
    revision: watch::Sender<u64>,
    /// Counts the changes of resources, for those whom nothing else concerns.
    written: watch::Sender<u64>,
}

/// A value and the version that a write must expect.
#[derive(Clone, Debug)]
pub struct Stored<T> {
    pub version: u64,
    pub value: Arc<T>,
}

impl Catalog {
    /// The picture of what a store held at `revision`.
    pub fn new(trust_domain: TrustDomain, revision: u64, records: &[Record]) -> Self {
        let mut state = State::new(trust_domain, revision);
        for record in records {
            state.take(record.key.shelf, &record.key.name, Some(&record.value), record.version);
        }
        state.picture.settle(revision);
        let written = watch::Sender::new(state.written);
        Self { state: Mutex::new(state), revision: watch::Sender::new(revision), written }
    }

    /// Takes a commit over and marks whom it concerns.
    pub fn absorb(&self, committed: &Committed) {
        let mut state = self.lock();
        for (key, value) in &committed.changes {
            state.take(key.shelf, &key.name, value.as_deref(), committed.revision);
        }
        // The store's own, unless a cluster changes things beside it.
        let revision = committed.revision.max(state.revision + 1);
        self.settle(state, revision);
    }

    /// Takes over what a cluster says, all of it as one change, and marks whom it concerns.
    pub fn take(&self, changes: Vec<Change>) {
        let mut state = self.lock();
        for change in changes {
            state.take_change(change);
        }
        let revision = state.revision + 1;
        self.settle(state, revision);
    }

    /// A pod's sidecar says that the pod is about to leave, or that it is back.
    pub fn withdraw(&self, pod: &ObjectName, leaves: bool) {
        let mut state = self.lock();
        if state.picture.enlist(|members| members.withdraw(pod, leaves)) {
            let revision = state.revision + 1;
            self.settle(state, revision);
        }
    }

    fn settle(&self, mut state: MutexGuard<'_, State>, revision: u64) {
        state.revision = revision;
        let changed = state.picture.settle(revision);
        state.audience.tell(&changed);
        let written = state.written;
        drop(state);
        self.revision.send_replace(revision);
        // Two may come here in either order.
        self.written.send_if_modified(|last| {
            let is_newer = *last < written;
            *last = written.max(*last);
            is_newer
        });
    }

    /// The revision of the newest commit.
    pub fn revision(&self) -> u64 {
        self.lock().revision
    }

    /// Told of every revision.
    pub fn revisions(&self) -> watch::Receiver<u64> {
        self.revision.subscribe()
    }

    /// Told of every revision in which a resource changed; pods, slices and registrations come and go
    /// without it.
    pub fn writings(&self) -> watch::Receiver<u64> {
        self.written.subscribe()
    }

    /// All resources, by kind, namespace and name.
    pub fn resources(&self) -> Vec<Arc<Held>> {
        self.lock().resources.values().cloned().collect()
    }

    /// Everything that was applied or registered, at one revision.
    pub fn snapshot(&self) -> Snapshot {
        let state = self.lock();
        Snapshot {
            revision: state.revision,
            resources: state.resources.clone(),
            registrations: state.registrations.clone(),
            pods: state.pods().collect(),
        }
    }

    /// A pod that has not finished, by `namespace/name`.
    pub fn pod(&self, name: &str) -> Option<Arc<Pod>> {
        self.lock().picture.members().pods().get(name).cloned()
    }

    /// The pod that has this enrolment.
    pub fn pod_of(&self, enrollment: u64) -> Option<Arc<Pod>> {
        self.lock().picture.members().pod_of(enrollment).cloned()
    }

    /// Where a pod runs.
    pub fn zone_of(&self, pod: &Pod) -> Option<Arc<str>> {
        self.lock().picture.members().zone_of(pod).cloned()
    }

    /// A resource that was applied.
    pub fn resource(&self, name: &str) -> Option<Arc<Held>> {
        self.lock().resources.get(name).cloned()
    }

    /// What a sidecar registered, by `namespace/name`.
    pub fn registration(&self, name: &str) -> Option<Arc<Registration>> {
        self.lock().registrations.get(name).cloned()
    }

    /// Every port of every service, by name, with the revision at which it changed last.
    /// What only some namespaces are told of it is left out.
    pub fn services(&self) -> Vec<(Arc<Served>, u64)> {
        let mut services = self.lock().picture.all_services();
        services.sort_by_cached_key(|(served, _)| served.bound.name.to_string());
        services
    }

    /// The mesh's.
    pub fn trust_domain(&self) -> TrustDomain {
        self.lock().picture.trust_domain().clone()
    }

    /// Everything that is registered, by namespace and name.
    pub fn registrations(&self) -> Vec<Arc<Registration>> {
        self.lock().registrations.values().cloned().collect()
    }

    /// A join token's state.
    pub fn token(&self, id: &str) -> Option<Stored<Token>> {
        self.lock().tokens.get(id).cloned()
    }

    /// All join tokens that are held, by id.
    pub fn tokens(&self) -> Vec<(Arc<str>, Stored<Token>)> {
        self.lock().tokens.iter().map(|(id, token)| (Arc::clone(id), token.clone())).collect()
    }

    /// With which rights somebody joined.
    pub fn enrollment(&self, number: u64) -> Option<Stored<Enrollment>> {
        self.lock().enrollments.get(&number).cloned()
    }

    /// The enrolment of who joined with this token and key.
    pub fn joined(&self, token: &str, key: &str) -> Option<u64> {
        self.lock().joined.get(&(token.to_owned(), key.to_owned())).copied()
    }

    /// All enrolments.
    pub fn enrollments(&self) -> Vec<(u64, Stored<Enrollment>)> {
        self.lock().enrollments.iter().map(|(&number, held)| (number, held.clone())).collect()
    }

    /// How many services, endpoints and readers there are, for the pages.
    pub fn counts(&self) -> Counts {
        let state = self.lock();
        Counts {
            resources: state.resources.len(),
            registrations: state.registrations.len(),
            pods: state.picture.members().pods().len(),
            services: state.picture.services(),
            sessions: state.audience.len(),
        }
    }

    /// A new reader.
    pub fn enter(&self) -> Arc<Mailbox> {
        self.lock().audience.enter()
    }

    /// A reader that left.
    pub fn leave(&self, mailbox: &Mailbox) {
        self.lock().audience.leave(mailbox);
    }

    /// From now on a reader is marked when one of these changes.
    pub fn subscribe(&self, mailbox: &Mailbox, services: &[ServiceName], addresses: &[SocketAddr]) {
        self.lock().audience.subscribe(mailbox, services, addresses);
    }

    /// No longer.
    pub fn unsubscribe(
        &self,
        mailbox: &Mailbox,
        services: &[ServiceName],
        addresses: &[SocketAddr],
    ) {
        self.lock().audience.unsubscribe(mailbox, services, addresses);
    }

    /// The newest state of some services and addresses, all of one revision, as workloads of
    /// `namespace` are told it.
    pub fn read(
        &self,
        services: &[ServiceName],
        addresses: &[SocketAddr],
        namespace: &str,
    ) -> Reading {
        let state = self.lock();
        let service = |name: &ServiceName| {
            let (served, changed_at) = state.picture.service(name, namespace);
            (name.clone(), served, changed_at)
        };
        Reading {
            revision: state.revision,
            forgotten_at: state.picture.forgotten_at(),
            services: services.iter().map(service).collect(),
            addresses: addresses
                .iter()
                .map(|&address| (address, state.picture.address(address)))
                .collect(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What there is, all of one moment.
#[derive(Clone, Default)]
pub struct Snapshot {
    pub revision: u64,
    /// By `kind/namespace/name`.
    pub resources: BTreeMap<Arc<str>, Arc<Held>>,
    /// By `namespace/name`.
    pub registrations: BTreeMap<Arc<str>, Arc<Registration>>,
    /// Those that have an address, each with its zone; by namespace and name.
    pub pods: Vec<(Arc<Pod>, Option<Arc<str>>)>,
}

/// Some answers, all of one moment.
pub struct Reading {
    pub revision: u64,
    /// Services that were gone at this revision are as if they had never been: the numbers say nothing
    /// to who was told of a moment before.
    pub forgotten_at: u64,
    /// `None` is a service that there isn't; the number is the revision at which it changed last.
    pub services: Vec<(ServiceName, Option<Arc<Served>>, u64)>,
    pub addresses: Vec<(SocketAddr, AddressFact)>,
}

/// How much there is.
#[derive(Clone, Copy, Debug)]
pub struct Counts {
    pub resources: usize,
    pub registrations: usize,
    pub pods: usize,
    pub services: usize,
    pub sessions: usize,
}
