//! What one session asked for, and what it was told: from both, the next update.
//!
//! Holds what was said by pointer, shared with everybody who was told the same, so that a session's
//! memory grows with what it asked for and not with the mesh.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;

use super::convert::{self, Wanted};
use crate::control::catalog::{AddressFact, Catalog, Mailbox, News};
use crate::model::ServiceName;
use crate::resources::bound::Bound;
use crate::wire::v1;

/// Names, and addresses, that one session may ask for. Far more than a workload calls; a sidecar
/// lets go of what it no longer uses.
pub const MOST: usize = 10_000;
/// Updates that are remembered until the sidecar judges them. It judges each before it reads the
/// next, so that there are hardly ever more than one.
const UNJUDGED: usize = 1024;

/// One session's.
pub struct Subscriptions {
    catalog: Arc<Catalog>,
    mailbox: Arc<Mailbox>,
    /// Absent value: nothing was said yet. `Some(None)`: that there is none.
    services: HashMap<ServiceName, Option<Option<Arc<Bound>>>>,
    addresses: HashMap<SocketAddr, Option<AddressFact>>,
    epoch: Arc<str>,
    said: u64,
    /// Updates that were sent.
    count: u64,
    /// Those with several answers that the sidecar has not judged yet, by their count.
    several: HashSet<u64>,
}

impl Drop for Subscriptions {
    fn drop(&mut self) {
        self.catalog.leave(&self.mailbox);
    }
}

impl Subscriptions {
    /// None yet; versions are of this `epoch`.
    pub fn new(catalog: Arc<Catalog>, epoch: Arc<str>) -> Self {
        let mailbox = catalog.enter();
        let (services, addresses) = (HashMap::new(), HashMap::new());
        Self {
            catalog,
            mailbox,
            services,
            addresses,
            epoch,
            said: 0,
            count: 0,
            several: HashSet::new(),
        }
    }

    pub fn mailbox(&self) -> &Arc<Mailbox> {
        &self.mailbox
    }

    pub fn len(&self) -> usize {
        self.services.len() + self.addresses.len()
    }

    /// The first answer. What did not change since `version` is not said again, if that is a
    /// version of ours.
    pub fn begin(&mut self, wanted: &Wanted, version: &str) -> v1::Update {
        self.add(wanted);
        let since = self.revision_of(version);
        if let Some(since) = since {
            let reading = self.catalog.read(&wanted.services, &[]);
            for (name, bound, changed_at) in reading.services {
                if changed_at <= since {
                    self.services.insert(name, Some(bound));
                }
            }
        }
        let news = News {
            services: wanted.services.iter().cloned().collect(),
            addresses: wanted.addresses.iter().copied().collect(),
            revocations: false,
        };
        if let Some(update) = self.update(&news) {
            return update;
        }
        let version = self.version(self.catalog.revision());
        v1::Update { version, services: Vec::new(), addresses: Vec::new() }
    }

    /// More is wanted; it is answered with the next news.
    ///
    /// # Errors
    /// When it is too much.
    pub fn subscribe(&mut self, wanted: &Wanted) -> Result<(), String> {
        if self.len() + wanted.services.len() + wanted.addresses.len() > 2 * MOST {
            return Err(format!("a session may ask for at most {MOST} services and addresses"));
        }
        self.add(wanted);
        // Who asks has no answer, whatever was said before.
        wanted.services.iter().for_each(|name| {
            self.services.insert(name.clone(), None);
        });
        wanted.addresses.iter().for_each(|address| {
            self.addresses.insert(*address, None);
        });
        self.mailbox.mark(&wanted.services, &wanted.addresses);
        Ok(())
    }

    /// Less is wanted.
    pub fn unsubscribe(&mut self, unwanted: &Wanted) {
        self.catalog.unsubscribe(&self.mailbox, &unwanted.services, &unwanted.addresses);
        unwanted.services.iter().for_each(|name| drop(self.services.remove(name)));
        unwanted.addresses.iter().for_each(|address| drop(self.addresses.remove(address)));
        // What an address still leads to is told again, in case it was let go by its name.
        let led_to = self.addresses.values().flatten().flat_map(named);
        let missing: Vec<ServiceName> =
            led_to.filter(|name| !self.services.contains_key(name)).collect();
        if !missing.is_empty() {
            self.mailbox.mark(&missing, &[]);
            self.add(&Wanted { services: missing, addresses: Vec::new() });
        }
    }

    fn add(&mut self, wanted: &Wanted) {
        self.catalog.subscribe(&self.mailbox, &wanted.services, &wanted.addresses);
        wanted.services.iter().for_each(|name| {
            self.services.entry(name.clone()).or_default();
        });
        wanted.addresses.iter().for_each(|address| {
            self.addresses.entry(*address).or_default();
        });
    }

    /// What there is to say about `news`; `None` when it has been said.
    pub fn update(&mut self, news: &News) -> Option<v1::Update> {
        let addresses: Vec<SocketAddr> = news.addresses.iter().copied().collect();
        // What was let go since it was marked is nobody's news.
        let followed = news.services.iter().filter(|name| self.services.contains_key(*name));
        let mut services: Vec<ServiceName> = followed.cloned().collect();
        let reading = self.catalog.read(&[], &addresses);
        let mut said = Vec::new();
        for (address, fact) in reading.addresses {
            let Some(before) = self.addresses.get_mut(&address) else { continue };
            if before.as_ref() == Some(&fact) {
                continue;
            }
            said.push(convert::address(address, &fact));
            services.extend(named(&fact).filter(|name| !self.services.contains_key(name)));
            *before = Some(fact);
        }
        // Services that an address led to are from now on followed like those asked for by name.
        let followed = Wanted { services, addresses: Vec::new() };
        self.add(&followed);
        let reading = self.catalog.read(&followed.services, &[]);
        let mut answers = Vec::new();
        for (name, now, _) in reading.services {
            let Some(before) = self.services.get_mut(&name) else { continue };
            answers.extend(convert::answer(&name, before.as_ref(), now.as_deref()));
            *before = Some(now);
        }
        if answers.is_empty() && said.is_empty() {
            return None;
        }
        // What was marked meanwhile may be older than this reading; a session that resumes from here
        // must be told of it.
        if self.mailbox.is_empty() {
            self.said = reading.revision;
        }
        let version = self.version(self.said);
        if answers.len() + said.len() > 1 && self.several.len() < UNJUDGED {
            self.several.insert(self.count);
        }
        Some(v1::Update { version, services: answers, addresses: said })
    }

    /// The sidecar refused an update, and with it what else was in it. Everything is said again,
    /// each answer alone, so that only the bad one is missing; what is refused then waits until it
    /// changes, and is said whole.
    pub fn refused(&mut self, version: &str) -> Vec<v1::Update> {
        self.services.values_mut().for_each(|said| *said = None);
        self.addresses.values_mut().for_each(|said| *said = None);
        if !self.count_of(version).is_some_and(|count| self.several.remove(&count)) {
            return Vec::new();
        }
        let services: Vec<ServiceName> = self.services.keys().cloned().collect();
        let addresses: Vec<SocketAddr> = self.addresses.keys().copied().collect();
        let by_name =
            services.into_iter().map(|name| News { services: [name].into(), ..News::default() });
        let by_address = addresses
            .into_iter()
            .map(|address| News { addresses: [address].into(), ..News::default() });
        // A service that only an address leads to is taken once the address is known.
        let all: Vec<News> = by_address.chain(by_name).collect();
        all.iter().filter_map(|news| self.update(news)).collect()
    }

    /// The sidecar took an update.
    pub fn taken(&mut self, version: &str) {
        if let Some(count) = self.count_of(version) {
            self.several.remove(&count);
        }
    }

    /// The revision that was said last.
    pub fn revision(&self) -> u64 {
        self.said
    }

    /// Of this process, of a moment, and of one update of this session.
    fn version(&mut self, revision: u64) -> String {
        self.count += 1;
        format!("{}.{revision}.{}", self.epoch, self.count)
    }

    fn count_of(&self, version: &str) -> Option<u64> {
        version.rsplit_once('.').and_then(|(_, count)| count.parse().ok())
    }

    /// The revision that a version stands for, if it is one of this epoch.
    pub fn revision_of(&self, version: &str) -> Option<u64> {
        let mut parts = version.split('.');
        let epoch = parts.next()?;
        parts.next()?.parse().ok().filter(|_| *epoch == *self.epoch)
    }
}

fn named(fact: &AddressFact) -> impl Iterator<Item = ServiceName> {
    let name = match fact {
        AddressFact::Service(name) => Some(name.clone()),
        AddressFact::Instance(instance) => instance.owner.clone(),
        AddressFact::Unknown => None,
    };
    name.into_iter()
}
