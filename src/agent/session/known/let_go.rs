//! What is not used is let go, and what only that led to.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::Instant;

use super::{Address, AddressAnswer, Known, Service};
use crate::agent::session::Want;
use crate::model::ServiceName;
use crate::wire::v1;

/// What is not used for this long is let go.
const UNUSED: Duration = Duration::from_secs(600);
/// Things asked for on first use. Far more than a workload calls; an app that scans addresses must
/// not fill the sidecar's memory.
const MOST: usize = 4096;
/// How much room is made at a time.
const ROOM: usize = 256;

impl Known {
    /// Lets go of what there isn't, the longest unasked first, when there is no room for more; says
    /// what that was. An app that scans addresses loses its own answers, never those that it uses.
    pub fn make_room(&mut self) -> v1::Subscription {
        let mut gone = v1::Subscription::default();
        if self.services.len() + self.addresses.len() < MOST {
            return gone;
        }
        let is_unknown = |address: &Address| address.said == Some(AddressAnswer::Unknown);
        let absent = self.addresses.iter().filter(|(_, address)| is_unknown(address));
        let mut addresses: Vec<(Instant, SocketAddr)> =
            absent.map(|(at, address)| (address.last_used, *at)).collect();
        addresses.sort_unstable();
        for (_, address) in addresses.into_iter().take(ROOM) {
            self.addresses.remove(&address);
            gone.addresses.push(address.to_string());
        }
        let needed = self.needed();
        let is_absent = |service: &Service| {
            let said = service.said.as_ref();
            service.asked && said.is_some_and(|said| said.bound.is_none())
        };
        let absent = self.services.iter().filter(|(name, service)| {
            service.last_used.is_some() && is_absent(service) && !needed.contains(*name)
        });
        let mut names: Vec<(Option<Instant>, ServiceName)> =
            absent.map(|(name, service)| (service.last_used, name.clone())).collect();
        names.sort_unstable();
        for (_, name) in names.into_iter().take(ROOM) {
            self.services.remove(&name);
            gone.services.push((&name).into());
        }
        self.has_let_go |= gone != v1::Subscription::default();
        gone
    }

    /// Lets go of what nobody used, and says what that was.
    pub fn sweep(&mut self, now: Instant, was_used: &dyn Fn(&Want) -> bool) -> v1::Subscription {
        let mut gone = v1::Subscription::default();
        self.addresses.retain(|at, address| {
            let service = match &address.said {
                Some(AddressAnswer::Service(name)) => Some(Want::Service(name.clone())),
                _ => None,
            };
            let keep = is_kept(&mut address.last_used, now, || {
                was_used(&Want::Address(*at)) || service.as_ref().is_some_and(was_used)
            });
            if !keep {
                gone.addresses.push(at.to_string());
            }
            keep
        });
        let led_to: HashSet<ServiceName> = self.led_to().into_iter().cloned().collect();
        for (name, service) in self.services.iter_mut().filter(|(_, service)| service.asked) {
            let Some(last_used) = &mut service.last_used else { continue };
            let was_used = || was_used(&Want::Service(name.clone()));
            if !is_kept(last_used, now, was_used) && !led_to.contains(name) {
                // It may still be one that others lead to.
                (service.asked, service.before) = (false, None);
                gone.services.push(name.into());
            }
        }
        let needed = self.needed();
        let idle =
            |(name, service): &(&ServiceName, &Service)| !service.asked && !needed.contains(*name);
        let idle: Vec<ServiceName> =
            self.services.iter().filter(idle).map(|(name, _)| name.clone()).collect();
        for name in idle {
            self.services.remove(&name);
            let said = v1::ServiceName::from(&name);
            if !gone.services.contains(&said) {
                gone.services.push(said);
            }
        }
        self.has_let_go |= gone != v1::Subscription::default();
        gone
    }

    /// What something that was asked for leads to.
    fn needed(&self) -> HashSet<ServiceName> {
        let led_to = self.led_to();
        let first = self.services.iter().filter(|(name, s)| s.asked || led_to.contains(name));
        let said = first.flat_map(|(_, service)| service.said.iter().chain(&service.before));
        let mut needed: HashSet<ServiceName> =
            said.flat_map(|said| said.references.iter().cloned()).collect();
        needed.extend(led_to.into_iter().cloned());
        needed
    }
}

fn is_kept(last_used: &mut Instant, now: Instant, was_used: impl FnOnce() -> bool) -> bool {
    if was_used() {
        *last_used = now;
        return true;
    }
    now.duration_since(*last_used) < UNUSED
}
