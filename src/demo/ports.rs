//! Free ports on loopback for everything in the shop.
//!
//! They come from below those that the system gives to outgoing connections: who starts again on
//! its old port must find it free, and who dials a port where nobody listens just then must not meet
//! himself (TCP allows a connection from a port to itself). Held until [`Ports::release`], so that
//! no two can be the same.

use std::collections::HashMap;
use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use crate::runtime::clock::Rng;

/// Linux begins at 32768 unless it is told otherwise.
const FIRST: u16 = 20_000;
const COUNT: u16 = 10_000;

/// Gives out ports, each once in a long while.
#[derive(Debug)]
pub(super) struct Ports {
    next: u16,
    held: HashMap<SocketAddr, TcpListener>,
}

impl Ports {
    /// Each process begins elsewhere.
    pub(super) fn new() -> Ports {
        let first = Rng::from_system().below(usize::from(COUNT));
        Ports { next: u16::try_from(first).unwrap_or_default(), held: HashMap::new() }
    }

    /// On a port that nobody has.
    ///
    /// # Errors
    /// When all are taken.
    pub(super) fn listener(&mut self) -> io::Result<TcpListener> {
        for _ in 0..COUNT {
            self.next = (self.next + 1) % COUNT;
            if let Ok(listener) = TcpListener::bind((Ipv4Addr::LOCALHOST, FIRST + self.next)) {
                return Ok(listener);
            }
        }
        Err(ErrorKind::AddrInUse.into())
    }

    /// A port for another process, kept free for it.
    ///
    /// # Errors
    /// When all are taken.
    pub(super) fn hold(&mut self) -> io::Result<SocketAddr> {
        let listener = self.listener()?;
        let address = listener.local_addr()?;
        self.held.insert(address, listener);
        Ok(address)
    }

    /// Makes room for whom the port is for.
    pub(super) fn release(&mut self, address: SocketAddr) {
        self.held.remove(&address);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_is_not_given_again_and_then_is_free() {
        let mut ports = Ports::new();
        let first = ports.hold().expect("a port");
        let second = ports.hold().expect("a port");
        assert_ne!(first, second);
        assert!((FIRST..FIRST + COUNT).contains(&first.port()));
        assert!(TcpListener::bind(first).is_err());
        ports.release(first);
        assert!(TcpListener::bind(first).is_ok());
    }
}
