//! Taking an update: whole, or not at all, but for attachments that can't be read.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;

use super::{AddressAnswer, Known, References, Said, Service, ServiceAnswer};
use crate::agent::convert::{
    Attached, Delta, EndpointKey, Manifests, address_answer, service_answer,
};
use crate::model::ServiceName;
use crate::resources::Resource;
use crate::resources::bound::{Bound, BoundEndpoint};
use crate::wire::v1;

type Places = Vec<(SocketAddr, AddressAnswer)>;
type Answers = Vec<(ServiceName, ServiceAnswer)>;

/// What became of an update.
#[derive(Debug, Default)]
pub struct Taken {
    /// What was in it that nobody needs any more, and that was not taken up.
    pub unwanted: v1::Subscription,
    /// Attachments that can't be read. What hung on the service before still does.
    pub faults: Vec<String>,
}

impl Known {
    /// Takes an update.
    ///
    /// # Errors
    /// Everything that can't be read; then nothing was taken.
    pub fn take(&mut self, update: v1::Update) -> Result<Taken, Vec<String>> {
        let v1::Update { version, services, addresses } = update;
        let mut errors = Vec::new();
        let (mut places, mut manifests) = (Places::new(), Manifests::default());
        for answer in addresses {
            address_answer(answer)
                .map_or_else(|error| errors.push(error), |read| places.push(read));
        }
        let mut answers = Answers::new();
        for answer in services {
            let read = service_answer(answer, &mut manifests);
            read.map_or_else(|error| errors.push(error), |read| answers.push(read));
        }
        places.retain(|(address, _)| self.addresses.contains_key(address));
        let services = self.drop_unwanted(&places, &mut answers);
        let (mut said, mut faults) = (Vec::new(), Vec::new());
        for (name, answer) in answers {
            let read = self.said(&name, answer, &mut faults);
            read.map_or_else(
                |error| errors.push(error),
                |read| said.extend(read.map(|read| (name, read))),
            );
        }
        let is_anew = std::mem::take(&mut self.is_anew);
        self.is_mixed = !errors.is_empty() || (self.is_mixed && !is_anew);
        if !errors.is_empty() {
            return Err(errors);
        }
        let replaced: HashSet<ServiceName> = said.iter().map(|(name, _)| name.clone()).collect();
        for (name, said) in said {
            self.replace(name, said);
        }
        for (address, said) in places {
            if let Some(address) = self.addresses.get_mut(&address) {
                address.said = Some(said);
            }
        }
        self.settle(&replaced);
        self.version = version;
        let unwanted = v1::Subscription { services, addresses: Vec::new() };
        Ok(Taken { unwanted, faults })
    }

    /// What was let go meanwhile is not taken up again; it would never be let go.
    fn drop_unwanted(&self, places: &Places, answers: &mut Answers) -> Vec<v1::ServiceName> {
        let is_known = |name: &ServiceName| self.services.contains_key(name);
        if answers.iter().all(|(name, _)| is_known(name)) {
            return Vec::new();
        }
        let mut led_to = self.led_to();
        led_to.extend(places.iter().filter_map(|(_, place)| place.service()));
        let is_first = |name: &ServiceName| {
            led_to.contains(name) || self.services.get(name).is_some_and(|service| service.asked)
        };
        let held = self.services.iter().filter(|(name, _)| is_first(name));
        let held = held.flat_map(|(_, service)| &service.said).flat_map(|said| &said.references);
        let said = answers.iter().filter(|(name, _)| is_first(name));
        let said = said.flat_map(|(_, answer)| answer.references());
        let mut wanted: HashSet<ServiceName> = held.chain(said).cloned().collect();
        wanted.extend(led_to.into_iter().cloned());
        let is_wanted = |name: &ServiceName| is_known(name) || wanted.contains(name);
        let unwanted = answers.extract_if(.., |(name, _)| !is_wanted(name));
        unwanted.map(|(name, _)| (&name).into()).collect()
    }

    /// What a service is after an answer; `None` for a change of what was said before it was let go:
    /// if it is needed again, it is asked for again.
    fn said(
        &self,
        name: &ServiceName,
        answer: ServiceAnswer,
        faults: &mut Vec<String>,
    ) -> Result<Option<Said>, String> {
        let known = self.services.get(name);
        let is_late = known.is_none_or(|service| service.said.is_none());
        let known = known.and_then(|service| service.said.as_ref());
        let known = known.and_then(|said| Some((said.bound.as_deref()?, &said.references)));
        let (bound, references) = match (answer, known) {
            (ServiceAnswer::Unknown, _) => {
                return Ok(Some(Said { bound: None, references: Vec::new() }));
            }
            (ServiceAnswer::Whole(bound, attached), _) => {
                let (attachments, references) = self.attached(name, attached, faults);
                (Bound { attachments, ..bound }, references)
            }
            (ServiceAnswer::Endpoints(delta), Some((known, references))) => {
                let endpoints = changed(&known.endpoints, delta);
                (Bound { endpoints, ..known.clone() }, references.clone())
            }
            (ServiceAnswer::Attachments(attached), Some((known, _))) => {
                let (attachments, references) = self.attached(name, attached, faults);
                (Bound { attachments, ..known.clone() }, references)
            }
            (_, None) if is_late => return Ok(None),
            (_, None) => return Err(format!("{name}: a change of what was never said")),
        };
        Ok(Some(Said { bound: Some(Arc::new(bound)), references }))
    }

    /// What hangs on a service now: when some of it can't be read, that which callers go by. If
    /// there is none, then that which can be read, since requests without a policy, or to where they
    /// go without a route, are better than none. References are those that were said in any case:
    /// the control plane goes by them.
    fn attached(
        &self,
        name: &ServiceName,
        attached: Attached,
        all: &mut Vec<String>,
    ) -> (Vec<Arc<Resource>>, References) {
        let Attached { resources, mut references, faults } = attached;
        if faults.is_empty() {
            return (resources, references);
        }
        all.extend(faults);
        let before = self.services.get(name).and_then(|service| self.in_force(service));
        let Some(Said { bound: Some(bound), references: held }) = before else {
            return (resources, references);
        };
        // One that is not known any more would keep the service out of force.
        let is_known = |name: &ServiceName| {
            self.services.get(name).is_some_and(|service| service.said.is_some())
        };
        for name in held {
            if !references.contains(name) && is_known(name) {
                references.push(name.clone());
            }
        }
        (bound.attachments.clone(), references)
    }

    /// What was in force stays so until it is known where the newest leads to.
    fn replace(&mut self, name: ServiceName, said: Said) {
        let known = self.services.get(&name);
        let before = known.and_then(|service| self.in_force(service)).cloned();
        let service = self.services.entry(name).or_default();
        service.before = before;
        service.said = Some(said);
    }

    /// What was waited for may have come.
    fn settle(&mut self, replaced: &HashSet<ServiceName>) {
        let led_to = self.led_to();
        let is_settled = |(name, service): &(&ServiceName, &Service)| {
            let is_open = service.before.is_some() || service.asked_again;
            let is_first = service.asked || led_to.contains(*name);
            let said = service.said.as_ref().filter(|_| is_open || replaced.contains(*name));
            said.is_some_and(|said| !is_first || self.knows_all(&said.references))
        };
        let settled: Vec<ServiceName> =
            self.services.iter().filter(is_settled).map(|(name, _)| name.clone()).collect();
        for name in settled {
            if let Some(service) = self.services.get_mut(&name) {
                (service.before, service.asked_again) = (None, false);
            }
        }
        let services = &self.services;
        for address in self.addresses.values_mut().filter(|address| address.asked_again) {
            let service = address.said.as_ref().and_then(AddressAnswer::service);
            address.asked_again = service.is_some_and(|name| !services.contains_key(name));
        }
    }
}

impl ServiceAnswer {
    fn references(&self) -> &[ServiceName] {
        match self {
            ServiceAnswer::Whole(_, attached) | ServiceAnswer::Attachments(attached) => {
                &attached.references
            }
            ServiceAnswer::Endpoints(_) | ServiceAnswer::Unknown => &[],
        }
    }
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
