//! What is to be intercepted, as whoever sets up the network namespace says it.
//!
//! Two lists can speak about each direction: what is included (only that is caught; without the
//! list, everything) and what is excluded, which wins. Where outbound addresses and ports are both
//! included, a connection must be in both lists.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;

/// Ports of the sidecar's own that nobody intercepts inbound, besides the two that it intercepts
/// with: its admin port and its probes.
const OWN_PORTS: [u16; 2] = [15000, 15020];

/// Bytes of a network interface's name, without the zero that ends it (`IFNAMSIZ`).
const INTERFACE_BYTES: usize = 15;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Where the sidecar takes what the app sends.
    pub outbound_port: u16,
    /// Where the sidecar takes what is sent to the app.
    pub inbound_port: u16,
    /// Who the sidecar runs as: what these users send is not intercepted again.
    pub uids: Vec<u32>,
    pub mode: Mode,
    pub include_outbound: Vec<IpNet>,
    pub exclude_outbound: Vec<IpNet>,
    pub include_outbound_ports: Vec<Ports>,
    pub exclude_outbound_ports: Vec<Ports>,
    pub include_inbound_ports: Vec<Ports>,
    pub exclude_inbound_ports: Vec<Ports>,
    /// Nothing is caught that comes in or goes out there.
    pub exclude_interfaces: Vec<String>,
}

/// How inbound connections come to the sidecar.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// By network address translation.
    #[default]
    Redirect,
    /// As they are, so that the sidecar can show the app its client's address. The sidecar needs
    /// `CAP_NET_ADMIN` for it.
    Tproxy,
}

/// One port or several in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ports {
    pub first: u16,
    pub last: u16,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            outbound_port: 15001,
            inbound_port: 15006,
            uids: vec![2102],
            mode: Mode::default(),
            include_outbound: Vec::new(),
            exclude_outbound: Vec::new(),
            include_outbound_ports: Vec::new(),
            exclude_outbound_ports: Vec::new(),
            include_inbound_ports: Vec::new(),
            exclude_inbound_ports: Vec::new(),
            exclude_interfaces: Vec::new(),
        }
    }
}

impl Settings {
    /// The sidecar's own ports, in order, each once.
    pub(super) fn own_ports(&self) -> Vec<Ports> {
        let mut ports = [&OWN_PORTS[..], &[self.outbound_port, self.inbound_port]].concat();
        ports.sort_unstable();
        ports.dedup();
        ports.into_iter().map(Ports::from).collect()
    }
}

impl Ports {
    pub fn contains(self, port: u16) -> bool {
        (self.first..=self.last).contains(&port)
    }
}

impl From<u16> for Ports {
    fn from(port: u16) -> Self {
        Self { first: port, last: port }
    }
}

impl fmt::Display for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last {
            write!(f, "{}", self.first)
        } else {
            write!(f, "{}-{}", self.first, self.last)
        }
    }
}

impl FromStr for Ports {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let port = |text: &str| text.trim().parse().ok().filter(|port: &u16| *port > 0);
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        match (port(first), port(last)) {
            (Some(first), Some(last)) if first <= last => Ok(Self { first, last }),
            (Some(_), Some(_)) => Err("the range ends before it begins".into()),
            _ => Err("a port is 1 to 65535, a range is written 8000-8010".into()),
        }
    }
}

/// A network as it is written, or a single address.
///
/// # Errors
/// Why it is neither.
pub fn network(text: &str) -> Result<IpNet, String> {
    let net = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
    net.map(|net| net.trunc()).map_err(|_| "a network is written 10.0.0.0/8 or fd00::/8".into())
}

/// The name of a network interface.
///
/// # Errors
/// Why it can't be one that is excluded.
pub fn interface(text: &str) -> Result<String, String> {
    let is_legal = |byte: u8| byte.is_ascii_graphic() && !b"/:\"\\+*".contains(&byte);
    if text == "lo" {
        Err("lo is the pod itself, and has rules of its own".into())
    } else if text.len() > INTERFACE_BYTES || !text.bytes().all(is_legal) {
        Err(format!("an interface has a name of at most {INTERFACE_BYTES} plain characters"))
    } else {
        Ok(text.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_read_as_written() {
        for (text, first, last) in [("80", 80, 80), ("1-65535", 1, 65535), ("7 - 9", 7, 9)] {
            assert_eq!(text.parse(), Ok(Ports { first, last }), "{text}");
        }
        for text in ["", "0", "65536", "9-7", "0-3", "80-", "-80", "http", "1-2-3"] {
            assert!(text.parse::<Ports>().is_err(), "{text}");
        }
    }

    #[test]
    fn networks_lose_the_bits_of_the_host() {
        assert_eq!(network("10.1.2.3/8").expect("legal").to_string(), "10.0.0.0/8");
        assert_eq!(network("10.1.2.3").expect("legal").to_string(), "10.1.2.3/32");
        assert_eq!(network("fd00::1").expect("legal").to_string(), "fd00::1/128");
        assert!(network("10.0.0.0/33").is_err() && network("web").is_err());
    }

    #[test]
    fn no_name_can_break_out_of_a_rule() {
        assert_eq!(interface("eth0.12"), Ok("eth0.12".into()));
        for text in ["lo", "a\"b", "a b", "a/b", "sixteen-letters-", "e*", "e+", "é"] {
            assert!(interface(text).is_err(), "{text}");
        }
    }

    #[test]
    fn own_ports_follow_the_listeners() {
        let settings = Settings { inbound_port: 15020, outbound_port: 9, ..Settings::default() };
        let ports: Vec<u16> = settings.own_ports().iter().map(|ports| ports.first).collect();
        assert_eq!(ports, [9, 15000, 15020]);
    }
}
