//! Which routes and policies hang on which service.
//!
//! An index, so that a change of one touches the services that it concerned before or concerns now
//! and no others: a route those that it names; a policy its target, the services of a route that is
//! its target, those of its namespace, or all. Each resource is written as its manifest once,
//! whoever is told of it. Called by the picture.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::Hash;
use std::sync::Arc;

use crate::model::CONTROL_PLANE_NAMESPACE;
use crate::resources::{
    Metadata, ParentRef, Resource, TargetKind, TargetRef, TrafficPolicy, manifest,
};

/// A service by namespace and name.
pub type ServiceKey = (String, String);

/// A route or policy by kind, namespace and name.
type Key = (&'static str, String, String);

/// All routes and policies.
#[derive(Default)]
pub struct Attachments {
    all: BTreeMap<Key, Attachment>,
    /// Routes, by a service that they name.
    routes: HashMap<ServiceKey, BTreeSet<Key>>,
    /// Policies, by what they are about.
    policies: HashMap<Key, BTreeSet<Key>>,
    /// Policies about everything of their namespace.
    defaults: HashMap<String, BTreeSet<Key>>,
}

struct Attachment {
    resource: Arc<Resource>,
    manifest: Arc<str>,
}

/// The services that a change may concern.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reach {
    pub services: BTreeSet<ServiceKey>,
    pub namespaces: BTreeSet<String>,
    pub mesh: bool,
}

/// Whether a resource can hang on a service.
pub fn is_attachable(resource: &Resource) -> bool {
    !parents(resource).is_empty() || policy(resource).is_some()
}

/// The services that a route is for.
pub fn parents(resource: &Resource) -> &[ParentRef] {
    match resource {
        Resource::HttpRoute(route) => &route.parents,
        Resource::GrpcRoute(route) => &route.parents,
        _ => &[],
    }
}

pub fn policy(resource: &Resource) -> Option<&TrafficPolicy> {
    if let Resource::TrafficPolicy(policy) = resource { Some(policy) } else { None }
}

impl Attachments {
    /// A route or policy came, changed or went.
    pub fn change(&mut self, before: Option<&Resource>, now: Option<&Arc<Resource>>) -> Reach {
        let mut reach = Reach::default();
        if let Some(before) = before.filter(|before| is_attachable(before)) {
            self.index(before, false);
            self.all.remove(&key(before));
            self.reach(before, &mut reach);
        }
        if let Some(now) = now.filter(|now| is_attachable(now)) {
            self.index(now, true);
            let manifest = manifest::of(now).to_string().into();
            self.all.insert(key(now), Attachment { resource: Arc::clone(now), manifest });
            self.reach(now, &mut reach);
        }
        reach
    }

    /// What may hold for a service: every route that names it, and every policy that is about it,
    /// one of those routes, its namespace or the mesh.
    pub fn of(&self, (namespace, name): &ServiceKey) -> Vec<Arc<Resource>> {
        let routes = self.routes.get(&(namespace.clone(), name.clone()));
        let mut keys: BTreeSet<&Key> = routes.into_iter().flatten().collect();
        let targets: Vec<&Key> = keys.iter().copied().collect();
        let service = (SERVICE, namespace.clone(), name.clone());
        for target in targets.into_iter().chain([&service]) {
            keys.extend(self.policies.get(target).into_iter().flatten());
        }
        for namespace in [namespace.as_str(), CONTROL_PLANE_NAMESPACE] {
            keys.extend(self.defaults.get(namespace).into_iter().flatten());
        }
        let held = keys.into_iter().filter_map(|key| self.all.get(key));
        held.map(|attachment| Arc::clone(&attachment.resource)).collect()
    }

    /// As it is told; one that is not here says nothing.
    pub fn manifest(&self, resource: &Resource) -> Arc<str> {
        let held = self.all.get(&key(resource));
        held.map(|attachment| Arc::clone(&attachment.manifest)).unwrap_or_default()
    }

    fn index(&mut self, resource: &Resource, is_there: bool) {
        let of = key(resource);
        for ParentRef { name, namespace, port: _, section: _ } in parents(resource) {
            let service = (namespace.clone(), name.clone());
            note(&mut self.routes, service, &of, is_there);
        }
        let Some(policy) = policy(resource) else { return };
        let namespace = &policy.metadata.namespace;
        for target in &policy.targets {
            note(&mut self.policies, target_key(namespace, target), &of, is_there);
        }
        if policy.targets.is_empty() {
            note(&mut self.defaults, namespace.clone(), &of, is_there);
        }
    }

    fn reach(&self, resource: &Resource, reach: &mut Reach) {
        let service = |parent: &ParentRef| (parent.namespace.clone(), parent.name.clone());
        reach.services.extend(parents(resource).iter().map(service));
        let Some(policy) = policy(resource) else { return };
        let namespace = &policy.metadata.namespace;
        if policy.targets.is_empty() && namespace == CONTROL_PLANE_NAMESPACE {
            reach.mesh = true;
        } else if policy.targets.is_empty() {
            reach.namespaces.insert(namespace.clone());
        }
        for target in &policy.targets {
            if target.kind == TargetKind::Service {
                reach.services.insert((namespace.clone(), target.name.clone()));
            } else if let Some(route) = self.all.get(&target_key(namespace, target)) {
                reach.services.extend(parents(&route.resource).iter().map(service));
            }
        }
    }
}

const SERVICE: &str = "Service";

fn key(resource: &Resource) -> Key {
    let Metadata { namespace, name, .. } = resource.metadata();
    (resource.kind(), namespace.clone(), name.clone())
}

fn target_key(namespace: &str, TargetRef { kind, name, section: _ }: &TargetRef) -> Key {
    let kind = match kind {
        TargetKind::Service => SERVICE,
        TargetKind::HttpRoute => "HTTPRoute",
        TargetKind::GrpcRoute => "GRPCRoute",
    };
    (kind, namespace.to_owned(), name.clone())
}

/// Puts a key into an index, or takes it out.
fn note<K: Eq + Hash>(index: &mut HashMap<K, BTreeSet<Key>>, at: K, key: &Key, is_there: bool) {
    if is_there {
        index.entry(at).or_default().insert(key.clone());
    } else if let Some(keys) = index.get_mut(&at) {
        keys.remove(key);
        if keys.is_empty() {
            index.remove(&at);
        }
    }
}
