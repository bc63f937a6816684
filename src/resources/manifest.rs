//! Resources back to manifests: what was read, defaults filled in, in the shape it is written in.
//! Every field of a resource is taken apart by name, so that a new one doesn't compile until it is
//! printed.

use serde_json::{Map, Value, json};

use super::{
    Address, Labels, Metadata, Resource, Service, ServicePort, TargetPort, Workload, WorkloadPort,
    access_policy, rate_limit_policy, route, traffic_policy,
};
use crate::model::Protocol;

/// A manifest that reads back to the same resource.
pub fn of(resource: &Resource) -> Value {
    let (api_version, spec) = match resource {
        Resource::Service(service) => ("v1", service_spec(service)),
        Resource::Workload(workload) => ("outrigger.dev/v1alpha1", workload_spec(workload)),
        Resource::HttpRoute(route) => ("gateway.networking.k8s.io/v1", route::http_spec(route)),
        Resource::GrpcRoute(route) => ("gateway.networking.k8s.io/v1", route::grpc_spec(route)),
        Resource::TrafficPolicy(policy) => ("outrigger.dev/v1alpha1", traffic_policy::spec(policy)),
        Resource::AccessPolicy(policy) => ("outrigger.dev/v1alpha1", access_policy::spec(policy)),
        Resource::RateLimitPolicy(policy) => {
            ("outrigger.dev/v1alpha1", rate_limit_policy::spec(policy))
        }
    };
    json!({
        "apiVersion": api_version,
        "kind": resource.kind(),
        "metadata": metadata(resource.metadata()),
        "spec": spec,
    })
}

/// The ports that a resource is about.
pub fn ports(resource: &Resource) -> Vec<u16> {
    match resource {
        Resource::Service(service) => service.ports.iter().map(|port| port.port).collect(),
        Resource::Workload(workload) => workload.ports.iter().map(|port| port.port).collect(),
        Resource::HttpRoute(_)
        | Resource::GrpcRoute(_)
        | Resource::TrafficPolicy(_)
        | Resource::AccessPolicy(_)
        | Resource::RateLimitPolicy(_) => Vec::new(),
    }
}

fn metadata(Metadata { name, namespace, labels, created, version, at: _ }: &Metadata) -> Value {
    object([
        ("name", Some(json!(name))),
        ("namespace", Some(json!(namespace))),
        ("labels", unless_empty(labels)),
        ("creationTimestamp", created.map(|created| json!(created.to_string()))),
        ("resourceVersion", version.as_ref().map(|version| json!(version))),
    ])
}

fn service_spec(
    Service {
        metadata: _,
        selector,
        cluster_ips,
        headless,
        session_affinity,
        ports,
        external_name,
    }: &Service,
) -> Value {
    let addresses: Vec<Value> = cluster_ips.iter().map(|ip| json!(ip.to_string())).collect();
    let first = if *headless { Some(json!("None")) } else { addresses.first().cloned() };
    object([
        ("type", external_name.as_ref().map(|_| json!("ExternalName"))),
        ("externalName", external_name.as_ref().map(|name| json!(name))),
        ("selector", unless_empty(selector)),
        ("clusterIP", first),
        ("clusterIPs", (addresses.len() > 1).then(|| Value::from(addresses))),
        ("sessionAffinity", session_affinity.then(|| json!("ClientIP"))),
        ("ports", (!ports.is_empty()).then(|| ports.iter().map(service_port).collect())),
    ])
}

fn service_port(ServicePort { name, port, target, protocol }: &ServicePort) -> Value {
    let target = match target {
        TargetPort::Number(number) => json!(number),
        TargetPort::Name(name) => json!(name),
    };
    object([
        ("name", name.as_ref().map(|name| json!(name))),
        ("port", Some(json!(port))),
        ("targetPort", Some(target)),
        ("appProtocol", declared(*protocol)),
    ])
}

fn workload_spec(workload: &Workload) -> Value {
    let Workload { metadata: _, address, service_account, zone, weight, ports } = workload;
    let address = match address {
        Address::Ip(ip) => ip.to_string(),
        Address::Host(name) => name.clone(),
    };
    object([
        ("address", Some(json!(address))),
        ("serviceAccount", service_account.as_ref().map(|account| json!(account))),
        ("zone", zone.as_ref().map(|zone| json!(zone))),
        ("weight", Some(json!(weight))),
        ("ports", (!ports.is_empty()).then(|| ports.iter().map(workload_port).collect())),
    ])
}

fn workload_port(WorkloadPort { name, port, mesh_port, protocol }: &WorkloadPort) -> Value {
    object([
        ("name", name.as_ref().map(|name| json!(name))),
        ("port", Some(json!(port))),
        ("meshPort", mesh_port.map(|port| json!(port))),
        ("protocol", declared(*protocol)),
    ])
}

fn declared(protocol: Protocol) -> Option<Value> {
    (protocol != Protocol::Auto).then(|| json!(protocol.as_str()))
}

fn unless_empty(labels: &Labels) -> Option<Value> {
    (!labels.is_empty()).then(|| json!(labels))
}

/// A map of the fields that say something.
pub(super) fn object<const N: usize>(fields: [(&str, Option<Value>); N]) -> Value {
    let fields = fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
    fields.collect::<Map<_, _>>().into()
}
