//! Services. Ports of other protocols than TCP are left out: the mesh doesn't carry them.

use k8s_openapi::api::core::v1::ServiceSpec;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::{is_tcp, metadata};
use crate::model::{Protocol, ServiceName};
use crate::resources::{Service, ServicePort, TargetPort, protocol_of};

/// `None` for what says nothing.
pub fn service(object: &k8s_openapi::api::core::v1::Service) -> Option<Service> {
    let k8s_openapi::api::core::v1::Service { metadata: meta, spec, status: _ } = object;
    let spec = spec.as_ref()?;
    let is_external = spec.type_.as_deref() == Some("ExternalName");
    let addresses = || {
        let one = spec.cluster_ip.iter().filter(|_| spec.cluster_ips.is_none());
        spec.cluster_ips.iter().flatten().chain(one)
    };
    Some(Service {
        metadata: metadata(meta)?,
        // Somebody else lists the members of a service without one, and of this nobody does.
        selector: spec.selector.clone().filter(|_| !is_external).unwrap_or_default(),
        cluster_ips: addresses().filter_map(|ip| super::ip(ip)).collect(),
        headless: !is_external && addresses().any(|ip| ip == "None"),
        session_affinity: spec.session_affinity.as_deref() == Some("ClientIP"),
        ports: ports(spec),
        external_name: spec.external_name.clone().filter(|name| is_external && is_outside(name)),
    })
}

/// A name for another service of the cluster is no host: whoever dials it by that service's address
/// gets there, with the identity of who serves it; dialled as a host it would be reached in
/// plaintext.
fn is_outside(name: &str) -> bool {
    let name = name.trim_end_matches('.');
    let is_ours = name.ends_with(".svc") || name.ends_with(".svc.cluster.local");
    let is_service = is_ours && ServiceName::from_host(name, 1, "").is_some();
    !name.is_empty() && !is_service
}

fn ports(spec: &ServiceSpec) -> Vec<ServicePort> {
    let ports = spec.ports.iter().flatten().filter(|port| is_tcp(port.protocol.as_deref()));
    let port = |port: &k8s_openapi::api::core::v1::ServicePort| {
        let number = u16::try_from(port.port).ok().filter(|port| *port > 0)?;
        let target = match &port.target_port {
            Some(IntOrString::Int(0)) | None => TargetPort::Number(number),
            Some(IntOrString::Int(target)) => TargetPort::Number(u16::try_from(*target).ok()?),
            Some(IntOrString::String(name)) => TargetPort::Name(name.clone()),
        };
        Some(ServicePort {
            name: port.name.clone().filter(|name| !name.is_empty()),
            port: number,
            target,
            protocol: declared(port.app_protocol.as_deref()),
        })
    };
    ports.filter_map(port).collect()
}

/// A word that the mesh doesn't know declares nothing.
pub fn declared(app_protocol: Option<&str>) -> Protocol {
    app_protocol.and_then(protocol_of).unwrap_or_default()
}
