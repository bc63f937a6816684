//! How those that can be used stand together: by name, in the words of the resources.

use std::collections::HashMap;

use super::{Id, Kind};
use crate::model::ServiceName;
use crate::resources::Resource;
use crate::resources::attach::{self, Condition, conditions};

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
}

impl Verdicts {
    /// With all that there is, Services included.
    pub fn of<'a>(resources: impl IntoIterator<Item = &'a Resource>) -> Self {
        let standing = |of: attach::Standing<'_>| {
            let metadata = of.resource.metadata();
            let kind = match of.resource {
                Resource::HttpRoute(_) => Kind::HttpRoute,
                Resource::GrpcRoute(_) => Kind::GrpcRoute,
                Resource::TrafficPolicy(_) => Kind::TrafficPolicy,
                Resource::AccessPolicy(_) => Kind::AccessPolicy,
                Resource::Service(_) | Resource::Workload(_) => return None,
            };
            let (namespace, name) = (metadata.namespace.clone(), metadata.name.clone());
            let missing = of.missing.iter().map(shown).collect();
            Some((Id { kind, namespace, name }, Verdict { on: of.on, missing }))
        };
        Self(conditions(resources).into_iter().filter_map(standing).collect())
    }

    /// Adds one, for kinds that nothing else stands against.
    pub fn put(&mut self, id: Id, verdict: Verdict) {
        self.0.insert(id, verdict);
    }

    pub fn of_id(&self, id: &Id) -> Option<&Verdict> {
        self.0.get(id)
    }
}

fn shown(ServiceName { name, namespace, port }: &ServiceName) -> String {
    match port {
        0 => format!("Service {name} of namespace {namespace}"),
        port => format!("port {port} of Service {name} of namespace {namespace}"),
    }
}
