//! `Service` (`v1`, the Kubernetes shape): a name, its addresses and ports. A
//! manifest pasted from a cluster is read as it is, as long as each field says
//! what the mesh does anyway; a field that would be ignored is refused.

use std::net::IpAddr;

use super::decode::{Decoder, Fields, distinct, list};
use super::metadata::Metadata;
use super::names::{Labels, dns_label, ip, labels};
use super::node::{Node, Value};
use super::scalar::{choice, port, text};
use crate::model::Protocol;

/// A name that workloads are reached by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Name, namespace, labels.
    pub metadata: Metadata,
    /// Labels that a workload must carry to be an endpoint; empty: none is.
    pub selector: Labels,
    /// Its own addresses; empty when headless or not assigned.
    pub cluster_ips: Vec<IpAddr>,
    /// `clusterIP: None`: callers dial endpoints, not the service.
    pub headless: bool,
    /// `sessionAffinity: ClientIP`: callers stay with an endpoint, each address with one.
    pub session_affinity: bool,
    /// At least one, unless headless.
    pub ports: Vec<ServicePort>,
    /// It is another name for this host, outside the mesh; only clusters say so.
    pub external_name: Option<String>,
}

/// One port of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServicePort {
    /// Present when there are several.
    pub name: Option<String>,
    /// What callers dial.
    pub port: u16,
    /// Where the workload listens.
    pub target: TargetPort,
    /// What `appProtocol` declares.
    pub protocol: Protocol,
}

/// A workload's port, by number or by the name it gives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TargetPort {
    /// The app's port.
    Number(u16),
    /// The name of one of the workload's ports.
    Name(String),
}

const NOT_ACTED_ON: &str = "is not supported: the mesh would not act on it; remove it";

pub(super) fn decode(
    metadata: Option<Metadata>,
    spec: &Node,
    decoder: &mut Decoder,
) -> Option<Service> {
    let mut fields = Fields::open(spec, decoder)?;
    let selector = fields.optional("selector", labels).unwrap_or_default();
    let (headless, cluster_ips) = cluster_ips(&mut fields);
    let ports = fields.optional("ports", ports);
    let none = fields.is_absent("ports") || ports.as_ref().is_some_and(Vec::is_empty);
    if none && !headless {
        fields.fault("ports", "a service needs at least one port, unless clusterIP is None");
    }
    let affinity = fields.optional("sessionAffinity", choice(&AFFINITIES));
    kubernetes_fields(&mut fields);
    fields.close();
    let ports = ports.unwrap_or_default();
    Some(Service {
        metadata: metadata?,
        selector,
        cluster_ips,
        headless,
        session_affinity: affinity.unwrap_or_default(),
        ports,
        external_name: None,
    })
}

/// What else a pasted Service says.
fn kubernetes_fields(fields: &mut Fields<'_, '_>) {
    let word = |word: &str| Value::String(word.into());
    fields.only("type", &word("ClusterIP"), "ClusterIP");
    fields.only("internalTrafficPolicy", &word("Cluster"), "Cluster");
    fields.only("publishNotReadyAddresses", &Value::Bool(false), "false");
    fields.optional("sessionAffinityConfig", usual_affinity);
    fields.ignored(&["ipFamilies", "ipFamilyPolicy"]);
    let outside = [
        "allocateLoadBalancerNodePorts",
        "externalIPs",
        "externalName",
        "externalTrafficPolicy",
        "healthCheckNodePort",
        "loadBalancerClass",
        "loadBalancerIP",
        "loadBalancerSourceRanges",
        "trafficDistribution",
    ];
    fields.refused(&outside, NOT_ACTED_ON);
}

/// `clusterIP` and `clusterIPs` as one list; Kubernetes writes both, and the
/// first of the list is the other.
fn cluster_ips(fields: &mut Fields<'_, '_>) -> (bool, Vec<IpAddr>) {
    let one = fields.optional("clusterIP", cluster_ip);
    let many = fields.optional("clusterIPs", |node, decoder| list(node, decoder, cluster_ip));
    let Some(many) = many else {
        let one = one.unwrap_or(ClusterIp::Unset);
        return (one == ClusterIp::Headless, one.ip().into_iter().collect());
    };
    if one.is_some_and(|one| many.first() != Some(&one)) {
        fields.fault("clusterIPs", "its first entry must be what clusterIP says");
    }
    let headless = many.contains(&ClusterIp::Headless);
    if headless && many.len() > 1 {
        fields.fault("clusterIPs", "None stands alone");
    }
    (headless, many.into_iter().filter_map(ClusterIp::ip).collect())
}

#[derive(Clone, Copy, PartialEq)]
enum ClusterIp {
    Unset,
    Headless,
    Ip(IpAddr),
}

impl ClusterIp {
    fn ip(self) -> Option<IpAddr> {
        if let ClusterIp::Ip(ip) = self { Some(ip) } else { None }
    }
}

/// What an API server fills in. A hash forgets nobody, so no other time could be kept.
fn usual_affinity(node: &Node, decoder: &mut Decoder) -> Option<()> {
    let mut config = Fields::open(node, decoder)?;
    config.optional("clientIP", |node, decoder| {
        let mut client = Fields::open(node, decoder)?;
        client.only("timeoutSeconds", &Value::Int(10_800), "10800");
        client.close();
        Some(())
    });
    config.close();
    Some(())
}

/// By the caller's address, or not at all.
const AFFINITIES: [(&str, bool); 2] = [("None", false), ("ClientIP", true)];

fn cluster_ip(node: &Node, decoder: &mut Decoder) -> Option<ClusterIp> {
    match &node.value {
        Value::String(text) if text.is_empty() => Some(ClusterIp::Unset),
        Value::String(text) if text == "None" => Some(ClusterIp::Headless),
        _ => ip(node, decoder).map(ClusterIp::Ip),
    }
}

fn ports(node: &Node, decoder: &mut Decoder) -> Option<Vec<ServicePort>> {
    let ports = list(node, decoder, service_port)?;
    if ports.len() > 1 && ports.iter().any(|port| port.name.is_none()) {
        decoder.fault(&node.at, "every port needs a name when there are several");
    }
    distinct(node, decoder, &ports, |port| port.name.as_ref().map(|name| ("name", name.clone())));
    distinct(node, decoder, &ports, |port| Some(("port", port.port)));
    Some(ports)
}

fn service_port(node: &Node, decoder: &mut Decoder) -> Option<ServicePort> {
    let mut fields = Fields::open(node, decoder)?;
    let name = fields.optional("name", dns_label);
    let number = fields.required("port", port);
    let target = fields.optional("targetPort", target_port);
    let protocol = fields.optional("appProtocol", app_protocol).unwrap_or_default();
    fields.only("protocol", &Value::String("TCP".into()), "TCP");
    fields.refused(&["nodePort"], NOT_ACTED_ON);
    fields.close();
    let port = number?;
    Some(ServicePort { name, port, target: target.unwrap_or(TargetPort::Number(port)), protocol })
}

fn target_port(node: &Node, decoder: &mut Decoder) -> Option<TargetPort> {
    match node.value {
        Value::String(_) => dns_label(node, decoder).map(TargetPort::Name),
        _ => port(node, decoder).map(TargetPort::Number),
    }
}

/// The standard names and Kubernetes' own. A WebSocket begins as HTTP/1; what
/// is encrypted by the app passes as bytes.
const APP_PROTOCOLS: &[(&str, Protocol)] = &[
    ("http", Protocol::Http),
    ("http2", Protocol::Http2),
    ("grpc", Protocol::Grpc),
    ("tcp", Protocol::Tcp),
    ("https", Protocol::Tcp),
    ("tls", Protocol::Tcp),
    ("kubernetes.io/h2c", Protocol::Http2),
    ("kubernetes.io/ws", Protocol::Http),
    ("kubernetes.io/wss", Protocol::Tcp),
];

/// What an `appProtocol` means; `None` where the mesh doesn't know the word.
pub fn protocol_of(app_protocol: &str) -> Option<Protocol> {
    let name = app_protocol.to_ascii_lowercase();
    APP_PROTOCOLS.iter().find(|(word, _)| *word == name).map(|(_, protocol)| *protocol)
}

fn app_protocol(node: &Node, decoder: &mut Decoder) -> Option<Protocol> {
    let name = text(node, decoder)?;
    protocol_of(&name).or_else(|| choice(APP_PROTOCOLS)(node, decoder))
}
