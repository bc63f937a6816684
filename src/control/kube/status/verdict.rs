//! How those that can be used stand together: by name, in the words of the resources.

use std::collections::HashMap;

use super::{Id, Kind};
use crate::model::ServiceName;
use crate::resources::attach::{self, Condition, conditions};
use crate::resources::{Metadata, Resource};

/// Of all objects that are in use.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Verdicts(HashMap<Id, Verdict>);

/// How one of them stands.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Verdict {
    /// For each Service among a route's parents, in their order, and for each target of a policy.
    pub on: Vec<(String, Condition)>,
    /// What it sends requests to, and is not there.
    pub missing: Vec<String>,
    /// Of a workload: the account whose identity it must prove, if it is meshed.
    pub account: Option<String>,
}

impl Verdicts {
    /// With all that there is, Services included.
    pub fn of<'a>(resources: impl IntoIterator<Item = &'a Resource>) -> Self {
        let resources: Vec<&Resource> = resources.into_iter().collect();
        let standing = |of: attach::Standing<'_>| {
            let metadata = of.resource.metadata();
            let kind = match of.resource {
                Resource::HttpRoute(_) => Kind::HttpRoute,
                Resource::GrpcRoute(_) => Kind::GrpcRoute,
                Resource::TrafficPolicy(_) => Kind::TrafficPolicy,
                Resource::AccessPolicy(_) => Kind::AccessPolicy,
                Resource::RateLimitPolicy(_) => Kind::RateLimitPolicy,
                Resource::Service(_) | Resource::Workload(_) => return None,
            };
            let (namespace, name) = (metadata.namespace.clone(), metadata.name.clone());
            let missing = of.missing.iter().map(shown).collect();
            let verdict = Verdict { on: of.on, missing, account: None };
            Some((Id { kind, namespace, name }, verdict))
        };
        let workloads = resources.iter().filter_map(|resource| workload(resource));
        let mut all: HashMap<Id, Verdict> = workloads.collect();
        all.extend(conditions(resources).into_iter().filter_map(standing));
        Self(all)
    }

    /// Adds one, for kinds that nothing else stands against.
    pub fn put(&mut self, id: Id, verdict: Verdict) {
        self.0.insert(id, verdict);
    }

    pub fn of_id(&self, id: &Id) -> Option<&Verdict> {
        self.0.get(id)
    }
}

/// Nothing else stands against one: it is in use as it is.
fn workload(resource: &Resource) -> Option<(Id, Verdict)> {
    let Resource::Workload(workload) = resource else { return None };
    let Metadata { namespace, name, .. } = &workload.metadata;
    let id = Id { kind: Kind::Workload, namespace: namespace.clone(), name: name.clone() };
    let account = workload.service_account.clone();
    Some((id, Verdict { account, ..Verdict::default() }))
}

fn shown(ServiceName { name, namespace, port }: &ServiceName) -> String {
    match port {
        0 => format!("Service {name} of namespace {namespace}"),
        port => format!("port {port} of Service {name} of namespace {namespace}"),
    }
}
