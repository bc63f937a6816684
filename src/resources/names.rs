//! Decoders for names and addresses. What may stand in a SPIFFE id (namespace,
//! service account, trust domain) follows Kubernetes' DNS-1123 rules, which are
//! narrower than SPIFFE's, so that an id never needs escaping. Called by every
//! kind of resource and by the configuration.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use super::decode::Decoder;
use super::node::{Node, Value};
use super::scalar::{parsed, text_of};
use super::sketch::Note;
use crate::model::{ServiceName, TrustDomain};

/// Labels of a workload, or a selector over them.
pub type Labels = BTreeMap<String, String>;

/// A namespace, service or port name: one DNS label.
pub fn dns_label(node: &Node, decoder: &mut Decoder) -> Option<String> {
    const WHAT: &str = "a name of at most 63 lower-case letters, digits and inner `-`";
    parsed(node, decoder, WHAT, |text| is_dns_label(text).then(|| text.to_owned()))
}

/// A workload or service-account name: DNS labels joined by dots.
pub fn dns_subdomain(node: &Node, decoder: &mut Decoder) -> Option<String> {
    const WHAT: &str = "a name of at most 253 lower-case letters, digits, inner `-` and `.`";
    parsed(node, decoder, WHAT, |text| is_dns_subdomain(text).then(|| text.to_owned()))
}

/// Whether `text` is one DNS-1123 label.
pub fn is_dns_label(text: &str) -> bool {
    let bytes = text.as_bytes();
    (1..=63).contains(&bytes.len())
        && bytes.iter().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'))
        && bytes.first() != Some(&b'-')
        && bytes.last() != Some(&b'-')
}

/// Whether `text` is a DNS-1123 subdomain.
pub fn is_dns_subdomain(text: &str) -> bool {
    text.len() <= 253 && text.split('.').all(is_dns_label)
}

/// A trust domain.
pub fn trust_domain(node: &Node, decoder: &mut Decoder) -> Option<TrustDomain> {
    let text = text_of(node, decoder, "a trust domain such as cluster.local")?;
    TrustDomain::parse(text).map_err(|error| decoder.fault(&node.at, error.to_string())).ok()
}

/// A service and port: `name.namespace:port`.
pub fn service_name(
    default_namespace: &str,
) -> impl Fn(&Node, &mut Decoder) -> Option<ServiceName> {
    move |node, decoder| {
        let text = text_of(node, decoder, "a service such as web.default:80")?;
        ServiceName::parse(text, default_namespace)
            .map_err(|error| decoder.fault(&node.at, error.to_string()))
            .ok()
    }
}

/// An IP address. One of IPv4 in IPv6's clothes (`::ffff:10.0.0.1`) is that of IPv4: whoever dials
/// it is looked up by that.
pub fn ip(node: &Node, decoder: &mut Decoder) -> Option<IpAddr> {
    parsed(node, decoder, "an IP address", parse_ip)
}

/// An IP address and port; port 0 is allowed (the system picks one).
pub fn socket_address(node: &Node, decoder: &mut Decoder) -> Option<SocketAddr> {
    const WHAT: &str = "an address and port such as 127.0.0.1:15000 or [::1]:15000";
    parsed(node, decoder, WHAT, |text| text.parse().ok())
}

/// Where something is reached.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Address {
    /// An IP address.
    Ip(IpAddr),
    /// A host name in lower case, to be resolved and re-resolved.
    Host(String),
}

/// An IP address or a host name.
pub fn address(node: &Node, decoder: &mut Decoder) -> Option<Address> {
    const WHAT: &str = "an IP address or a host name, without port";
    parsed(node, decoder, WHAT, |text| {
        parse_ip(text).map(Address::Ip).or_else(|| parse_host(text).map(Address::Host))
    })
}

fn parse_ip(text: &str) -> Option<IpAddr> {
    text.parse().ok().map(|ip: IpAddr| ip.to_canonical())
}

/// A host name, in lower case.
pub fn host_name(node: &Node, decoder: &mut Decoder) -> Option<String> {
    parsed(node, decoder, "a host name", parse_host)
}

/// A last label of digits alone would be a mistyped IP address (RFC 3696, 2).
fn parse_host(text: &str) -> Option<String> {
    let text = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
    let label = |label: &str| is_dns_label(&label.replace('_', "a"));
    let numeric = text.rsplit('.').next()?.bytes().all(|b| b.is_ascii_digit());
    (text.len() <= 253 && !numeric && text.split('.').all(label)).then_some(text)
}

/// A map of labels, each key and value as Kubernetes allows them.
pub fn labels(node: &Node, decoder: &mut Decoder) -> Option<Labels> {
    decoder.note(|| Note::Labels);
    let Value::Map(entries) = &node.value else {
        decoder.expected("a map of labels", node);
        return None;
    };
    let mut all = Labels::new();
    for (key, node) in entries {
        if !is_label_key(&key.name) {
            let message = format!("`{}` is not a label's name", key.name);
            decoder.fault(&key.at, message);
        }
        let value = decoder.field(&key.name, |decoder| {
            parsed(node, decoder, LABEL_VALUE, |text| is_label_value(text).then(|| text.to_owned()))
        });
        all.extend(value.map(|value| (key.name.clone(), value)));
    }
    (all.len() == entries.len()).then_some(all)
}

const LABEL_VALUE: &str = "a value of at most 63 letters, digits, inner `-`, `_` and `.`";

/// A zone; written like a label's value, because that is where it comes from.
pub fn zone(node: &Node, decoder: &mut Decoder) -> Option<String> {
    parsed(node, decoder, LABEL_VALUE, |text| is_label_part(text).then(|| text.to_owned()))
}

/// Whether `key` may be a label's name.
pub fn is_label_key(key: &str) -> bool {
    match key.split_once('/') {
        Some((prefix, name)) => is_dns_subdomain(prefix) && is_label_part(name),
        None => is_label_part(key),
    }
}

/// Whether `text` may be a label's value.
pub fn is_label_value(text: &str) -> bool {
    text.is_empty() || is_label_part(text)
}

fn is_label_part(text: &str) -> bool {
    let bytes = text.as_bytes();
    let ends = |b: Option<&u8>| b.is_some_and(u8::is_ascii_alphanumeric);
    let inner = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    bytes.len() <= 63 && ends(bytes.first()) && ends(bytes.last()) && bytes.iter().all(inner)
}
