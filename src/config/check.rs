//! What must hold between fields: no two listeners on one address, and no app
//! address that is a listener of the sidecar itself, which would hand each
//! request back to it. Runs on the decoded configuration, with the tree at hand
//! for the positions.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use super::Config;
use crate::probes::Ask;
use crate::resources::decode::Decoder;
use crate::resources::{Fault, Node, Origin, Value};

pub(super) fn across(config: &Config, tree: &Node, decoder: &mut Decoder) {
    let listeners = listeners(config, tree);
    for (index, this) in listeners.iter().enumerate() {
        if let Some(other) = listeners[..index].iter().find(|o| overlap(o.address, this.address)) {
            let Place { path, at, address } = this;
            let message = if other.address == *address {
                format!("{address} is also {} ({})", other.path, other.at)
            } else {
                format!("{address} overlaps {} of {} ({})", other.address, other.path, other.at)
            };
            decoder.extend([Fault { at: at.clone(), path: path.clone(), message }]);
        }
    }
    if config.control_plane.is_some() {
        for path in ["identity", "resources"] {
            let node = tree.field(path).filter(|node| !node.is_null());
            let Some(node) = node else { continue };
            let message = "comes from the control plane, which controlPlane names: remove the one \
                           or the other";
            let fault = Fault { at: node.at.clone(), path: path.into(), message: message.into() };
            decoder.extend([fault]);
        }
    }
    for (index, port) in config.inbound.ports.iter().enumerate() {
        if let Some(own) = listeners.iter().find(|own| overlap(own.address, port.app)) {
            let place = Place::find(tree, format!("inbound.ports[{index}].app"), port.app);
            let message = format!(
                "{} is the sidecar's own listener {}: requests would go round; name the app's port",
                port.app, own.path
            );
            decoder.extend([Fault { at: place.at, path: place.path, message }]);
        }
    }
    for (index, target) in config.probes.targets.iter().enumerate() {
        let port = target.ask.port();
        let asked =
            [SocketAddr::from((Ipv4Addr::LOCALHOST, port)), (Ipv6Addr::LOCALHOST, port).into()];
        let own = listeners.iter().find(|own| asked.iter().any(|app| overlap(own.address, *app)));
        if let Some(own) = own {
            let place = Place::find(tree, port_path(index, &target.ask), asked[0]);
            let message = format!(
                "{port} is the sidecar's own {} ({}); name the app's port",
                own.path, own.at
            );
            decoder.extend([Fault { at: place.at, path: place.path, message }]);
        }
    }
}

/// The path of the port that a target asks.
fn port_path(index: usize, ask: &Ask) -> String {
    let way = match ask {
        Ask::Http(_) => "http",
        Ask::Tcp { .. } => "tcp",
        Ask::Grpc(_) => "grpc",
    };
    format!("probes.targets[{index}].{way}.port")
}

/// An address in the configuration.
struct Place {
    path: String,
    at: Origin,
    address: SocketAddr,
}

impl Place {
    /// A list of one address may stand without its brackets.
    fn find(tree: &Node, path: String, address: SocketAddr) -> Place {
        let node = lookup(tree, &path);
        let plain = path.strip_suffix("[0]").filter(|_| node.is_none());
        let node = node.or_else(|| plain.and_then(|plain| lookup(tree, plain)));
        let at = node.map(|node| node.at.clone()).unwrap_or_default();
        Place { path: plain.unwrap_or(&path).to_owned(), at, address }
    }
}

fn listeners(config: &Config, tree: &Node) -> Vec<Place> {
    let mut all = vec![("admin.listen".to_owned(), config.admin.listen)];
    all.extend(config.probes.listen.map(|listen| ("probes.listen".to_owned(), listen)));
    let mut add = |list: &str, field: &str, addresses: &mut dyn Iterator<Item = SocketAddr>| {
        all.extend(
            addresses.enumerate().map(|(i, address)| (format!("{list}[{i}]{field}"), address)),
        );
    };
    add("inbound.listen", "", &mut config.inbound.listen.iter().copied());
    add("inbound.ports", ".listen", &mut config.inbound.ports.iter().map(|port| port.listen));
    add("outbound.listen", "", &mut config.outbound.listen.iter().copied());
    add("outbound.upstreams", ".listen", &mut config.outbound.upstreams.iter().map(|u| u.listen));
    all.into_iter().map(|(path, address)| Place::find(tree, path, address)).collect()
}

/// Whether both can't be listened on. `[::]` takes IPv4 too; port 0 is never
/// the same twice.
fn overlap(a: SocketAddr, b: SocketAddr) -> bool {
    let covers = |wide: SocketAddr, other: SocketAddr| {
        wide.ip().is_unspecified() && (wide.is_ipv6() || other.is_ipv4())
    };
    a.port() != 0 && a.port() == b.port() && (a.ip() == b.ip() || covers(a, b) || covers(b, a))
}

/// The node at a path like `inbound.ports[0].app`.
fn lookup<'n>(tree: &'n Node, path: &str) -> Option<&'n Node> {
    path.split('.').try_fold(tree, |node, step| match step.strip_suffix(']') {
        None => node.field(step),
        Some(step) => {
            let (name, index) = step.split_once('[')?;
            let Value::List(items) = &node.field(name)?.value else {
                return None;
            };
            items.get(index.parse::<usize>().ok()?)
        }
    })
}
