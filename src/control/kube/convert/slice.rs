//! Endpoint slices.

use std::sync::Arc;

use k8s_openapi::api::discovery::v1::{Endpoint, EndpointPort, EndpointSlice};

use super::is_tcp;
use super::service::declared;
use crate::control::catalog::{Member, Slice, SlicePort};

/// Whose slice it is.
const SERVICE: &str = "kubernetes.io/service-name";

/// `None` for one that is no service's, or whose addresses are no IP addresses.
pub fn slice(object: EndpointSlice) -> Option<Slice> {
    let EndpointSlice { address_type, endpoints, metadata: meta, ports } = object;
    let service = meta.labels.as_ref()?.get(SERVICE)?;
    if !matches!(address_type.as_str(), "IPv4" | "IPv6") {
        return None;
    }
    let namespace = meta.namespace.clone()?;
    let members = endpoints.into_iter().filter_map(|endpoint| member(&namespace, endpoint));
    Some(Slice {
        members: members.collect(),
        ports: ports.into_iter().flatten().filter_map(port).collect(),
        service: (namespace, service.clone()),
    })
}

fn port(port: EndpointPort) -> Option<SlicePort> {
    if !is_tcp(port.protocol.as_deref()) {
        return None;
    }
    Some(SlicePort {
        name: port.name.unwrap_or_default(),
        port: u16::try_from(port.port?).ok().filter(|port| *port > 0)?,
        protocol: declared(port.app_protocol.as_deref()),
    })
}

/// What the conditions leave open is taken as Kubernetes says that it must be.
fn member(namespace: &str, endpoint: Endpoint) -> Option<Member> {
    let conditions = endpoint.conditions.unwrap_or_default();
    let is_ready = conditions.ready.unwrap_or(true);
    let pod = endpoint.target_ref.filter(|target| target.kind.as_deref() == Some("Pod"));
    let pod = pod.and_then(|target| {
        let namespace = target.namespace.as_deref().unwrap_or(namespace);
        let name = format!("{namespace}/{}", target.name?).into();
        Some((name, target.uid.map(Arc::from)))
    });
    let hints = endpoint.hints.and_then(|hints| hints.for_zones).unwrap_or_default();
    Some(Member {
        // Nobody looks at more than the first.
        address: super::ip(endpoint.addresses.first()?)?,
        pod,
        is_ready,
        is_serving: conditions.serving.unwrap_or(is_ready),
        is_terminating: conditions.terminating.unwrap_or_default(),
        zone: endpoint.zone.filter(|zone| !zone.is_empty()).map(Arc::from),
        for_zones: hints.into_iter().map(|zone| zone.name.into()).collect(),
    })
}
