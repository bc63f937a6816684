//! How a connection of ours passes the interception rules of the pod that it is made in.
//!
//! The rules take what the sidecar sends to its own pod's addresses back to its inbound listener, so
//! that an app that calls itself is called like any other: with mutual TLS and an identity. The one
//! leg that must not be taken, or it goes round until no socket is left, is from there to the app.
//! It shows itself by a mark, which needs CAP_NET_ADMIN, or by a source address that nobody else has.
//! The mark is the better one: a server that looks its clients up sees the pod's own address, where
//! MariaDB waits 10 s for a name of 127.0.0.6.

use std::cell::Cell;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsRawFd;

use socket2::{Domain, SockRef, Socket, Type};
use tokio::net::TcpSocket;

use super::clock::Rng;

/// What the rules let through: "or" in ASCII.
pub const MARK: u32 = 0x6f72;
/// The same without a mark: where the leg comes from. Such a packet never leaves `lo`, and is
/// delivered by the route that it was sent with: neither `route_localnet` nor a word about martian
/// sources is needed.
pub const APP_LEG_V4: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 6);
/// The kernel has but one loopback address of its own in IPv6: `init` adds this one to `lo`.
pub const APP_LEG_V6: Ipv6Addr = Ipv6Addr::new(0, 0, 0, 0, 0, 0, 0, 6);

/// How a connection shows that it is not to be intercepted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Exempt {
    /// It doesn't.
    #[default]
    No,
    /// By [`MARK`].
    Mark,
    /// By [`APP_LEG_V4`] or [`APP_LEG_V6`].
    Source,
    /// By [`MARK`], and it seems to come from this address, whoever has it.
    As(IpAddr),
}

impl Exempt {
    /// What this process is able to: [`Exempt::Mark`] where it has CAP_NET_ADMIN.
    pub fn able() -> Self {
        let marked = Socket::new(Domain::IPV4, Type::STREAM, None)
            .and_then(|socket| socket.set_mark(MARK))
            .is_ok();
        if marked { Exempt::Mark } else { Exempt::Source }
    }

    /// The ports to try as a connection's source, one after the other; 0 leaves it to the kernel.
    ///
    /// With a client's address a port of that client's is in use twice: should the client come from
    /// the same one to the same port of the app, its packets would go to the connection that is
    /// there. The kernel would choose as clients' kernels do, from 32768 on; so ports below are
    /// taken, in turn, which also leaves those that just ended their time.
    pub(super) fn ports(self) -> impl Iterator<Item = u16> {
        let tries = if matches!(self, Exempt::As(_)) { TRIES } else { 0 };
        (0..tries).map(|_| next_port()).chain([0])
    }

    /// Prepares a socket that is about to connect to `address`, from one of [`Exempt::ports`].
    pub(super) fn prepare(
        self,
        socket: &TcpSocket,
        address: SocketAddr,
        port: u16,
    ) -> io::Result<()> {
        let source = match self {
            Exempt::No => return Ok(()),
            Exempt::Mark => return SockRef::from(socket).set_mark(MARK),
            Exempt::Source if address.is_ipv4() => IpAddr::V4(APP_LEG_V4),
            Exempt::Source => IpAddr::V6(APP_LEG_V6),
            Exempt::As(client) => {
                SockRef::from(socket).set_mark(MARK)?;
                transparent(SockRef::from(socket), address.is_ipv6())?;
                client
            }
        };
        if port == 0 {
            choose_port_late(socket)?;
        } else {
            // The same port may serve connections to several ports of the app.
            socket.set_reuseaddr(true)?;
        }
        socket.bind(SocketAddr::new(source, port)).map_err(|error| {
            let cure = match error.kind() {
                io::ErrorKind::AddrNotAvailable => {
                    "; `outrigger-proxy init` adds it to the pod's loopback interface"
                }
                _ => "",
            };
            io::Error::new(error.kind(), format!("cannot dial from {source}: {error}{cure}"))
        })
    }
}

/// Ports that are neither privileged nor what kernels choose by default.
const OWN_PORTS: std::ops::Range<u16> = 1024..32768;
/// How many of them are tried, before it is left to the kernel. Arbitrary.
const TRIES: u8 = 16;

/// One after the other, from anywhere on.
fn next_port() -> u16 {
    thread_local! {
        static NEXT: Cell<Option<u16>> = const { Cell::new(None) };
    }
    let count = u64::from(OWN_PORTS.end - OWN_PORTS.start);
    let begin = || u16::try_from(Rng::from_system().next_u64() % count).unwrap_or_default();
    let offset = NEXT.get().unwrap_or_else(begin);
    let following = offset + 1;
    NEXT.set(Some(if u64::from(following) < count { following } else { 0 }));
    OWN_PORTS.start + offset
}

/// Whether another port may do.
pub(super) fn is_taken(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::AddrInUse | io::ErrorKind::AddrNotAvailable)
}

/// Whether a connection comes from a sidecar's inbound side: a connection that was let through
/// where it should not have been taken.
pub fn is_source(ip: IpAddr) -> bool {
    ip == IpAddr::V4(APP_LEG_V4) || ip == IpAddr::V6(APP_LEG_V6)
}

/// Lets a socket have addresses that are not this host's.
pub(super) fn transparent(socket: SockRef<'_>, is_ipv6: bool) -> io::Result<()> {
    if is_ipv6 { socket.set_ip_transparent_v6(true) } else { socket.set_ip_transparent_v4(true) }
}

/// Without it a bound address has as many connections as there are ports, to all servers together.
fn choose_port_late(socket: &TcpSocket) -> io::Result<()> {
    let on: libc::c_int = 1;
    // SAFETY: the value is an int that lives through the call, and its size is said.
    let done = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_IP,
            libc::IP_BIND_ADDRESS_NO_PORT,
            (&raw const on).cast(),
            size_of_val(&on) as libc::socklen_t,
        )
    };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
