//! What was asked for and what was answered: the sidecar's whole knowledge of the mesh.
//!
//! Grows with what the workload uses and nothing else: what is asked for on first use is let go when
//! nobody used it for a while, and "there is no such thing" is remembered for a bounded number of
//! things. What was asked for leads to more: an address to its service, a service to those that its
//! routes send requests to. A service is in force once it is known where it leads to; until then its
//! state before is.

mod let_go;
mod take;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::time::Instant;

use super::demand::Want;
use crate::agent::convert::{Attached, Delta};
use crate::agent::mapper::Picture;
use crate::model::{Coverage, ServiceName};
use crate::resources::bound::{Bound, Instance};
use crate::wire::v1;
pub use take::Taken;

/// An answer by name.
pub enum ServiceAnswer {
    /// What hangs on it stands beside it.
    Whole(Bound, Attached),
    Endpoints(Delta),
    Attachments(Attached),
    Unknown,
}

/// The services that a service sends requests to.
pub type References = Vec<ServiceName>;

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

/// What was said of a service; there may be none.
#[derive(Clone)]
struct Said {
    bound: Option<Arc<Bound>>,
    references: References,
}

/// A service that was asked for, or that something leads to.
#[derive(Default)]
struct Service {
    /// `None`: nothing yet.
    said: Option<Said>,
    /// What was said before, while it is not known where the newest leads to.
    before: Option<Said>,
    /// By name.
    asked: bool,
    /// It is known that the newest leads to something unknown, and it was asked for once more.
    asked_again: bool,
    /// See [`Known::has_let_go`].
    is_doubtful: bool,
    /// `None`: never let go, if it was asked for.
    last_used: Option<Instant>,
}

/// An address that was asked for.
struct Address {
    said: Option<AddressAnswer>,
    asked_again: bool,
    /// See [`Known::has_let_go`].
    is_doubtful: bool,
    last_used: Instant,
}

/// Everything that was asked for, and what it leads to.
pub struct Known {
    services: HashMap<ServiceName, Service>,
    addresses: HashMap<SocketAddr, Address>,
    /// Of the last update that was taken.
    version: String,
    /// An update was refused: what is in use is of several versions.
    is_mixed: bool,
    /// The session was begun with no version, and nothing was heard in it yet.
    is_anew: bool,
    /// Something was let go in this session. What is asked for after that may be the same once more,
    /// and its answer one to the first time, which was on its way: older than the version says. So
    /// the next session asks for it anew.
    has_let_go: bool,
}

/// What a new session is told of the sessions before.
#[derive(Debug, Default, PartialEq)]
pub struct Remembered {
    pub answered: v1::Subscription,
    pub open: v1::Subscription,
    /// Known, though nobody asked for them by name.
    pub implied: Vec<v1::ServiceName>,
}

impl Known {
    /// `pinned` are never let go.
    pub fn new(pinned: Vec<ServiceName>) -> Self {
        let service = |name| (name, Service { asked: true, ..Service::default() });
        Self {
            services: pinned.into_iter().map(service).collect(),
            addresses: HashMap::new(),
            version: String::new(),
            is_mixed: false,
            is_anew: false,
            has_let_go: false,
        }
    }

    /// A session begins, with the version that it may build on, after it was asked what the session
    /// is told. Who builds on nothing is told everything: once that is taken, what is in use is of one
    /// version again.
    pub fn begin(&mut self) -> String {
        self.has_let_go = false;
        self.services.values_mut().for_each(|service| service.is_doubtful = false);
        self.addresses.values_mut().for_each(|address| address.is_doubtful = false);
        let version = self.version();
        self.is_anew = version.is_empty();
        version
    }

    /// What is in use may not be what was said last: the next session builds on nothing.
    pub fn doubt(&mut self) {
        self.is_mixed = true;
    }

    /// What a new session may build on; empty: nothing.
    pub fn version(&self) -> String {
        if self.is_mixed { String::new() } else { self.version.clone() }
    }

    /// Whether everything that was asked for has its answer.
    pub fn is_complete(&self) -> bool {
        let mut asked = self.services.values().filter(|service| service.asked);
        asked.all(|service| self.in_force(service).is_some())
            && self.addresses.values().all(|address| self.is_settled(address))
    }

    /// Whether it is known what an address is: also what the service is that it leads to.
    fn is_settled(&self, address: &Address) -> bool {
        let Some(said) = &address.said else { return false };
        said.service().is_none_or(|name| {
            self.services.get(name).is_some_and(|service| self.in_force(service).is_some())
        })
    }

    /// What callers of a service go by.
    fn in_force<'a>(&self, service: &'a Service) -> Option<&'a Said> {
        let newest = service.said.as_ref().filter(|said| self.knows_all(&said.references));
        newest.or(service.before.as_ref())
    }

    fn knows_all(&self, references: &[ServiceName]) -> bool {
        let is_known = |name| self.services.get(name).is_some_and(|service| service.said.is_some());
        references.iter().all(is_known)
    }

    /// The services that addresses belong to.
    fn led_to(&self) -> HashSet<&ServiceName> {
        let said = self.addresses.values().filter_map(|address| address.said.as_ref());
        said.filter_map(AddressAnswer::service).collect()
    }

    /// Asks for something; true when that is new. See [`Known::make_room`] for the bound.
    pub fn ask(&mut self, want: &Want, now: Instant) -> bool {
        match want {
            Want::Service(name) => {
                let service = self.services.entry(name.clone()).or_default();
                if service.asked {
                    return false;
                }
                service.asked = true;
                service.is_doubtful = self.has_let_go;
                // What it leads to comes with the answer.
                service.asked_again = service.said.is_some();
                service.last_used = Some(now);
                true
            }
            Want::Address(address) => {
                let is_new = !self.addresses.contains_key(address);
                let is_doubtful = self.has_let_go;
                let fresh =
                    || Address { said: None, asked_again: false, is_doubtful, last_used: now };
                self.addresses.entry(*address).or_insert_with(fresh);
                is_new
            }
        }
    }

    /// What has to be asked for once more: it leads to something that was let go here while its
    /// answer was on the way.
    pub fn ask_again(&mut self, now: Instant) -> v1::Subscription {
        let mut again = v1::Subscription::default();
        let led_to = self.led_to();
        let is_open = |(name, service): &(&ServiceName, &Service)| {
            let is_first = service.asked || led_to.contains(name);
            let said = service.said.as_ref().filter(|_| is_first && !service.asked_again);
            said.is_some_and(|said| !self.knows_all(&said.references))
        };
        let services: Vec<ServiceName> =
            self.services.iter().filter(is_open).map(|(name, _)| name.clone()).collect();
        let is_lost = |address: &Address| {
            let service = address.said.as_ref().and_then(AddressAnswer::service);
            !address.asked_again && service.is_some_and(|name| !self.services.contains_key(name))
        };
        let lost = self.addresses.iter().filter(|(_, address)| is_lost(address));
        let addresses: Vec<SocketAddr> = lost.map(|(address, _)| *address).collect();
        for name in services {
            again.services.push((&name).into());
            let service = self.services.entry(name).or_default();
            (service.asked, service.asked_again) = (true, true);
            service.last_used = service.last_used.or(Some(now));
        }
        for address in addresses {
            again.addresses.push(address.to_string());
            if let Some(address) = self.addresses.get_mut(&address) {
                address.asked_again = true;
            }
        }
        again
    }

    /// What a new session is told.
    pub fn remembered(&self) -> Remembered {
        let mut all = Remembered::default();
        for (name, service) in &self.services {
            let is_known = !service.is_doubtful
                && service.said.as_ref().is_some_and(|said| self.knows_all(&said.references));
            match (service.asked, is_known) {
                (true, true) => all.answered.services.push(name.into()),
                (true, false) => all.open.services.push(name.into()),
                (false, _) if service.said.is_some() => all.implied.push(name.into()),
                (false, _) => {}
            }
        }
        for (at, address) in &self.addresses {
            let is_settled = !address.is_doubtful && self.is_settled(address);
            let list = if is_settled { &mut all.answered } else { &mut all.open };
            list.addresses.push(at.to_string());
        }
        all
    }

    /// What the data plane may know.
    pub fn picture(&self) -> Picture {
        let led_to = self.led_to();
        let (mut services, mut covered) = (Vec::new(), HashSet::new());
        for (name, service) in &self.services {
            if !service.asked && !led_to.contains(name) {
                let said = service.said.as_ref().and_then(|said| said.bound.as_ref());
                services.extend(said.map(by_name_alone));
            } else if let Some(said) = self.in_force(service) {
                services.extend(said.bound.clone());
                covered.insert(name.clone());
            }
        }
        let said = self.addresses.values().filter_map(|address| address.said.as_ref());
        let instances = said.filter_map(|said| match said {
            AddressAnswer::Instance(instance) => Some(Instance::clone(instance)),
            AddressAnswer::Service(_) | AddressAnswer::Unknown => None,
        });
        let settled = self.addresses.iter().filter(|(_, address)| self.is_settled(address));
        let coverage = Coverage::Answered {
            services: covered,
            addresses: settled.map(|(address, _)| *address).collect(),
        };
        Picture { services, instances: instances.collect(), coverage }
    }
}

/// A service that others send to: whoever dials its addresses has to ask first, since it is not
/// followed where it leads to.
fn by_name_alone(bound: &Arc<Bound>) -> Arc<Bound> {
    if bound.cluster_ips.is_empty() && !bound.headless {
        return Arc::clone(bound);
    }
    Arc::new(Bound { cluster_ips: Vec::new(), headless: false, ..Bound::clone(bound) })
}
