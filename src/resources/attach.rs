//! Which routes and policies hold for a service, and what they come to.
//!
//! A producer's routes (of the service's own namespace) hold for every caller, unless the caller's
//! namespace has routes of its own for the service: then those hold, alone. Of policies the nearer
//! one wins, part by part: rule, route, service, namespace, mesh.

use std::sync::Arc;

use super::Resource;
use crate::model::{Policy, Rule, ServiceName};

/// What holds for one service port, as callers of one namespace see it.
#[derive(Clone, Debug, Default)]
pub struct Attached {
    /// Of the service itself.
    pub policy: Arc<Policy>,
    /// The oldest route first; empty when no route names the service.
    pub rules: Vec<Arc<Rule>>,
}

/// What `attachments` (routes that name the service, policies that concern it or one of those
/// routes) come to for callers in `namespace`.
pub fn attach(service: &ServiceName, attachments: &[Arc<Resource>], namespace: &str) -> Attached {
    let _ = (service, attachments, namespace);
    Attached::default()
}

/// The services that `attachments` send requests to: backends, mirrors, fallbacks; each once, in
/// order, the service itself left out.
pub fn references(service: &ServiceName, attachments: &[Arc<Resource>]) -> Vec<ServiceName> {
    let _ = (service, attachments);
    Vec::new()
}
