//! The merged tree to the rooms' settings. Defaults have been laid under it,
//! so that a field which always has a value is required here. Each section is
//! one function; what concerns two sections stands in `check`.

use super::probing::probes;
use super::telemetry::telemetry;
use super::{Config, Level, LogSettings, LogStyle, Workload};
use crate::resources::decode::{Decoder, Fields, distinct, list, one_or_list};
use crate::resources::names::{
    dns_label, dns_subdomain, labels, service_name, socket_address, trust_domain, zone,
};
use crate::resources::scalar::{choice, duration, integer, parsed, path, protocol};
use crate::resources::{Node, Origin, Value};
use crate::{admin, agent, inbound, outbound, runtime, tls};

pub(super) fn config(node: &Node, decoder: &mut Decoder) -> Option<Config> {
    let mut fields = Fields::open(node, decoder)?;
    let workload = fields.required("workload", workload);
    let namespace = workload.as_ref().map_or("default", |workload| &workload.namespace);
    let trust_domain = fields.required("trustDomain", trust_domain);
    let control_plane = fields.optional("controlPlane", control_plane);
    let identity = fields.optional("identity", identity);
    let resources = fields.optional("resources", |node, decoder| one_or_list(node, decoder, path));
    let inbound = fields.optional("inbound", inbound).unwrap_or_default();
    let outbound = fields.required("outbound", |node, decoder| outbound(node, decoder, namespace));
    let admin = fields.required("admin", admin);
    let probes = fields.optional("probes", probes).unwrap_or_default();
    let workers = fields.optional("workers", integer(1..=256));
    let drain = fields.required("drain", drain);
    let exit_with_app = fields.optional("exitWithApp", containers).flatten();
    let telemetry = fields.required("telemetry", telemetry);
    let log = fields.required("log", log);
    fields.close();
    let (telemetry, export) = telemetry?;
    Some(Config {
        workload: workload?,
        trust_domain: trust_domain?,
        control_plane,
        identity,
        resources: resources.unwrap_or_default(),
        inbound,
        outbound: outbound?,
        admin: admin?,
        probes,
        runtime: runtime::Settings { workers: workers.and_then(|count| u16::try_from(count).ok()) },
        drain: drain?,
        exit_with_app,
        telemetry,
        export,
        log: log?,
    })
}

fn containers(node: &Node, decoder: &mut Decoder) -> Option<Option<u16>> {
    match node.value {
        Value::Bool(is_one) => Some(is_one.then_some(1)),
        Value::Int(count @ 1..=100) => Some(u16::try_from(count).ok()),
        _ => {
            decoder.expected("true, false or the number of the app's containers", node);
            None
        }
    }
}

fn workload(node: &Node, decoder: &mut Decoder) -> Option<Workload> {
    let mut fields = Fields::open(node, decoder)?;
    let namespace = fields.required("namespace", dns_label);
    let name = fields.required("name", dns_subdomain);
    let service_account = fields.required("serviceAccount", dns_subdomain);
    let labels = fields.optional("labels", labels).unwrap_or_default();
    let zone = fields.optional("zone", zone);
    fields.close();
    Some(Workload {
        namespace: namespace?,
        name: name?,
        service_account: service_account?,
        labels,
        zone,
    })
}

fn control_plane(node: &Node, decoder: &mut Decoder) -> Option<agent::session::Settings> {
    let mut fields = Fields::open(node, decoder)?;
    let address = fields.required("address", host_and_port);
    let trust_anchors = fields.required("trustAnchors", path);
    let newest_anchors = fields.optional("newestAnchors", path);
    let token_file = fields.optional("tokenFile", path);
    fields.close();
    Some(agent::session::Settings {
        address: address?,
        trust_anchors: trust_anchors?,
        newest_anchors,
        token_file,
    })
}

/// A host name or address, with a port.
fn host_and_port(node: &Node, decoder: &mut Decoder) -> Option<String> {
    const WHAT: &str = "a host and port such as outrigger.example:15010 or [::1]:15010";
    parsed(node, decoder, WHAT, |text| {
        let (host, port) = text.rsplit_once(':')?;
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let is_sound = match bare {
            Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
            None => !host.is_empty() && !host.contains([':', '/', '[', ']']),
        };
        (is_sound && port.parse::<u16>().is_ok_and(|port| port > 0)).then(|| text.to_owned())
    })
}

fn identity(node: &Node, decoder: &mut Decoder) -> Option<tls::Settings> {
    let mut fields = Fields::open(node, decoder)?;
    let certificate = fields.required("certificate", path);
    let key = fields.required("key", path);
    let trust_bundle = fields.required("trustBundle", path);
    fields.close();
    Some(tls::Settings { certificate: certificate?, key: key?, trust_bundle: trust_bundle? })
}

fn inbound(node: &Node, decoder: &mut Decoder) -> Option<inbound::Settings> {
    let mut fields = Fields::open(node, decoder)?;
    let listen = fields.optional("listen", |node, d| one_or_list(node, d, socket_address));
    let words = &[("redirect", inbound::Mode::Redirect), ("tproxy", inbound::Mode::Tproxy)];
    let mode = fields.optional("mode", choice(words));
    let ports = fields.optional("ports", inbound_ports);
    fields.close();
    Some(inbound::Settings {
        listen: listen.unwrap_or_default(),
        mode: mode.unwrap_or_default(),
        ports: ports.unwrap_or_default(),
    })
}

fn inbound_ports(node: &Node, decoder: &mut Decoder) -> Option<Vec<inbound::Port>> {
    let ports = list(node, decoder, |node, decoder| {
        let mut fields = Fields::open(node, decoder)?;
        let name = fields.optional("name", dns_label);
        let listen = fields.required("listen", socket_address);
        let app = fields.required("app", socket_address);
        let protocol = fields.optional("protocol", protocol).unwrap_or_default();
        if app.is_some_and(|app| app.port() == 0 || app.ip().is_unspecified()) {
            fields.fault("app", "must be the one address and port where the app listens");
        }
        fields.close();
        Some(inbound::Port { name, listen: listen?, app: app?, protocol })
    })?;
    distinct(node, decoder, &ports, |port| port.name.as_ref().map(|name| ("name", name.clone())));
    Some(ports)
}

fn outbound(node: &Node, decoder: &mut Decoder, namespace: &str) -> Option<outbound::Settings> {
    let mut fields = Fields::open(node, decoder)?;
    let listen = fields.optional("listen", |node, d| one_or_list(node, d, socket_address));
    let upstreams = fields.optional("upstreams", |node, decoder| {
        list(node, decoder, |node, decoder| upstream(node, decoder, namespace))
    });
    let words = &[("pass", outbound::Unknown::Pass), ("deny", outbound::Unknown::Deny)];
    let unknown = fields.required("unknown", choice(words));
    fields.close();
    Some(outbound::Settings {
        listen: listen.unwrap_or_default(),
        upstreams: upstreams.unwrap_or_default(),
        unknown: unknown?,
    })
}

fn upstream(node: &Node, decoder: &mut Decoder, namespace: &str) -> Option<outbound::Upstream> {
    let mut fields = Fields::open(node, decoder)?;
    let listen = fields.required("listen", socket_address);
    let service = fields.required("service", service_name(namespace));
    fields.close();
    Some(outbound::Upstream { listen: listen?, service: service? })
}

fn admin(node: &Node, decoder: &mut Decoder) -> Option<admin::Settings> {
    let mut fields = Fields::open(node, decoder)?;
    let listen = fields.required("listen", socket_address);
    fields.close();
    Some(admin::Settings { listen: listen? })
}

fn drain(node: &Node, decoder: &mut Decoder) -> Option<runtime::DrainSettings> {
    let mut fields = Fields::open(node, decoder)?;
    let minimum = fields.required("minimum", duration);
    let deadline = fields.required("deadline", duration);
    if minimum > deadline && deadline.is_some() {
        // Blame what somebody wrote, not the default it collides with.
        match fields.at("minimum") {
            Origin::Default => fields.fault("deadline", "must not be shorter than drain.minimum"),
            _ => fields.fault("minimum", "must not be longer than drain.deadline"),
        }
    }
    fields.close();
    Some(runtime::DrainSettings { minimum: minimum?, deadline: deadline? })
}

fn log(node: &Node, decoder: &mut Decoder) -> Option<LogSettings> {
    let mut fields = Fields::open(node, decoder)?;
    let level = fields.required("level", choice(Level::WORDS));
    let style =
        fields.required("format", choice(&[("text", LogStyle::Text), ("json", LogStyle::Json)]));
    fields.close();
    Some(LogSettings { level: level?, format: style? })
}
