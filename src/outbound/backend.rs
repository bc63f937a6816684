//! A service's endpoints, as routes send requests to them.
//!
//! Balancing, limits, circuits and TLS are a backend's own, whichever service was asked for: they
//! protect the endpoints. What counts over time is carried over from the snapshot before, so that
//! an update resets nothing; circuits live in the endpoints.

use std::sync::Arc;
use std::time::Duration;

use http::uri::Authority;

use crate::balance::Balancer;
use crate::dial::Far;
use crate::http::respond::Failure;
use crate::limit::{Bulkhead, RequestTicket};
use crate::model::{Endpoint, Policy, Service, Tls};
use crate::retry::Latency;
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
        self.bulkhead.try_admit().map_err(|reason| {
            let most = self.policy().limits.max_requests;
            let sentence =
                format!("{} has {most} requests under way, as many as it may", self.label);
            Failure::new(reason, sentence)
        })
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
        }
    }
}
