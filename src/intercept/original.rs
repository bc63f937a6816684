//! Where a redirected connection was going before it came here.
//!
//! A seam: in a pod the kernel knows, in a test a table does. A redirected connection (NAT) is in
//! the kernel's table of connections; one that was taken over transparently (TPROXY) still bears the
//! address that it was going to, which is its listener's business.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::net::TcpStream;

use crate::runtime::socket;

/// What was found out about a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// It was redirected; this is where it was going.
    Original(SocketAddr),
    /// It came to the listener on purpose.
    Direct,
}

/// How original destinations are found.
#[derive(Clone, Debug, Default)]
pub enum OriginalDst {
    /// netfilter's record of the redirection.
    #[default]
    Kernel,
    /// Given, by the client's address.
    Table(Arc<Mutex<HashMap<SocketAddr, SocketAddr>>>),
}

impl OriginalDst {
    pub fn of(&self, stream: &TcpStream) -> Found {
        let found = match self {
            OriginalDst::Kernel => kernel(stream),
            OriginalDst::Table(table) => stream.peer_addr().ok().and_then(|client| {
                let table = table.lock().unwrap_or_else(PoisonError::into_inner);
                table.get(&socket::canonical(client)).copied()
            }),
        };
        let local = stream.local_addr().ok().map(socket::canonical);
        found.filter(|address| Some(*address) != local).map_or(Found::Direct, Found::Original)
    }
}

/// `SO_ORIGINAL_DST`; `None` where the connection was not redirected.
fn kernel(stream: &TcpStream) -> Option<SocketAddr> {
    let socket = socket2::SockRef::from(stream);
    let address = match stream.local_addr().ok()?.ip() {
        IpAddr::V4(_) => socket.original_dst_v4(),
        IpAddr::V6(ip) if ip.to_ipv4_mapped().is_some() => socket.original_dst_v4(),
        IpAddr::V6(_) => socket.original_dst_v6(),
    };
    address.ok()?.as_socket()
}
