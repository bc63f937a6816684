//! `Workload`: one running instance outside Kubernetes' own pods. With a
//! service account it is meshed, reached over mTLS as that identity; without
//! one it is reached in plaintext.

use super::decode::{Decoder, Fields, distinct, list};
use super::metadata::Metadata;
use super::names::{Address, address, dns_label, dns_subdomain, zone};
use super::node::Node;
use super::scalar::{integer, port, protocol};
use crate::model::Protocol;

/// An instance and where it is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workload {
    /// Name, namespace, and the labels that services select by.
    pub metadata: Metadata,
    /// Where it is reached.
    pub address: Address,
    /// Whose identity it presents; absent: not meshed.
    pub service_account: Option<String>,
    /// Where it runs, for locality.
    pub zone: Option<String>,
    /// Its share beside others of a service, 1 to 1000; 1 unless said.
    pub weight: u16,
    /// The ports that have a name, a protocol or a mesh port of their own.
    pub ports: Vec<WorkloadPort>,
}

/// One port of a workload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkloadPort {
    /// What services' `targetPort` may call it.
    pub name: Option<String>,
    /// The app's own.
    pub port: u16,
    /// Where its sidecar takes that traffic, when that is another port.
    pub mesh_port: Option<u16>,
    /// What the port declares.
    pub protocol: Protocol,
}

pub(super) fn decode(
    metadata: Option<Metadata>,
    spec: &Node,
    decoder: &mut Decoder,
) -> Option<Workload> {
    let mut fields = Fields::open(spec, decoder)?;
    let address = fields.required("address", address);
    let service_account = fields.optional("serviceAccount", dns_subdomain);
    let meshed = !fields.is_absent("serviceAccount");
    let zone = fields.optional("zone", zone);
    let weight = fields.optional("weight", integer(1..=1000));
    let ports = fields.optional("ports", |node, decoder| ports(node, decoder, meshed));
    fields.close();
    Some(Workload {
        metadata: metadata?,
        address: address?,
        service_account,
        zone,
        weight: weight.and_then(|weight| u16::try_from(weight).ok()).unwrap_or(1),
        ports: ports.unwrap_or_default(),
    })
}

fn ports(node: &Node, decoder: &mut Decoder, meshed: bool) -> Option<Vec<WorkloadPort>> {
    let ports = list(node, decoder, |node, decoder| workload_port(node, decoder, meshed))?;
    distinct(node, decoder, &ports, |port| port.name.as_ref().map(|name| ("name", name.clone())));
    distinct(node, decoder, &ports, |port| Some(("port", port.port)));
    distinct(node, decoder, &ports, |port| Some(("meshPort", port.mesh_port?)));
    Some(ports)
}

fn workload_port(node: &Node, decoder: &mut Decoder, meshed: bool) -> Option<WorkloadPort> {
    let mut fields = Fields::open(node, decoder)?;
    let name = fields.optional("name", dns_label);
    let number = fields.required("port", port);
    let mesh_port = fields.optional("meshPort", port);
    let protocol = fields.optional("protocol", protocol).unwrap_or_default();
    if !meshed && !fields.is_absent("meshPort") {
        fields.fault("meshPort", "needs spec.serviceAccount: without one nothing is meshed");
    }
    fields.close();
    Some(WorkloadPort { name, port: number?, mesh_port, protocol })
}
