//! Sockets as the mesh wants them: exclusive listeners, no Nagle, dead peers noticed.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use super::Exempt;
use super::descriptors;
use super::exempt::{is_taken, transparent};

/// A peer that is silent for this long is asked whether it lives (semantics: live connections).
const KEEPALIVE: Duration = Duration::from_secs(30);
/// Sent bytes that nobody acknowledged for this long end the connection.
const USER_TIMEOUT: Duration = Duration::from_secs(30);
/// Linux cuts it at net.core.somaxconn, 4096 on every kernel since 5.4.
const BACKLOG: i32 = 4096;

/// Takes an address for this process alone and listens on it.
///
/// # Errors
/// The system's, with the address in it; taken addresses name the cure.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let (socket, address) = open(address)?;
    bind(socket, address)
}

/// The same, for connections to any address that the kernel hands over (TPROXY): an accepted
/// socket's local address is where the client wanted to go.
///
/// # Errors
/// As for [`listen`]; without CAP_NET_ADMIN it can't be done.
pub fn listen_for_any(address: SocketAddr) -> io::Result<TcpListener> {
    let (socket, address) = open(address)?;
    transparent((&socket).into(), address.is_ipv6()).map_err(|error| {
        let cure = "tproxy needs the capability NET_ADMIN while the sidecar runs: give it to the \
                    container, or redirect";
        let why = format!("cannot listen on {address} for others' addresses: {error}; {cure}");
        io::Error::new(error.kind(), why)
    })?;
    bind(socket, address)
}

/// Where the kernel was booted without IPv6, "every address" is every one of IPv4.
fn open(address: SocketAddr) -> io::Result<(Socket, SocketAddr)> {
    let open = |address: SocketAddr| {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        Ok((socket, address))
    };
    open(address).or_else(|error: io::Error| match error.raw_os_error() {
        Some(libc::EAFNOSUPPORT) if address.ip().is_unspecified() => {
            open((Ipv4Addr::UNSPECIFIED, address.port()).into())
        }
        _ => Err(error),
    })
}

/// Whether this host has no IPv6, not even for itself.
pub fn lacks_ipv6() -> bool {
    std::net::UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).is_err()
}

fn bind(socket: Socket, address: SocketAddr) -> io::Result<TcpListener> {
    take(socket, address).map_err(|error| {
        let cure = match error.kind() {
            io::ErrorKind::AddrInUse => {
                "; another process listens there: stop it or choose another port"
            }
            io::ErrorKind::PermissionDenied => "; ports below 1024 need CAP_NET_BIND_SERVICE",
            io::ErrorKind::AddrNotAvailable => "; no interface of this host has that address",
            _ => "",
        };
        io::Error::new(error.kind(), format!("cannot listen on {address}: {error}{cure}"))
    })
}

fn take(socket: Socket, address: SocketAddr) -> io::Result<TcpListener> {
    // Not REUSEPORT: a second proxy must fail loudly, not take half of the traffic. REUSEADDR only
    // lets a restart pass over connections in TIME_WAIT.
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(!address.ip().is_unspecified())?;
    }
    // Linux gives an accepted socket what its listener has: six system calls fewer a connection.
    tune((&socket).into())?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    TcpListener::from_std(socket.into())
}

/// Dials without a time limit of its own.
///
/// # Errors
/// The system's; also where the last descriptors are [others'](descriptors).
pub async fn connect(address: SocketAddr, exempt: Exempt) -> io::Result<TcpStream> {
    let mut ports = exempt.ports().peekable();
    loop {
        let port = ports.next().unwrap_or_default();
        match connect_from(port, address, exempt).await {
            Err(error) if is_taken(&error) && ports.peek().is_some() => {}
            Err(error) => return Err(error),
            Ok(stream) => {
                tune((&stream).into())?;
                return Ok(stream);
            }
        }
    }
}

async fn connect_from(port: u16, address: SocketAddr, exempt: Exempt) -> io::Result<TcpStream> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    descriptors::leave_the_rest(&socket)?;
    exempt.prepare(&socket, address, port)?;
    socket.connect(address).await
}

/// Sets what every connection has: those that are dialled, and, on their listener, those that are
/// accepted.
///
/// # Errors
/// The system's; the peer may be gone already.
pub fn tune(socket: SockRef<'_>) -> io::Result<()> {
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_keepalive(
        &TcpKeepalive::new()
            .with_time(KEEPALIVE)
            .with_interval(Duration::from_secs(10))
            .with_retries(3),
    )?;
    socket.set_tcp_user_timeout(Some(USER_TIMEOUT))
}

/// An IPv4 address as such, also where an IPv6 socket has it: what is compared, logged and asked
/// for has one form.
pub fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// Makes the next close of this socket a reset, so that the peer does not take it for a clean end.
pub fn reset_on_close(stream: &TcpStream) {
    // A socket that refuses this is gone already, and so is whoever would have seen the reset.
    let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn both_ends_are_tuned() {
        for any in ["127.0.0.1:0", "[::1]:0"] {
            let listener = match listen(any.parse().expect("an address")) {
                Err(_) if lacks_ipv6() => continue,
                listener => listener.expect("a free port"),
            };
            let address = listener.local_addr().expect("an address");
            let dialled = connect(address, Exempt::default()).await.expect("a connection");
            let (accepted, _) = listener.accept().await.expect("a connection");
            for end in [&dialled, &accepted] {
                let end = SockRef::from(end);
                assert!(end.tcp_nodelay().expect("an option"));
                assert!(end.keepalive().expect("an option"));
                assert_eq!(end.tcp_keepalive_time().expect("an option"), KEEPALIVE);
                assert_eq!(end.tcp_user_timeout().expect("an option"), Some(USER_TIMEOUT));
            }
        }
    }
}
