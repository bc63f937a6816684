//! Where a redirected connection was going before it came here.
//!
//! A seam: in a pod the kernel knows, in a test a table does.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::net::TcpStream;

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
                table.lock().unwrap_or_else(PoisonError::into_inner).get(&client).copied()
            }),
        };
        match found {
            Some(address) if Some(address) != stream.local_addr().ok() => Found::Original(address),
            _ => Found::Direct,
        }
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
