//! A node with pods: each a network namespace on one bridge, with both families, a default route,
//! the real interception and a sidecar; and a host beside them with the real control plane.
//!
//! The namespaces have the same addresses in every scenario, because nobody sees them from outside.

use std::cell::Cell;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::host::{Host, Process, or_skip};
use super::pod::{Plan, Pod};

/// The last part of everybody's address.
const NODE: u8 = 1;
const CONTROL_PLANE: u8 = 2;
const FIRST_POD: u8 = 10;

/// The addresses that a scenario uses; all hosts have both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    V4,
    V6,
}

impl Family {
    pub const BOTH: [Family; 2] = [Family::V4, Family::V6];

    pub fn ip(self, last: u8) -> IpAddr {
        match self {
            Family::V4 => Ipv4Addr::new(10, 82, 0, last).into(),
            Family::V6 => Ipv6Addr::new(0xfd82, 0, 0, 0, 0, 0, 0, last.into()).into(),
        }
    }

    /// A service's own address: no host has it.
    pub fn cluster_ip(self, last: u8) -> IpAddr {
        match self {
            Family::V4 => Ipv4Addr::new(10, 96, 82, last).into(),
            Family::V6 => Ipv6Addr::new(0xfd82, 0x96, 0, 0, 0, 0, 0, last.into()).into(),
        }
    }

    pub fn loopback(self) -> IpAddr {
        match self {
            Family::V4 => Ipv4Addr::LOCALHOST.into(),
            Family::V6 => Ipv6Addr::LOCALHOST.into(),
        }
    }
}

pub struct Pods {
    pub family: Family,
    node: Host,
    control_plane: Host,
    _process: Process,
    next: Cell<u8>,
}

impl Pods {
    /// A node with a control plane; `None`, with a line that says so, where there can't be one.
    pub fn new(family: Family) -> Option<Pods> {
        const NEEDS: &str = "pods need root and the commands `ip` and `nft` (iproute2, nftables)";
        let hosts = or_skip(Self::hosts(), NEEDS);
        let [node, control_plane] = hosts?;
        let listen = SocketAddr::new(family.ip(CONTROL_PLANE), 15010).to_string();
        let arguments = ["control-plane", "--data", "data", "--listen", &listen];
        let outrigger = env!("CARGO_BIN_EXE_outrigger");
        let process = control_plane.start(outrigger, &arguments, "control-plane.log");
        process.await_log("ready");
        Some(Pods { family, node, control_plane, _process: process, next: Cell::new(FIRST_POD) })
    }

    fn hosts() -> io::Result<[Host; 2]> {
        let node = Host::new("node")?;
        node.ip("link set lo up")?;
        node.ip("link add br0 type bridge mcast_snooping 0")?;
        give_addresses(&node, NODE, "br0")?;
        node.ip("link set br0 up")?;
        let control_plane = Host::new("control-plane")?;
        plug_in(&node, &control_plane, CONTROL_PLANE)?;
        Ok([node, control_plane])
    }

    /// A pod with a sidecar, of the service account that is its name before the last `-`.
    pub fn pod(&self, name: &str) -> Plan<'_> {
        Plan::new(self, name)
    }

    /// A host without a sidecar, and without interception.
    #[track_caller]
    pub fn unmeshed(&self, name: &str) -> Pod {
        let (host, ip) = self.host(name);
        Pod::unmeshed(name, host, ip)
    }

    /// A new host on the bridge.
    #[track_caller]
    pub(super) fn host(&self, name: &str) -> (Host, IpAddr) {
        let last = self.next.replace(self.next.get() + 1);
        let host = Host::new(name).expect("as those before");
        plug_in(&self.node, &host, last).expect("as those before");
        (host, self.family.ip(last))
    }

    /// Pulls a pod's plug out, or puts it in again; its addresses and routes stay.
    #[track_caller]
    pub fn plug(&self, pod: &Pod, is_in: bool) {
        let state = if is_in { "up" } else { "down" };
        let done = self.node.ip(&format!("link set pod{} {state}", pod.last()));
        done.expect("the card is there");
    }

    /// Where sidecars find the control plane.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::new(self.family.ip(CONTROL_PLANE), 15010)
    }

    pub(super) fn anchors_pem(&self) -> String {
        self.control_plane.folder.read("data/ca.pem")
    }

    /// A command of operators.
    #[track_caller]
    pub fn outrigger(&self, arguments: &str) -> String {
        self.control_plane.shell(&format!(
            "outrigger {arguments} --control-plane {} --trust-anchors data/ca.pem \
             --token-file data/operator.token",
            self.address()
        ))
    }

    #[track_caller]
    pub fn apply(&self, documents: &str) {
        self.control_plane.folder.write("apply.yaml", documents);
        self.outrigger("apply -f apply.yaml");
    }

    /// A Service for pods labelled `app: name`, with these ports, as in YAML; each is also the
    /// app's. Its address, which ends in `last`; 0 makes it headless.
    #[track_caller]
    pub fn service(&self, name: &str, last: u8, ports: &str) -> IpAddr {
        let ip = self.family.cluster_ip(last);
        let address = if last == 0 { "None".to_owned() } else { format!("\"{ip}\"") };
        self.apply(&format!(
            "apiVersion: v1\nkind: Service\nmetadata: {{name: {name}, namespace: default}}\n\
             spec: {{clusterIP: {address}, selector: {{app: {name}}}, ports: [{ports}]}}\n"
        ));
        ip
    }
}

/// Gives a host a card on the bridge, both addresses and the way out.
fn plug_in(node: &Host, host: &Host, last: u8) -> io::Result<()> {
    let far = host.namespace();
    node.ip(&format!("link add pod{last} type veth peer name eth0 netns {far}"))?;
    node.ip(&format!("link set pod{last} master br0 up"))?;
    host.ip("link set lo up")?;
    give_addresses(host, last, "eth0")?;
    host.ip("link set eth0 up")?;
    host.ip(&format!("route add default via {}", Family::V4.ip(NODE)))?;
    host.ip(&format!("-6 route add default via {}", Family::V6.ip(NODE)))
}

fn give_addresses(host: &Host, last: u8, card: &str) -> io::Result<()> {
    host.ip(&format!("address add {}/24 dev {card}", Family::V4.ip(last)))?;
    host.ip(&format!("address add {}/64 dev {card} nodad", Family::V6.ip(last)))
}
