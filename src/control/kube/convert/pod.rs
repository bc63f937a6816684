//! Pods.
//!
//! Meshed is who has the sidecar, once that has started: before, nothing takes the mesh's
//! connections. One that started stays meshed while its sidecar is restarted, or callers would be
//! sent to it in plaintext just then. What shares its node's network never is: nothing could take
//! the traffic of one pod alone.

use std::net::IpAddr;

use k8s_openapi::api::core::v1::{Container, ContainerStatus, PodSpec, PodStatus};

use super::{is_tcp, metadata, version};
use crate::control::ca::enrollment_for;
use crate::control::catalog::Pod;
use crate::control::inject::SIDECAR;
use crate::model::Protocol;
use crate::resources::WorkloadPort;

/// `None` for one that has finished.
pub fn pod(object: k8s_openapi::api::core::v1::Pod) -> Option<Pod> {
    let k8s_openapi::api::core::v1::Pod { metadata: meta, spec, status } = object;
    let (spec, status) = (spec?, status.unwrap_or_default());
    if matches!(status.phase.as_deref(), Some("Succeeded" | "Failed")) {
        return None;
    }
    let uid = meta.uid.clone()?;
    let is_on_host = spec.host_network.unwrap_or_default();
    Some(Pod {
        metadata: metadata(&meta)?,
        enrollment: enrollment_for(&uid),
        uid: uid.into(),
        addresses: addresses(&status),
        service_account: spec.service_account_name.as_deref().unwrap_or("default").into(),
        node: spec.node_name.as_deref().map(Into::into),
        ports: ports(&spec),
        is_meshed: !is_on_host && sidecar(&spec, &status).is_some_and(did_start),
        restarts: sidecar(&spec, &status).map_or(0, restarts),
        is_on_host,
        is_terminating: meta.deletion_timestamp.is_some(),
        version: version(&meta),
    })
}

fn addresses(status: &PodStatus) -> Vec<IpAddr> {
    let all = status.pod_ips.iter().flatten().map(|ip| ip.ip.as_str());
    let mut addresses: Vec<IpAddr> = all.filter_map(super::ip).collect();
    if addresses.is_empty() {
        addresses.extend(status.pod_ip.as_deref().and_then(super::ip));
    }
    addresses
}

/// Those of its containers; native sidecars have some too.
fn ports(spec: &PodSpec) -> Vec<WorkloadPort> {
    let containers = spec.containers.iter().chain(native_sidecars(spec));
    let ports = containers.filter(|c| c.name != SIDECAR).flat_map(|c| c.ports.iter().flatten());
    ports
        .filter(|port| is_tcp(port.protocol.as_deref()))
        .filter_map(|port| {
            Some(WorkloadPort {
                name: port.name.clone().filter(|name| !name.is_empty()),
                port: u16::try_from(port.container_port).ok().filter(|port| *port > 0)?,
                mesh_port: None,
                protocol: Protocol::Auto,
            })
        })
        .collect()
}

fn native_sidecars(spec: &PodSpec) -> impl Iterator<Item = &Container> {
    let all = spec.init_containers.iter().flatten();
    all.filter(|container| container.restart_policy.as_deref() == Some("Always"))
}

fn sidecar<'a>(spec: &PodSpec, status: &'a PodStatus) -> Option<&'a ContainerStatus> {
    let is_sidecar = |container: &Container| container.name == SIDECAR;
    let statuses = if native_sidecars(spec).any(is_sidecar) {
        &status.init_container_statuses
    } else if spec.containers.iter().any(is_sidecar) {
        &status.container_statuses
    } else {
        return None;
    };
    statuses.iter().flatten().find(|status| status.name == SIDECAR)
}

fn restarts(status: &ContainerStatus) -> u32 {
    u32::try_from(status.restart_count).unwrap_or_default()
}

fn did_start(status: &ContainerStatus) -> bool {
    let has_ended = |state: &Option<k8s_openapi::api::core::v1::ContainerState>| {
        state.as_ref().is_some_and(|state| state.terminated.is_some())
    };
    status.started.unwrap_or_default()
        || status.restart_count > 0
        || has_ended(&status.state)
        || has_ended(&status.last_state)
}
