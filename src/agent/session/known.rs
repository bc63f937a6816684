//! What was asked for and what was answered: the sidecar's whole knowledge of the mesh.
//!
//! Grows with what the workload uses and nothing else: what is asked for on first use is let go when
//! nobody used it for a while, and "there is no such thing" is remembered for a bounded number of
//! things. An update is taken whole or not at all.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::time::{Duration, Instant};

use super::demand::Want;
use crate::agent::convert::{Delta, EndpointKey, address_answer, service_answer};
use crate::agent::mapper::Picture;
use crate::model::{Coverage, ServiceName};
use crate::resources::bound::{Bound, BoundEndpoint, Instance};
use crate::wire::v1;

/// What is not used for this long is let go.
const UNUSED: Duration = Duration::from_secs(600);
/// Things asked for on first use. Far more than a workload calls; an app that scans addresses must
/// not fill the sidecar's memory.
const MOST: usize = 4096;
/// How much room is made at a time.
const ROOM: usize = 256;

/// An answer by name.
pub enum ServiceAnswer {
    Whole(Bound),
    Endpoints(Delta),
    Unknown,
}

/// An answer by address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AddressAnswer {
    Service(ServiceName),
    Instance(Box<Instance>),
    Unknown,
}

impl AddressAnswer {
    /// The service that an address leads to.
    pub fn service(&self) -> Option<&ServiceName> {
        match self {
            AddressAnswer::Service(name) => Some(name),
            AddressAnswer::Instance(instance) => instance.owner.as_ref(),
            AddressAnswer::Unknown => None,
        }
    }
}

/// Something that was asked for.
struct Entry<T> {
    /// `None`: not answered yet.
    answer: Option<T>,
    /// `None`: never let go.
    last_used: Option<Instant>,
}

/// Everything that was asked for.
pub struct Known {
    services: HashMap<ServiceName, Entry<Option<Arc<Bound>>>>,
    addresses: HashMap<SocketAddr, Entry<AddressAnswer>>,
    /// Of the last update that was taken.
    version: String,
    /// An update was refused: what is in use is of several versions.
    is_mixed: bool,
}

impl Known {
    /// `pinned` are never let go.
    pub fn new(pinned: Vec<ServiceName>) -> Self {
        let entry = |name| (name, Entry { answer: None, last_used: None });
        Self {
            services: pinned.into_iter().map(entry).collect(),
            addresses: HashMap::new(),
            version: String::new(),
            is_mixed: false,
        }
    }

    /// What a new session may build on; empty: nothing.
    pub fn version(&self) -> String {
        if self.is_mixed { String::new() } else { self.version.clone() }
    }

    /// Whether everything that was asked for has its answer.
    pub fn is_complete(&self) -> bool {
        self.services.values().all(|entry| entry.answer.is_some())
            && self.addresses.values().all(|entry| self.is_settled(entry))
    }

    /// Whether it is known what an address is: also what the service is that it leads to.
    fn is_settled(&self, entry: &Entry<AddressAnswer>) -> bool {
        let Some(answer) = &entry.answer else { return false };
        answer.service().is_none_or(|name| {
            self.services.get(name).is_some_and(|service| service.answer.is_some())
        })
    }

    /// Asks for something; true when that is new. See [`Known::make_room`] for the bound.
    pub fn ask(&mut self, want: &Want, now: Instant) -> bool {
        match want {
            Want::Service(name) => {
                let is_new = !self.services.contains_key(name);
                let entry = || Entry { answer: None, last_used: Some(now) };
                self.services.entry(name.clone()).or_insert_with(entry);
                is_new
            }
            Want::Address(address) => {
                let is_new = !self.addresses.contains_key(address);
                let entry = || Entry { answer: None, last_used: Some(now) };
                self.addresses.entry(*address).or_insert_with(entry);
                is_new
            }
        }
    }

    /// Lets go of what there isn't, the longest unasked first, when there is no room for more; says
    /// what that was. An app that scans addresses loses its own answers, never those that it uses.
    pub fn make_room(&mut self) -> v1::Subscription {
        let mut gone = v1::Subscription::default();
        if self.services.len() + self.addresses.len() < MOST {
            return gone;
        }
        let is_unknown =
            |entry: &Entry<AddressAnswer>| entry.answer == Some(AddressAnswer::Unknown);
        let mut addresses: Vec<(Option<Instant>, SocketAddr)> = self
            .addresses
            .iter()
            .filter(|(_, entry)| is_unknown(entry))
            .map(|(address, entry)| (entry.last_used, *address))
            .collect();
        addresses.sort_unstable();
        for (_, address) in addresses.into_iter().take(ROOM) {
            self.addresses.remove(&address);
            gone.addresses.push(address.to_string());
        }
        let absent =
            self.services.iter().filter(|(_, e)| e.last_used.is_some() && e.answer == Some(None));
        let mut names: Vec<(Option<Instant>, ServiceName)> =
            absent.map(|(name, entry)| (entry.last_used, name.clone())).collect();
        names.sort_unstable();
        for (_, name) in names.into_iter().take(ROOM) {
            self.services.remove(&name);
            gone.services.push((&name).into());
        }
        gone
    }

    /// What a new session is told: first what was answered, then what was not.
    pub fn subscriptions(&self) -> (v1::Subscription, v1::Subscription) {
        let (mut answered, mut open) = (v1::Subscription::default(), v1::Subscription::default());
        for (name, entry) in &self.services {
            let list = if entry.answer.is_some() { &mut answered } else { &mut open };
            list.services.push(name.into());
        }
        for (address, entry) in &self.addresses {
            let list = if entry.answer.is_some() { &mut answered } else { &mut open };
            list.addresses.push(address.to_string());
        }
        (answered, open)
    }

    /// Takes an update.
    ///
    /// # Errors
    /// Everything that can't be read; then nothing was taken.
    pub fn take(&mut self, update: v1::Update, now: Instant) -> Result<(), Vec<String>> {
        let v1::Update { version, services, addresses } = update;
        let mut errors = Vec::new();
        let mut answers = Vec::new();
        let mut places = Vec::new();
        for answer in addresses {
            address_answer(answer)
                .map_or_else(|error| errors.push(error), |read| places.push(read));
        }
        places.retain(|(address, _)| self.addresses.contains_key(address));
        for answer in services {
            let read = service_answer(answer).and_then(|(name, answer)| {
                // What was let go meanwhile is not taken up again; it would never be let go.
                let held = self.addresses.values().filter_map(|entry| entry.answer.as_ref());
                let mut leading = places.iter().map(|(_, place)| place).chain(held);
                let mut is_led_to = || leading.any(|place| place.service() == Some(&name));
                if !self.services.contains_key(&name) && !is_led_to() {
                    return Ok(None);
                }
                let answer = self.settled(&name, answer)?;
                Ok(Some((name, answer)))
            });
            read.map_or_else(|error| errors.push(error), |read| answers.extend(read));
        }
        if !errors.is_empty() {
            self.is_mixed = true;
            return Err(errors);
        }
        for (name, answer) in answers {
            // One that no name was asked for belongs to an address.
            let entry = self
                .services
                .entry(name)
                .or_insert_with(|| Entry { answer: None, last_used: Some(now) });
            entry.answer = Some(answer);
        }
        for (address, answer) in places {
            if let Some(entry) = self.addresses.get_mut(&address) {
                entry.answer = Some(answer);
            }
        }
        self.version = version;
        Ok(())
    }

    fn settled(
        &self,
        name: &ServiceName,
        answer: ServiceAnswer,
    ) -> Result<Option<Arc<Bound>>, String> {
        match answer {
            ServiceAnswer::Unknown => Ok(None),
            ServiceAnswer::Whole(bound) => Ok(Some(Arc::new(bound))),
            ServiceAnswer::Endpoints(delta) => {
                let known = self.services.get(name).and_then(|entry| entry.answer.as_ref());
                let Some(Some(known)) = known else {
                    return Err(format!("{name}: a change of endpoints that were never said"));
                };
                let endpoints = changed(&known.endpoints, delta);
                Ok(Some(Arc::new(Bound { endpoints, ..Bound::clone(known) })))
            }
        }
    }

    /// Lets go of what nobody used, and says what that was.
    pub fn sweep(&mut self, now: Instant, was_used: &dyn Fn(&Want) -> bool) -> v1::Subscription {
        let mut gone = v1::Subscription::default();
        let needed: Vec<ServiceName> = self
            .addresses
            .values()
            .filter_map(|entry| entry.answer.as_ref()?.service().cloned())
            .collect();
        self.addresses.retain(|address, entry| {
            let service = match &entry.answer {
                Some(AddressAnswer::Service(name)) => Some(Want::Service(name.clone())),
                _ => None,
            };
            let keep = is_kept(entry, now, || {
                was_used(&Want::Address(*address)) || service.as_ref().is_some_and(was_used)
            });
            if !keep {
                gone.addresses.push(address.to_string());
            }
            keep
        });
        self.services.retain(|name, entry| {
            let keep = needed.contains(name)
                || is_kept(entry, now, || was_used(&Want::Service(name.clone())));
            if !keep {
                gone.services.push(name.into());
            }
            keep
        });
        gone
    }

    /// What the data plane may know.
    pub fn picture(&self) -> Picture {
        let answered = |entry: &Entry<_>| entry.answer.is_some();
        let mut picture = Picture {
            services: self.services.values().filter_map(|e| e.answer.clone().flatten()).collect(),
            instances: Vec::new(),
            coverage: Coverage::Answered {
                services: self
                    .services
                    .iter()
                    .filter(|(_, entry)| answered(entry))
                    .map(|(name, _)| name.clone())
                    .collect(),
                addresses: self
                    .addresses
                    .iter()
                    .filter(|(_, entry)| self.is_settled(entry))
                    .map(|(address, _)| *address)
                    .collect(),
            },
        };
        for entry in self.addresses.values() {
            if let Some(AddressAnswer::Instance(instance)) = &entry.answer {
                picture.instances.push(Instance::clone(instance));
            }
        }
        picture
    }
}

fn is_kept<T>(entry: &mut Entry<T>, now: Instant, was_used: impl FnOnce() -> bool) -> bool {
    let Some(last_used) = entry.last_used else { return true };
    if was_used() {
        entry.last_used = Some(now);
        return true;
    }
    now.duration_since(last_used) < UNUSED
}

fn changed(before: &[BoundEndpoint], delta: Delta) -> Vec<BoundEndpoint> {
    let key = |endpoint: &BoundEndpoint| -> EndpointKey {
        (Arc::clone(&endpoint.workload), endpoint.address.clone(), endpoint.port)
    };
    let Delta { upserted, removed } = delta;
    let mut replaced: HashMap<EndpointKey, BoundEndpoint> =
        upserted.iter().map(|endpoint| (key(endpoint), endpoint.clone())).collect();
    let mut endpoints: Vec<BoundEndpoint> = before
        .iter()
        .filter(|endpoint| !removed.contains(&key(endpoint)))
        .map(|endpoint| replaced.remove(&key(endpoint)).unwrap_or_else(|| endpoint.clone()))
        .collect();
    endpoints.extend(upserted.into_iter().filter(|endpoint| replaced.contains_key(&key(endpoint))));
    endpoints
}
