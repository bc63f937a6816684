//! What one session asked for, and what it was told: from both, the next update.
//!
//! What was asked for leads to more: an address to its service, a service to those that its routes
//! send requests to. That is followed and told with it, one step from what was asked for and no
//! further. Holds what was said by pointer, shared with everybody who was told the same, so that a
//! session's memory grows with what it asked for and not with the mesh.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;

use super::convert::{self, Wanted};
use crate::control::catalog::{AddressFact, Catalog, Mailbox, News, Served};
use crate::model::ServiceName;
use crate::wire::v1;

/// Names, and addresses, that one session may ask for. Far more than a workload calls; a sidecar
/// lets go of what it no longer uses. What that leads to does not count: it is for the mesh to say.
pub const MOST: usize = 10_000;
/// Updates that are remembered until the sidecar judges them. It judges each before it reads the
/// next, so that there are hardly ever more than one.
const UNJUDGED: usize = 1024;

/// One session's.
pub struct Subscriptions {
    catalog: Arc<Catalog>,
    mailbox: Arc<Mailbox>,
    /// The workload's: what hangs on a service depends on it.
    namespace: Arc<str>,
    /// Asked for by name.
    asked: HashSet<ServiceName>,
    /// Also those that something leads to. Absent value: nothing was said yet. `Some(None)`: that
    /// there is none.
    services: HashMap<ServiceName, Option<Option<Arc<Served>>>>,
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
    /// None yet, for a workload in `namespace`; versions are of this `epoch`.
    pub fn new(catalog: Arc<Catalog>, epoch: Arc<str>, namespace: &str) -> Self {
        Self {
            mailbox: catalog.enter(),
            catalog,
            namespace: namespace.into(),
            asked: HashSet::new(),
            services: HashMap::new(),
            addresses: HashMap::new(),
            epoch,
            said: 0,
            count: 0,
            several: HashSet::new(),
        }
    }

    pub fn mailbox(&self) -> &Arc<Mailbox> {
        &self.mailbox
    }

    /// Whether the sidecar is told of a service.
    pub fn follows(&self, service: &ServiceName) -> bool {
        self.services.contains_key(service)
    }

    pub fn len(&self) -> usize {
        self.services.len() + self.addresses.len()
    }

    /// The first answer. `implied` are services that the sidecar knows though it did not ask for
    /// them. What did not change since `version` is not said again, if that is a version of ours.
    ///
    /// # Errors
    /// When it is too much.
    pub fn begin(
        &mut self,
        wanted: &Wanted,
        implied: Vec<ServiceName>,
        version: &str,
    ) -> Result<v1::Update, String> {
        self.has_room(wanted)?;
        let named = wanted.services.len() + wanted.addresses.len() + implied.len();
        if named > 2 * MOST {
            return Err(format!(
                "a session may begin with at most {} services and addresses, those included that \
                 others lead to, and this one names {named}: call fewer, or restart the sidecar to \
                 let go of what it no longer uses",
                2 * MOST
            ));
        }
        self.ask(wanted);
        let services: Vec<ServiceName> = wanted.services.iter().cloned().chain(implied).collect();
        self.follow(&services);
        if let Some(since) = self.revision_of(version) {
            let reading = self.catalog.read(&services, &[], &self.namespace);
            for (name, served, changed_at) in reading.services {
                if changed_at <= since && reading.forgotten_at <= since {
                    self.services.insert(name, Some(served));
                }
            }
        }
        let news = News {
            services: services.into_iter().collect(),
            addresses: wanted.addresses.iter().copied().collect(),
            ..News::default()
        };
        if let Some(update) = self.update(&news) {
            return Ok(update);
        }
        let version = self.version(self.catalog.revision());
        Ok(v1::Update { version, services: Vec::new(), addresses: Vec::new() })
    }

    /// More is wanted; it is answered with the next news.
    ///
    /// # Errors
    /// When it is too much.
    pub fn subscribe(&mut self, wanted: &Wanted) -> Result<(), String> {
        self.has_room(wanted)?;
        self.ask(wanted);
        // Who asks has no answer, whatever was said before, nor one to what it leads to.
        let Wanted { services, addresses } = wanted;
        let reading = self.catalog.read(services, addresses, &self.namespace);
        let mut leads: Vec<ServiceName> =
            reading.addresses.iter().flat_map(|(_, fact)| named(fact)).collect();
        leads.extend(reading.services.into_iter().flat_map(|(_, served, _)| references(served)));
        leads.retain(|name| self.services.contains_key(name));
        let anew: Vec<ServiceName> = services.iter().cloned().chain(leads).collect();
        anew.iter().for_each(|name| drop(self.services.insert(name.clone(), None)));
        addresses.iter().for_each(|address| drop(self.addresses.insert(*address, None)));
        self.mailbox.mark(&anew, addresses);
        Ok(())
    }

    /// Less is wanted.
    pub fn unsubscribe(&mut self, unwanted: &Wanted) {
        self.catalog.unsubscribe(&self.mailbox, &unwanted.services, &unwanted.addresses);
        for name in &unwanted.services {
            self.asked.remove(name);
            self.services.remove(name);
        }
        unwanted.addresses.iter().for_each(|address| drop(self.addresses.remove(address)));
        // What something still leads to is told again, in case it was let go by its name.
        let mut missing: Vec<ServiceName> = self.led_to().collect();
        let asked = self.asked.iter().chain(&missing);
        let implied: Vec<ServiceName> = asked.flat_map(|name| self.said_references(name)).collect();
        missing.extend(implied);
        missing.retain(|name| !self.services.contains_key(name));
        if !missing.is_empty() {
            self.mailbox.mark(&missing, &[]);
            self.follow(&missing);
        }
    }

    /// Whether so much more may be asked for.
    fn has_room(&self, Wanted { services, addresses }: &Wanted) -> Result<(), String> {
        let names = services.iter().filter(|name| !self.asked.contains(*name)).count();
        let is_new = |address: &&SocketAddr| !self.addresses.contains_key(*address);
        let asked = self.asked.len() + self.addresses.len();
        let more = names + addresses.iter().filter(is_new).count();
        if asked + more > MOST {
            return Err(format!(
                "a session may ask for at most {MOST} services and addresses: this one has {asked} \
                 and asks for {more} more"
            ));
        }
        Ok(())
    }

    fn ask(&mut self, Wanted { services, addresses }: &Wanted) {
        self.asked.extend(services.iter().cloned());
        self.catalog.subscribe(&self.mailbox, services, addresses);
        for name in services {
            self.services.entry(name.clone()).or_default();
        }
        for &address in addresses {
            self.addresses.entry(address).or_default();
        }
    }

    /// Services are told from now on, whoever asked for them.
    fn follow(&mut self, services: &[ServiceName]) {
        self.catalog.subscribe(&self.mailbox, services, &[]);
        for name in services {
            self.services.entry(name.clone()).or_default();
        }
    }

    /// What there is to say about `news`, and what it leads to; `None` when it has been said.
    pub fn update(&mut self, news: &News) -> Option<v1::Update> {
        let (mut said, mut answers) = (Vec::new(), Vec::new());
        let led_to = self.say_addresses(news, &mut said);
        // What was let go since it was marked is nobody's news.
        let followed = news.services.iter().filter(|name| self.services.contains_key(*name));
        let mut services: HashSet<ServiceName> = followed.cloned().collect();
        services.extend(led_to.iter().filter(|name| self.is_unsaid(name)).cloned());
        let mut revision = self.say(&services, &mut answers);
        services.extend(led_to);
        let implied = self.implied_by(&services);
        if !implied.is_empty() {
            revision = self.say(&implied, &mut answers);
        }
        self.close(revision, answers, said)
    }

    /// The same without what it leads to, which is marked.
    fn update_alone(&mut self, news: &News) -> Option<v1::Update> {
        let (mut said, mut answers) = (Vec::new(), Vec::new());
        let led_to = self.say_addresses(news, &mut said);
        let revision = self.say(&news.services, &mut answers);
        let mut missing: Vec<ServiceName> = self.implied_by(&news.services).into_iter().collect();
        missing.extend(led_to);
        missing.retain(|name| !self.services.contains_key(name));
        self.follow(&missing);
        self.mailbox.mark(&missing, &[]);
        self.close(revision, answers, said)
    }

    fn close(
        &mut self,
        revision: u64,
        services: Vec<v1::ServiceAnswer>,
        addresses: Vec<v1::AddressAnswer>,
    ) -> Option<v1::Update> {
        if services.is_empty() && addresses.is_empty() {
            return None;
        }
        // What was marked meanwhile may be older than this reading; a session that resumes from here
        // must be told of it.
        if self.mailbox.is_empty() {
            self.said = revision;
        }
        let version = self.version(self.said);
        if services.len() + addresses.len() > 1 && self.several.len() < UNJUDGED {
            self.several.insert(self.count);
        }
        Some(v1::Update { version, services, addresses })
    }

    /// Adds what is new of the addresses, and says where they lead to now.
    fn say_addresses(
        &mut self,
        news: &News,
        answers: &mut Vec<v1::AddressAnswer>,
    ) -> Vec<ServiceName> {
        let addresses: Vec<SocketAddr> = news.addresses.iter().copied().collect();
        let mut led_to = Vec::new();
        for (address, fact) in self.catalog.read(&[], &addresses, &self.namespace).addresses {
            let Some(before) = self.addresses.get_mut(&address) else { continue };
            if before.as_ref() == Some(&fact) {
                continue;
            }
            answers.push(convert::address(address, &fact));
            led_to.extend(named(&fact));
            *before = Some(fact);
        }
        led_to
    }

    /// Adds what is new of some services, which are followed from now on; of which revision it is.
    fn say(
        &mut self,
        services: &HashSet<ServiceName>,
        answers: &mut Vec<v1::ServiceAnswer>,
    ) -> u64 {
        let services: Vec<ServiceName> = services.iter().cloned().collect();
        self.follow(&services);
        let reading = self.catalog.read(&services, &[], &self.namespace);
        for (name, now, _) in reading.services {
            let Some(before) = self.services.get_mut(&name) else { continue };
            answers.extend(convert::answer(&name, before.as_ref(), now.as_ref()));
            *before = Some(now);
        }
        reading.revision
    }

    /// What some services lead to, as far as nothing was said of it.
    fn implied_by(&self, services: &HashSet<ServiceName>) -> HashSet<ServiceName> {
        let leads = |name: &&ServiceName| self.said_references(name).next().is_some();
        let leading: Vec<&ServiceName> = services.iter().filter(leads).collect();
        if leading.is_empty() {
            return HashSet::new();
        }
        let led_to: HashSet<ServiceName> = self.led_to().collect();
        let is_first = |name: &&ServiceName| self.asked.contains(*name) || led_to.contains(*name);
        let implied = leading.into_iter().filter(is_first);
        let implied = implied.flat_map(|name| self.said_references(name));
        implied.filter(|name| self.is_unsaid(name)).collect()
    }

    fn is_unsaid(&self, name: &ServiceName) -> bool {
        self.services.get(name).is_none_or(Option::is_none)
    }

    /// The services that addresses belong to.
    fn led_to(&self) -> impl Iterator<Item = ServiceName> {
        self.addresses.values().flatten().flat_map(named)
    }

    /// Where a service sends requests to, as it was said.
    fn said_references(&self, name: &ServiceName) -> impl Iterator<Item = ServiceName> {
        let said = self.services.get(name).into_iter().flatten().flatten();
        said.flat_map(|served| served.references.iter().cloned())
    }

    /// The sidecar refused an update, and with it what else was in it. Everything is said again,
    /// each answer alone, so that only the bad one is missing; what is refused then waits until it
    /// changes, and is said whole.
    pub fn refused(&mut self, version: &str) -> Vec<v1::Update> {
        let led_to: HashSet<ServiceName> = self.led_to().collect();
        self.services.values_mut().for_each(|said| *said = None);
        self.addresses.values_mut().for_each(|said| *said = None);
        if !self.count_of(version).is_some_and(|count| self.several.remove(&count)) {
            return Vec::new();
        }
        // What something leads to is taken once it is known what does.
        let mut services: Vec<ServiceName> = self.services.keys().cloned().collect();
        services.sort_by_key(|name| match name {
            name if self.asked.contains(name) => 0,
            name if led_to.contains(name) => 1,
            _ => 2,
        });
        let by_address = self.addresses.keys();
        let by_address =
            by_address.map(|&address| News { addresses: [address].into(), ..News::default() });
        let by_name =
            services.into_iter().map(|name| News { services: [name].into(), ..News::default() });
        let all: Vec<News> = by_address.chain(by_name).collect();
        all.iter().filter_map(|news| self.update_alone(news)).collect()
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

fn references(served: Option<Arc<Served>>) -> impl Iterator<Item = ServiceName> {
    served.into_iter().flat_map(|served| served.references.clone())
}

fn named(fact: &AddressFact) -> impl Iterator<Item = ServiceName> {
    let name = match fact {
        AddressFact::Service(name) => Some(name.clone()),
        AddressFact::Instance(instance) => instance.owner.clone(),
        AddressFact::Unknown => None,
    };
    name.into_iter()
}
