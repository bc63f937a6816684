//! What the catalog holds, and how a change of it becomes a change of the picture.
//!
//! Everything under one lock: who reads finds all of one moment. A value that this version can't
//! read is left out and reported, an access policy counts as strict; it stays where it is kept, for a
//! version that can.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::Stored;
use super::audience::Audience;
use super::cluster::{Change, Pod};
use super::held::{self, Enrollment, Held, Registration, Revocation, Token};
use super::picture::Picture;
use crate::control::store::Shelf;
use crate::identity::Revoked;
use crate::model::TrustDomain;
use crate::resources::Resource;

pub struct State {
    pub revision: u64,
    pub resources: BTreeMap<Arc<str>, Arc<Held>>,
    /// Counts their changes.
    pub written: u64,
    pub registrations: BTreeMap<Arc<str>, Arc<Registration>>,
    pub tokens: BTreeMap<Arc<str>, Stored<Token>>,
    pub enrollments: BTreeMap<u64, Stored<Enrollment>>,
    pub revocations: BTreeMap<Arc<str>, Stored<Revocation>>,
    pub revoked: Arc<Revoked>,
    /// Enrolments by token and key.
    pub joined: HashMap<(String, String), u64>,
    pub picture: Picture,
    pub audience: Audience,
}

impl State {
    pub fn new(trust_domain: TrustDomain, revision: u64) -> Self {
        Self {
            revision,
            resources: BTreeMap::new(),
            written: 0,
            registrations: BTreeMap::new(),
            tokens: BTreeMap::new(),
            enrollments: BTreeMap::new(),
            revocations: BTreeMap::new(),
            revoked: Arc::default(),
            joined: HashMap::new(),
            picture: Picture::new(trust_domain),
            audience: Audience::default(),
        }
    }

    /// Takes one value over, or reports that it can't be read.
    pub fn take(&mut self, shelf: Shelf, name: &Arc<str>, value: Option<&[u8]>, version: u64) {
        let taken = match shelf {
            Shelf::Resources => self.take_resource(name, value, version),
            Shelf::Registrations => self.take_registration(name, value, version),
            Shelf::Tokens => held::decoded(value).map(|token| {
                let stored = token.map(|token| Stored { version, value: Arc::new(token) });
                put(&mut self.tokens, Arc::clone(name), stored);
            }),
            Shelf::Revocations => held::decoded(value).and_then(|revocation| {
                held::Revocable::parse(name)?;
                let stored = revocation.map(|value| Stored { version, value: Arc::new(value) });
                put(&mut self.revocations, Arc::clone(name), stored);
                self.revoked = Arc::new(held::revoked(self.revocations.keys()));
                self.audience.alarm();
                Ok(())
            }),
            Shelf::Enrollments => held::decoded(value).and_then(|enrollment| {
                let number = held::enrollment_number(name)?;
                let stored = enrollment.map(|value| Stored { version, value: Arc::new(value) });
                self.take_enrollment(number, stored);
                Ok(())
            }),
        };
        if let Err(error) = taken {
            let is_access = shelf == Shelf::Resources && name.starts_with("AccessPolicy/");
            let counts = if is_access {
                "counts as `mtls: strict`, or lets nobody in"
            } else {
                "is left out"
            };
            tracing::error!(shelf = shelf.as_str(), %name, "a stored value can't be read and {counts}: {error}");
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
        let read = value.map(|value| Held::read(value, version)).transpose();
        let (now, taken) = match read {
            Ok(now) => (now, Ok(())),
            Err(error) => (value.and_then(|value| Held::strict(name, value, version)), Err(error)),
        };
        self.replace(name, now.as_ref());
        put(&mut self.resources, Arc::clone(name), now.map(Arc::new));
        taken
    }

    pub fn take_change(&mut self, change: Change) {
        match change {
            Change::Resource(name, now) => {
                self.replace(&name, now.as_ref());
                put(&mut self.resources, name, now.map(Arc::new));
            }
            Change::Pod(name, now) => {
                self.picture.relabelled(&name);
                self.picture.enlist(|members| members.pod(&name, now));
            }
            Change::Slice(name, now) => {
                self.picture.enlist(|members| members.slice(&name, now));
            }
            Change::Zone { node, zone } => {
                self.picture.enlist(|members| members.zone(&node, zone));
            }
        }
    }

    pub fn pods(&self) -> impl Iterator<Item = (Arc<Pod>, Option<Arc<str>>)> {
        let members = self.picture.members();
        let pods = members.pods().values().filter(|pod| !pod.addresses.is_empty());
        pods.map(|pod| (Arc::clone(pod), members.zone_of(pod).cloned()))
    }

    /// Draws a resource anew; the one before leaves.
    fn replace(&mut self, name: &Arc<str>, now: Option<&Held>) {
        let before = self.resources.remove(name);
        let resource = now.map(|held| &held.resource);
        let replaced = before.as_ref().map(|held| &*held.resource);
        let replacement = resource.map(|resource| &**resource);
        if replaced != replacement {
            self.written += 1;
        }
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
            Some(Resource::AccessPolicy(_)) => self.picture.govern(replaced, resource),
            Some(Resource::RateLimitPolicy(_)) => self.picture.limit(replaced, resource),
            None => {}
        }
    }

    fn take_registration(
        &mut self,
        name: &Arc<str>,
        value: Option<&[u8]>,
        version: u64,
    ) -> Result<(), String> {
        let before = self.registrations.remove(name);
        let mut now = value.map(|value| Registration::read(value, version)).transpose();
        if let (Some(was), Ok(Some(now))) = (&before, &mut now)
            && was.workload == now.workload
        {
            now.since = was.since;
        }
        let workload = now.as_ref().ok().and_then(Option::as_ref).map(|held| &held.workload);
        let was = before.as_ref().map(|held| &held.workload);
        // It is written again and again while it is held, and says the same.
        if was != workload {
            self.picture.workload(was, workload);
        }
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
