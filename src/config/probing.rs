//! The section `probes`: what a pod's containers say about their probes, after the injector has
//! pointed those at the sidecar. Whatever Kubernetes takes is taken, so that no pod breaks by it;
//! what kubelet itself can't act on is a fault.

use http::{HeaderName, HeaderValue};

use crate::probes::{Ask, Grpc, Header, Http, Probe, Settings, Target};
use crate::resources::Node;
use crate::resources::decode::{Decoder, Fields, distinct, list};
use crate::resources::names::{dns_label, socket_address};
use crate::resources::scalar::{choice, duration, parsed, port, text};

/// What Kubernetes gives a probe that says nothing.
const TIMEOUT: std::time::Duration = std::time::Duration::from_secs(1);

pub(super) fn probes(node: &Node, decoder: &mut Decoder) -> Option<Settings> {
    let mut fields = Fields::open(node, decoder)?;
    let listen = fields.optional("listen", socket_address);
    let targets = fields.optional("targets", targets).unwrap_or_default();
    fields.close();
    Some(Settings { listen, targets })
}

fn targets(node: &Node, decoder: &mut Decoder) -> Option<Vec<Target>> {
    let targets = list(node, decoder, target)?;
    distinct(node, decoder, &targets, |target| {
        Some(("probe", format!("{} of {}", target.probe.as_str(), target.container)))
    });
    Some(targets)
}

fn target(node: &Node, decoder: &mut Decoder) -> Option<Target> {
    const WAYS: [&str; 3] = ["http", "tcp", "grpc"];
    let mut fields = Fields::open(node, decoder)?;
    let container = fields.required("container", dns_label);
    let probe = fields.required("probe", choice(Probe::WORDS));
    let timeout = fields.optional("timeout", duration).unwrap_or(TIMEOUT);
    let given: Vec<&str> = WAYS.into_iter().filter(|way| !fields.is_absent(way)).collect();
    match given[..] {
        [] => fields.fault("http", "is missing; say how to ask with http, tcp or grpc"),
        [_] => {}
        [first, second, ..] => {
            fields.fault(second, format!("one way to ask is enough; {first} is given too"));
        }
    }
    let http = fields.optional("http", http).map(Ask::Http);
    let tcp = fields.optional("tcp", tcp);
    let grpc = fields.optional("grpc", grpc).map(Ask::Grpc);
    fields.close();
    Some(Target { container: container?, probe: probe?, timeout, ask: http.or(tcp).or(grpc)? })
}

fn http(node: &Node, decoder: &mut Decoder) -> Option<Http> {
    let mut fields = Fields::open(node, decoder)?;
    let port = fields.required("port", port);
    let path = fields.optional("path", path).unwrap_or_else(|| "/".into());
    let is_tls = fields.optional("scheme", choice(&[("http", false), ("https", true)]));
    let host = fields.optional("host", host);
    let headers =
        fields.optional("headers", |node, decoder| list(node, decoder, header)).unwrap_or_default();
    fields.close();
    Some(Http { port: port?, path, is_tls: is_tls.unwrap_or_default(), host, headers })
}

/// A path, with its query, as it is sent; the fragment goes, and what no URL may hold is escaped.
fn path(node: &Node, decoder: &mut Decoder) -> Option<String> {
    let text = text(node, decoder)?;
    let text = text.split('#').next().unwrap_or_default();
    let mut path = String::from(if text.starts_with('/') { "" } else { "/" });
    for byte in text.bytes() {
        match byte {
            b'"' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}' => {
                path.push_str(&format!("%{byte:02X}"));
            }
            0x21..=0x7e => path.push(char::from(byte)),
            _ => path.push_str(&format!("%{byte:02X}")),
        }
    }
    Some(path)
}

fn host(node: &Node, decoder: &mut Decoder) -> Option<String> {
    parsed(node, decoder, "a host name or address", |text| {
        let bare = text.parse::<std::net::Ipv6Addr>().is_ok();
        let text = if bare { format!("[{text}]") } else { text.to_owned() };
        let authority: http::uri::Authority = text.parse().ok()?;
        (authority.host() == text).then_some(text)
    })
}

fn header(node: &Node, decoder: &mut Decoder) -> Option<Header> {
    let mut fields = Fields::open(node, decoder)?;
    let name = fields.required("name", |node, decoder| {
        parsed(node, decoder, "a header's name", |text| HeaderName::try_from(text).ok())
    });
    let value = fields.required("value", |node, decoder| {
        parsed(node, decoder, "a header's value, without control characters", |text| {
            HeaderValue::from_bytes(text.as_bytes()).ok()
        })
    });
    fields.close();
    Some(Header { name: name?, value: value? })
}

fn tcp(node: &Node, decoder: &mut Decoder) -> Option<Ask> {
    let mut fields = Fields::open(node, decoder)?;
    let port = fields.required("port", port);
    fields.close();
    Some(Ask::Tcp { port: port? })
}

fn grpc(node: &Node, decoder: &mut Decoder) -> Option<Grpc> {
    let mut fields = Fields::open(node, decoder)?;
    let port = fields.required("port", port);
    let service = fields.optional("service", text).unwrap_or_default();
    fields.close();
    Some(Grpc { port: port?, service })
}
