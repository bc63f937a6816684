//! A service's endpoints, as routes send requests to them.
//!
//! Balancing, limits, circuits and TLS are a backend's own, whichever service was asked for: they
//! protect the endpoints. What counts over time is carried over from the snapshot before, so that
//! an update resets nothing; circuits live in the endpoints.

use std::sync::Arc;
use std::time::Duration;

use http::uri::Authority;

use crate::balance::{Ask, Balancer};
use crate::circuit::{self, Pass};
use crate::dial::Far;
use crate::http::respond::Failure;
use crate::limit::{Bulkhead, RequestTicket};
use crate::model::{Endpoint, Policy, Reason, Service, Tls};
use crate::retry::Latency;
use crate::runtime::Exempt;
use crate::runtime::clock::Rng;
use crate::tls::Origination;

/// One service port's endpoints, ready to take requests.
#[derive(Debug)]
pub struct Backend {
    pub service: Arc<Service>,
    /// The metric label and log field: `name.namespace:port`.
    pub label: Arc<str>,
    /// For HTTP/1.0 requests without a Host.
    pub authority: Authority,
    pub balancer: Balancer,
    pub bulkhead: Arc<Bulkhead>,
    /// Of answers' heads, for hedging.
    pub latency: Arc<Latency>,
    origination: Option<Origination>,
}

impl Backend {
    pub fn new(service: &Arc<Service>, zone: Option<&str>, before: Option<&Backend>) -> Self {
        let (policy, name) = (&service.policy, &service.name);
        let bulkhead = match before {
            Some(before) => {
                before.bulkhead.retune(&policy.limits);
                Arc::clone(&before.bulkhead)
            }
            None => Bulkhead::new(policy.limits.clone()),
        };
        let host = format!("{}.{}", name.name, name.namespace);
        let balancer = before.map(|before| &before.balancer);
        Self {
            label: before.map_or_else(|| name.to_string().into(), |b| Arc::clone(&b.label)),
            authority: Authority::try_from(host)
                .unwrap_or_else(|_| Authority::from_static("service")),
            balancer: Balancer::compile(&policy.balancing, &service.endpoints, zone, balancer),
            bulkhead,
            latency: before.map_or_else(Arc::default, |before| Arc::clone(&before.latency)),
            origination: match &policy.tls {
                Tls::Originate(originate) => {
                    let before = before.and_then(|before| before.origination.as_ref());
                    Some(Origination::load(originate, before))
                }
                Tls::Mesh | Tls::Off => None,
            },
            service: Arc::clone(service),
        }
    }

    /// A place for one request.
    ///
    /// # Errors
    /// All of them are taken.
    pub fn admit(&self) -> Result<RequestTicket, Failure> {
        self.bulkhead.try_admit().map_err(|reason| self.full(reason))
    }

    /// There is no place for another request.
    pub fn full(&self, reason: Reason) -> Failure {
        let most = self.policy().limits.max_requests;
        let sentence = format!("{} has {most} requests under way, as many as it may", self.label);
        Failure::new(reason, sentence)
    }

    /// There is no endpoint to ask.
    pub fn nobody(&self) -> Failure {
        if self.service.endpoints.is_empty() {
            let sentence = format!("{} has no ready endpoint", self.label);
            return Failure::new(Reason::NoEndpoints, sentence);
        }
        let sentence = format!("the circuit of every endpoint of {} is open", self.label);
        Failure::new(Reason::CircuitOpen, sentence)
    }

    /// Draws an endpoint whose circuit would let a request through. Those that may be sent `twice`
    /// find out whether an ejected endpoint is well again; the others do only where none of those
    /// comes. `balancer` is the backend's, or a copy of it.
    pub fn draw(
        &self,
        balancer: &Balancer,
        ask: Ask<'_>,
        twice: bool,
        rng: &mut Rng,
    ) -> Option<&Arc<Endpoint>> {
        let (endpoints, policy) = (&self.service.endpoints, &self.policy().circuit);
        let is_trusted = |e: &Endpoint| circuit::is_trusted(&e.health, policy, ask.now_us);
        let is_ready = |e: &Endpoint| circuit::is_ready(&e.health, policy, ask.now_us);
        // Few may be trusted where many are ready: that is no reason to ignore circuits.
        let may_probe = twice || balancer.is_panicking(endpoints, is_ready);
        let among = |rng: &mut Rng| balancer.pick_among(endpoints, ask, is_trusted, rng);
        let trusted = if may_probe { None } else { among(rng) };
        trusted.or_else(|| balancer.pick(endpoints, ask, is_ready, rng))
    }

    /// Chooses an endpoint that was not tried yet, if there is another, and what its circuit gives.
    /// Those that may be sent `twice` find out whether an ejected endpoint is well again; the others
    /// do only where none of those comes, or where every other endpoint has failed them. Every pass
    /// must be settled, or given back.
    pub fn choose(
        &self,
        ask: Ask<'_>,
        twice: bool,
        only_lost: bool,
        rng: &mut Rng,
    ) -> Option<(&Arc<Endpoint>, Pass)> {
        let (endpoints, policy) = (&self.service.endpoints, &self.policy().circuit);
        if only_lost
            && circuit::may_go_beyond(endpoints, ask.tried, policy, ask.now_us)
            && let Some(endpoint) = self.balancer.pick(endpoints, ask, |_| true, rng)
        {
            return Some((endpoint, Pass::Needed));
        }
        // Between choice and admission another worker may take the last probe: choose again.
        for _ in 0..3 {
            let Some(endpoint) = self.draw(&self.balancer, ask, twice, rng) else { break };
            if let Some(pass) = circuit::admit(&endpoint.health, policy, ask.now_us) {
                return Some((endpoint, pass));
            }
            if self.is_panicking(ask.now_us) {
                return Some((endpoint, Pass::Needed));
            }
        }
        let pass = circuit::floor(endpoints, policy)?;
        Some((self.balancer.pick(endpoints, ask, |_| true, rng)?, pass))
    }

    /// Whether circuits are ignored, because too few endpoints are ready.
    pub fn is_panicking(&self, now_us: u64) -> bool {
        let policy = &self.policy().circuit;
        let is_ready = |e: &Endpoint| circuit::is_ready(&e.health, policy, now_us);
        self.balancer.is_panicking(&self.service.endpoints, is_ready)
    }

    pub fn policy(&self) -> &Policy {
        &self.service.policy
    }

    pub fn has_stale_roots(&self) -> bool {
        self.origination.as_ref().is_some_and(Origination::is_stale)
    }

    /// Whether an endpoint is spoken to over mutual TLS.
    pub fn meshes(&self, endpoint: &Endpoint) -> bool {
        endpoint.identity.is_some() && self.policy().tls != Tls::Off
    }

    /// Whether an endpoint could be reached over HTTP/1, where the letter case of names is kept.
    pub fn may_keep_case(&self) -> bool {
        let mut endpoints = self.service.endpoints.iter();
        self.policy().keeps_header_case || endpoints.any(|endpoint| !self.meshes(endpoint))
    }

    /// Where an endpoint is, and how it is reached.
    pub fn far<'a>(&'a self, endpoint: &'a Endpoint, connect_timeout: Duration) -> Far<'a> {
        let meshed = self.meshes(endpoint);
        Far {
            address: endpoint.address,
            identity: endpoint.identity.as_ref().filter(|_| meshed),
            origination: self.origination.as_ref(),
            host: endpoint.host.as_deref(),
            connect_timeout,
            keeps_case: !meshed || self.policy().keeps_header_case,
            exempt: Exempt::No,
        }
    }
}
