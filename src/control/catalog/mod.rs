//! Everything that the store holds, in memory and joined: the picture that sidecars are told.
//!
//! Fed by the store alone, commit by commit, so that it never shows what was not acknowledged and
//! never lags behind what was. Whoever depends on a part of it is marked when that part changes
//! (`audience`) and reads the newest state when it gets to it: a slow reader skips states, it never
//! queues them. Called by every part of the API.

mod attachments;
mod audience;
mod held;
mod picture;
mod served;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

pub use audience::{Mailbox, News};
pub use held::{
    Enrollment, Held, Registration, Revocation, StoredResource, Token, encoded, enrollment_key,
    resource_name,
};
pub use picture::AddressFact;
pub use served::Served;

use super::store::{Committed, Record, Shelf};
use crate::identity::Revoked;
use crate::model::{ServiceName, TrustDomain};
use crate::resources::Resource;
use audience::Audience;
use picture::Picture;

/// The picture, shared by all who serve.
pub struct Catalog {
    state: Mutex<State>,
    /// The newest revision, for those who follow everything.
    revision: watch::Sender<u64>,
}

struct State {
    revision: u64,
    resources: BTreeMap<Arc<str>, Arc<Held>>,
    registrations: BTreeMap<Arc<str>, Arc<Registration>>,
    tokens: BTreeMap<Arc<str>, Stored<Token>>,
    enrollments: BTreeMap<u64, Stored<Enrollment>>,
    revocations: BTreeMap<Arc<str>, Stored<Revocation>>,
    revoked: Arc<Revoked>,
    /// Enrolments by token and key.
    joined: HashMap<(String, String), u64>,
    picture: Picture,
    audience: Audience,
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
        let mut state = State {
            revision,
            resources: BTreeMap::new(),
            registrations: BTreeMap::new(),
            tokens: BTreeMap::new(),
            enrollments: BTreeMap::new(),
            revocations: BTreeMap::new(),
            revoked: Arc::default(),
            joined: HashMap::new(),
            picture: Picture::new(trust_domain),
            audience: Audience::default(),
        };
        for record in records {
            state.take(record.key.shelf, &record.key.name, Some(&record.value), record.version);
        }
        state.picture.settle(revision);
        Self { state: Mutex::new(state), revision: watch::Sender::new(revision) }
    }

    /// Takes a commit over and marks whom it concerns.
    pub fn absorb(&self, committed: &Committed) {
        let mut state = self.lock();
        for (key, value) in &committed.changes {
            state.take(key.shelf, &key.name, value.as_deref(), committed.revision);
        }
        state.revision = committed.revision;
        let changed = state.picture.settle(committed.revision);
        state.audience.tell(&changed);
        drop(state);
        self.revision.send_replace(committed.revision);
    }

    /// The revision of the newest commit.
    pub fn revision(&self) -> u64 {
        self.lock().revision
    }

    /// Told of every revision.
    pub fn revisions(&self) -> watch::Receiver<u64> {
        self.revision.subscribe()
    }

    /// Everything that was applied or registered, at one revision.
    pub fn snapshot(&self) -> Snapshot {
        let state = self.lock();
        Snapshot {
            revision: state.revision,
            resources: state.resources.clone(),
            registrations: state.registrations.clone(),
        }
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

    /// What nobody may trust any more.
    pub fn revoked(&self) -> Arc<Revoked> {
        Arc::clone(&self.lock().revoked)
    }

    /// The same, with when each ends.
    pub fn revocations(&self) -> Vec<(Arc<str>, Stored<Revocation>)> {
        let state = self.lock();
        state.revocations.iter().map(|(what, held)| (Arc::clone(what), held.clone())).collect()
    }

    /// How many services, endpoints and readers there are, for the pages.
    pub fn counts(&self) -> Counts {
        let state = self.lock();
        Counts {
            resources: state.resources.len(),
            registrations: state.registrations.len(),
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
}

/// Some answers, all of one moment.
pub struct Reading {
    pub revision: u64,
    /// `None` is a service that there isn't; the number is the revision at which it changed last.
    pub services: Vec<(ServiceName, Option<Arc<Served>>, u64)>,
    pub addresses: Vec<(SocketAddr, AddressFact)>,
}

/// How much there is.
#[derive(Clone, Copy, Debug)]
pub struct Counts {
    pub resources: usize,
    pub registrations: usize,
    pub services: usize,
    pub sessions: usize,
}

impl State {
    /// Takes one value over. One that this version can't read is left out and reported: it stays in
    /// the store for a version that can.
    fn take(&mut self, shelf: Shelf, name: &Arc<str>, value: Option<&[u8]>, version: u64) {
        let taken = match shelf {
            Shelf::Resources => self.take_resource(name, value, version),
            Shelf::Registrations => self.take_registration(name, value, version),
            Shelf::Tokens => held::decoded(value).map(|token| {
                let stored = token.map(|token| Stored { version, value: Arc::new(token) });
                put(&mut self.tokens, Arc::clone(name), stored);
            }),
            Shelf::Revocations => held::decoded(value).map(|revocation| {
                let stored = revocation.map(|value| Stored { version, value: Arc::new(value) });
                put(&mut self.revocations, Arc::clone(name), stored);
                self.revoked = Arc::new(held::revoked(self.revocations.keys()));
                self.audience.alarm();
            }),
            Shelf::Enrollments => held::decoded(value).and_then(|enrollment| {
                let number = held::enrollment_number(name)?;
                let stored = enrollment.map(|value| Stored { version, value: Arc::new(value) });
                self.take_enrollment(number, stored);
                Ok(())
            }),
        };
        if let Err(error) = taken {
            tracing::error!(shelf = shelf.as_str(), %name, "a stored value can't be read and is left out: {error}");
        }
    }

    fn take_enrollment(&mut self, number: u64, stored: Option<Stored<Enrollment>>) {
        let by_key = |of: &Enrollment| (of.token.clone(), of.key.clone());
        if let Some(before) = self.enrollments.get(&number) {
            self.joined.remove(&by_key(&before.value));
        }
        if let Some(stored) = &stored {
            self.joined.insert(by_key(&stored.value), number);
        }
        put(&mut self.enrollments, number, stored);
    }

    fn take_resource(
        &mut self,
        name: &Arc<str>,
        value: Option<&[u8]>,
        version: u64,
    ) -> Result<(), String> {
        let before = self.resources.remove(name);
        let now = value.map(|value| Held::read(value, version)).transpose();
        let resource = now.as_ref().ok().and_then(Option::as_ref).map(|held| &held.resource);
        let replaced = before.as_ref().map(|held| &*held.resource);
        let replacement = resource.map(|resource| &**resource);
        match replacement.or(replaced) {
            Some(Resource::Workload(_)) => {
                let workload = replacement.and_then(held::workload);
                self.picture.workload(replaced.and_then(held::workload), workload);
            }
            Some(Resource::Service(_)) => {
                let service = replacement.and_then(held::service);
                self.picture.serve(replaced.and_then(held::service), service);
            }
            Some(Resource::HttpRoute(_) | Resource::GrpcRoute(_) | Resource::TrafficPolicy(_)) => {
                self.picture.attach(replaced, resource)
            }
            None => {}
        }
        put(&mut self.resources, Arc::clone(name), now?.map(Arc::new));
        Ok(())
    }

    fn take_registration(
        &mut self,
        name: &Arc<str>,
        value: Option<&[u8]>,
        version: u64,
    ) -> Result<(), String> {
        let before = self.registrations.remove(name);
        let now = value.map(|value| Registration::read(value, version)).transpose();
        let workload = now.as_ref().ok().and_then(Option::as_ref).map(|held| &held.workload);
        self.picture.workload(before.as_ref().map(|held| &held.workload), workload);
        put(&mut self.registrations, Arc::clone(name), now?.map(Arc::new));
        Ok(())
    }
}

fn put<K: Ord, V>(map: &mut BTreeMap<K, V>, key: K, value: Option<V>) {
    match value {
        Some(value) => map.insert(key, value),
        None => map.remove(&key),
    };
}
