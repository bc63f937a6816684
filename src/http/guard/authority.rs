//! A host with an optional port, as the Host header and request targets carry it.
//!
//! Narrower than RFC 3986 section 3.2: no user information, no percent-encoding, no empty name,
//! no empty port, so that everyone who reads one of these finds the same host in it.

use super::section::{HOST, run};
use memchr::memchr;
use std::net::Ipv6Addr;

/// A valid host and port.
#[derive(Clone, Copy, Debug)]
pub(super) struct Authority<'b> {
    name: &'b [u8],
    port: Option<u16>,
}

impl<'b> Authority<'b> {
    /// Reads all of `bytes`; `None` when they are not a host with an optional port.
    pub(super) fn parse(bytes: &'b [u8]) -> Option<Self> {
        let name_bytes = match bytes.first()? {
            b'[' => ipv6_bytes(bytes)?,
            _ => run(bytes, HOST),
        };
        let (name, rest) = bytes.split_at(name_bytes);
        let port = match rest {
            [] => None,
            [b':', digits @ ..] => Some(port(digits)?),
            _ => return None,
        };
        (!name.is_empty()).then_some(Self { name, port })
    }

    /// The port that was written.
    pub(super) fn port(&self) -> Option<u16> {
        self.port
    }

    /// Whether both name the same host and port, where no port means `default`.
    pub(super) fn agrees(&self, other: &Self, default: u16) -> bool {
        self.name.eq_ignore_ascii_case(other.name)
            && self.port.unwrap_or(default) == other.port.unwrap_or(default)
    }
}

/// The length of the bracketed address that `bytes` begin with.
fn ipv6_bytes(bytes: &[u8]) -> Option<usize> {
    let end = memchr(b']', bytes)?;
    let address = std::str::from_utf8(&bytes[1..end]).ok()?;
    address.parse::<Ipv6Addr>().ok().map(|_| end + 1)
}

/// A port from 1, without leading zeros.
fn port(digits: &[u8]) -> Option<u16> {
    let plain = matches!(digits, [b'1'..=b'9', rest @ ..] if rest.len() < 5 && rest.iter().all(u8::is_ascii_digit));
    if !plain {
        return None;
    }
    let port = digits.iter().fold(0, |port, digit| port * 10 + u32::from(digit - b'0'));
    u16::try_from(port).ok()
}
