//! Taking an update: whole, or not at all.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;

use super::{AddressAnswer, Known, Said, Service, ServiceAnswer};
use crate::agent::convert::{Delta, EndpointKey, Manifests, address_answer, service_answer};
use crate::model::ServiceName;
use crate::resources::bound::{Bound, BoundEndpoint};
use crate::wire::v1;

type Places = Vec<(SocketAddr, AddressAnswer)>;
type Answers = Vec<(ServiceName, ServiceAnswer)>;

impl Known {
    /// Takes an update; says what was in it that nobody needs any more, and that was not taken up.
    ///
    /// # Errors
    /// Everything that can't be read; then nothing was taken.
    pub fn take(&mut self, update: v1::Update) -> Result<v1::Subscription, Vec<String>> {
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
        let mut said = Vec::new();
        for (name, answer) in answers {
            let read = self.said(&name, answer);
            read.map_or_else(
                |error| errors.push(error),
                |read| said.extend(read.map(|read| (name, read))),
            );
        }
        if !errors.is_empty() {
            self.is_mixed = true;
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
        Ok(v1::Subscription { services, addresses: Vec::new() })
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
    fn said(&self, name: &ServiceName, answer: ServiceAnswer) -> Result<Option<Said>, String> {
        let known = self.services.get(name);
        let is_late = known.is_none_or(|service| service.said.is_none());
        let known = known.and_then(|service| service.said.as_ref());
        let known = known.and_then(|said| Some((said.bound.as_deref()?, &said.references)));
        let (bound, references) = match (answer, known) {
            (ServiceAnswer::Unknown, _) => {
                return Ok(Some(Said { bound: None, references: Vec::new() }));
            }
            (ServiceAnswer::Whole(bound, references), _) => (bound, references),
            (ServiceAnswer::Endpoints(delta), Some((known, references))) => {
                let endpoints = changed(&known.endpoints, delta);
                (Bound { endpoints, ..known.clone() }, references.clone())
            }
            (ServiceAnswer::Attachments(attachments, references), Some((known, _))) => {
                (Bound { attachments, ..known.clone() }, references)
            }
            (_, None) if is_late => return Ok(None),
            (_, None) => return Err(format!("{name}: a change of what was never said")),
        };
        Ok(Some(Said { bound: Some(Arc::new(bound)), references }))
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
            ServiceAnswer::Whole(_, references) | ServiceAnswer::Attachments(_, references) => {
                references
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
