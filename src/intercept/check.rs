//! Proves by connections that the rules catch what they should.
//!
//! Outbound is proved as it is: a connection to an address where nobody is must come to the
//! sidecar's port, with its original destination. Inbound can't be: whatever this namespace sends
//! to itself does not come from outside, and an init container may neither make another namespace
//! nor become the sidecar's user. So the probe bears a mark that a rule of its own, there only
//! meanwhile, leads into the very chain that connections from outside and the sidecar's own take.
//! That the hook for those from outside leads there too is read back from the kernel afterwards.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use ipnet::IpNet;
use socket2::{Domain, Socket, Type};

use super::network::{Address, way_to};
use super::plan::{DNS, PROBE_MARK};
use super::settings::{Ports, Settings};

/// How long a connection within one host may take; arbitrary, and only waited out by failures.
const SOON: Duration = Duration::from_secs(2);

/// Addresses where nobody is: kept for documentation (RFC 5737, RFC 3849).
const NOWHERE_V4: [Ipv4Addr; 3] =
    [Ipv4Addr::new(192, 0, 2, 1), Ipv4Addr::new(198, 51, 100, 1), Ipv4Addr::new(203, 0, 113, 1)];
const NOWHERE_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);

#[derive(Debug)]
pub(super) enum Finding {
    Proved(String),
    /// Why not, and what follows.
    Unproved(String),
}

/// # Errors
/// What was not caught that should have been.
pub(super) fn check(settings: &Settings, addresses: &[Address]) -> Result<Vec<Finding>, String> {
    let mut findings = Vec::new();
    for (family, is_v4) in [("IPv4", true), ("IPv6", false)] {
        let of_family = |address: &&Address| {
            address.ip.is_ipv4() == is_v4 && address.interface != "lo" && !is_link_local(address.ip)
        };
        // Without an address nothing of this family comes or goes.
        if let Some(own) = addresses.iter().find(of_family) {
            findings.push(outbound(settings, is_v4).map_err(|why| format!("{family}: {why}"))?);
            findings.push(inbound(settings, own.ip).map_err(|why| format!("{family}: {why}"))?);
        }
    }
    Ok(findings)
}

fn is_link_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    }
}

fn outbound(settings: &Settings, is_v4: bool) -> Result<Finding, String> {
    // SAFETY: it takes nothing and can't fail.
    let uid = unsafe { libc::geteuid() };
    let unproved = |why: String| Ok(Finding::Unproved(format!("outbound is not proved: {why}")));
    if settings.uids.contains(&uid) {
        return unproved(format!("init runs as user {uid}, whose connections are not caught"));
    }
    let port = caught(&settings.include_outbound_ports, &settings.exclude_outbound_ports);
    let (Some(ip), Some(port)) = (destination(settings, is_v4), port) else {
        return unproved(format!("the lists leave no destination of {}", family(is_v4)));
    };
    let to = SocketAddr::new(ip, port);
    match way_to(ip) {
        Err(refusal) => return unproved(refusal.to_string()),
        Ok(None) => {
            return unproved(format!(
                "no route leads to {ip}. Without a default route, connections to addresses behind \
                 no interface fail before any rule sees them, and ClusterIPs are not caught"
            ));
        }
        Ok(Some(name)) if settings.exclude_interfaces.contains(&name) => {
            return unproved(format!("the way to {ip} is {name}, which is excluded"));
        }
        Ok(Some(_)) => {}
    }
    arrives(to, settings.outbound_port, None)
}

fn inbound(settings: &Settings, own: IpAddr) -> Result<Finding, String> {
    let excluded = [settings.own_ports(), settings.exclude_inbound_ports.clone()].concat();
    match caught(&settings.include_inbound_ports, &excluded) {
        None => Ok(Finding::Unproved("inbound is not proved: the lists leave no port".into())),
        Some(port) => arrives(SocketAddr::new(own, port), settings.inbound_port, Some(PROBE_MARK)),
    }
}

fn family(is_v4: bool) -> &'static str {
    if is_v4 { "IPv4" } else { "IPv6" }
}

/// A port that the lists leave.
fn caught(included: &[Ports], excluded: &[Ports]) -> Option<u16> {
    let is_caught = |port: &u16| !excluded.iter().chain([&DNS]).any(|ports| ports.contains(*port));
    let all = [Ports { first: 80, last: u16::MAX }, Ports { first: 1, last: 79 }];
    let included = if included.is_empty() { &all } else { included };
    included.iter().flat_map(|ports| ports.first..=ports.last).find(is_caught)
}

/// An address that the lists leave, if possible one where nobody is.
fn destination(settings: &Settings, is_v4: bool) -> Option<IpAddr> {
    let nowhere = NOWHERE_V4.map(IpAddr::from).into_iter().chain([IpAddr::from(NOWHERE_V6)]);
    let first = |net: &IpNet| net.hosts().next();
    let included = &settings.include_outbound;
    let is_in = |nets: &[IpNet], ip: &IpAddr| nets.iter().any(|net| net.contains(ip));
    let is_caught = |ip: &IpAddr| {
        ip.is_ipv4() == is_v4
            && (included.is_empty() || is_in(included, ip))
            && !is_in(&settings.exclude_outbound, ip)
            && !ip.is_loopback()
    };
    nowhere.chain(included.iter().filter_map(first)).find(is_caught)
}

/// Whether a connection to an address comes to a port of ours, and says where it was going.
fn arrives(to: SocketAddr, port: u16, mark: Option<u32>) -> Result<Finding, String> {
    let here: IpAddr = match to {
        SocketAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        SocketAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    };
    let listener = match listen(SocketAddr::new(here, port)) {
        Ok(listener) => listener,
        Err(error) if error.kind() == ErrorKind::AddrInUse => {
            let what = format!("port {port} is not tried: something listens there already");
            return Ok(Finding::Unproved(what));
        }
        Err(error) => return Err(format!("port {port} can't be listened on: {error}")),
    };
    let lost =
        |error: io::Error| format!("a connection to {to} did not come to port {port}: {error}");
    let client = connect(to, mark).map_err(lost)?;
    let (arrived, from) = listener.accept().map_err(lost)?;
    // Leaves nothing behind at the port, which the sidecar wants next.
    arrived.set_linger(Some(Duration::ZERO)).map_err(lost)?;
    let original = match to {
        SocketAddr::V4(_) => arrived.original_dst_v4(),
        SocketAddr::V6(_) => arrived.original_dst_v6(),
    };
    let original = original.map_err(lost)?.as_socket();
    let ours = client.local_addr().map_err(lost)?.as_socket();
    if original != Some(to) || from.as_socket() != ours {
        return Err(format!("a connection to {to} came to port {port} as one to {original:?}"));
    }
    Ok(Finding::Proved(format!("a connection to {to} came to port {port}")))
}

fn listen(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    // Only a listener is in the way, no connection that has ended.
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(1)?;
    socket.set_read_timeout(Some(SOON))?;
    Ok(socket)
}

fn connect(to: SocketAddr, mark: Option<u32>) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, None)?;
    if let Some(mark) = mark {
        socket.set_mark(mark)?;
    }
    socket.connect_timeout(&to.into(), SOON)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nets(texts: &[&str]) -> Vec<IpNet> {
        texts.iter().map(|text| text.parse().expect("a network")).collect()
    }

    #[test]
    fn a_port_is_tried_that_is_caught() {
        let ports = |text: &str| text.parse::<Ports>().expect("legal");
        assert_eq!(caught(&[], &[]), Some(80));
        assert_eq!(caught(&[], &[ports("80-65535")]), Some(1));
        assert_eq!(caught(&[ports("7-9")], &[ports("7"), ports("8")]), Some(9));
        assert_eq!(caught(&[ports("7")], &[ports("1-10")]), None);
    }

    #[test]
    fn an_address_is_tried_that_is_caught() {
        let to = |include: &[&str], exclude: &[&str], is_v4| {
            let (include_outbound, exclude_outbound) = (nets(include), nets(exclude));
            let settings = Settings { include_outbound, exclude_outbound, ..Settings::default() };
            destination(&settings, is_v4).map(|ip| ip.to_string())
        };
        assert_eq!(to(&[], &[], true).as_deref(), Some("192.0.2.1"));
        assert_eq!(to(&[], &[], false).as_deref(), Some("2001:db8::1"));
        assert_eq!(to(&[], &["192.0.0.0/8"], true).as_deref(), Some("198.51.100.1"));
        assert_eq!(to(&["10.0.0.0/8"], &[], true).as_deref(), Some("10.0.0.1"));
        assert_eq!(to(&["10.0.0.0/8"], &[], false), None);
        assert_eq!(to(&[], &["0.0.0.0/0"], true), None);
    }
}
