//! Which routes and policies are about one port of a service.
//!
//! Asked when services are bound, where the names of ports are known; afterwards a selected resource
//! is known to be about the port, and nobody asks for its name again.

use std::sync::Arc;

use crate::model::{CONTROL_PLANE_NAMESPACE, ServiceName};
use crate::resources::{
    ParentRef, Resource, Service, ServicePort, TargetKind, TargetRef, TrafficPolicy,
};

/// What of `attachable` is about a port of a service: routes that name it, and policies that
/// [`concerns`] finds; by kind, namespace and name, so that equal states are equal.
pub fn select(
    service: &Service,
    port: &ServicePort,
    attachable: &[Arc<Resource>],
) -> Vec<Arc<Resource>> {
    let is_route = |r: &&Arc<Resource>| is_parent(r, service, port);
    let routes: Vec<&Resource> = attachable.iter().filter(is_route).map(Arc::as_ref).collect();
    let is_about = |r: &&Arc<Resource>| concerns(r, service, port, &routes);
    let mut selected: Vec<Arc<Resource>> =
        attachable.iter().filter(is_about).map(|r| without_other_ports(r, service, port)).collect();
    selected.sort_by(|a, b| id(a).cmp(&id(b)));
    selected
}

/// What no two resources have in common.
fn id(resource: &Resource) -> (&'static str, &str, &str) {
    let of = resource.metadata();
    (resource.kind(), &of.namespace, &of.name)
}

/// Whether a resource is about a port of a service; `routes` are those that name the port. Routes
/// are when they name it; policies when they have it as their target, or one of the routes, or when
/// they are the default of its namespace or of the mesh.
pub fn concerns(
    resource: &Resource,
    service: &Service,
    port: &ServicePort,
    routes: &[&Resource],
) -> bool {
    let Resource::TrafficPolicy(policy) = resource else {
        return is_parent(resource, service, port);
    };
    let TrafficPolicy { metadata, targets, .. } = &**policy;
    let (namespace, home) = (&metadata.namespace, &service.metadata.namespace);
    if targets.is_empty() {
        return namespace == home || namespace == CONTROL_PLANE_NAMESPACE;
    }
    targets.iter().any(|target| match target.kind {
        TargetKind::Service => {
            namespace == home && !is_elsewhere(target, port) && target.name == service.metadata.name
        }
        TargetKind::HttpRoute | TargetKind::GrpcRoute => routes.iter().any(|route| {
            let of = route.metadata();
            route.kind() == target.kind.as_str()
                && of.name == target.name
                && of.namespace == *namespace
        }),
    })
}

/// Whether a resource is a route that names a port of a service.
fn is_parent(resource: &Resource, service: &Service, port: &ServicePort) -> bool {
    let of = &service.metadata;
    parents(resource).iter().any(|parent| {
        let ParentRef { name, namespace, port: number, section } = parent;
        *name == of.name
            && *namespace == of.namespace
            && number.is_none_or(|number| number == port.port)
            && section.as_ref().is_none_or(|section| port.name.as_ref() == Some(section))
    })
}

/// Whether a selected route names a service port.
pub(super) fn names(resource: &Resource, service: &ServiceName) -> bool {
    parents(resource).iter().any(|parent| {
        *parent.name == *service.name
            && *parent.namespace == *service.namespace
            && parent.port.is_none_or(|port| port == service.port)
    })
}

/// Empty for what is no route.
pub(super) fn parents(resource: &Resource) -> &[ParentRef] {
    match resource {
        Resource::HttpRoute(route) => &route.parents,
        Resource::GrpcRoute(route) => &route.parents,
        Resource::Service(_)
        | Resource::Workload(_)
        | Resource::TrafficPolicy(_)
        | Resource::AccessPolicy(_)
        | Resource::RateLimitPolicy(_) => &[],
    }
}

/// Whether a target, of services, is a port other than this one.
fn is_elsewhere(target: &TargetRef, port: &ServicePort) -> bool {
    target.kind == TargetKind::Service && target.section.is_some() && target.section != port.name
}

/// A policy that is about this port, without what it says of other ports of the service: who reads
/// it doesn't know their names.
fn without_other_ports(
    resource: &Arc<Resource>,
    service: &Service,
    port: &ServicePort,
) -> Arc<Resource> {
    let is_other =
        |target: &TargetRef| is_elsewhere(target, port) && target.name == service.metadata.name;
    match &**resource {
        Resource::TrafficPolicy(policy) if policy.targets.iter().any(is_other) => {
            let mut policy = policy.clone();
            policy.targets.retain(|target| !is_other(target));
            Arc::new(Resource::TrafficPolicy(policy))
        }
        _ => Arc::clone(resource),
    }
}
