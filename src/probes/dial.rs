//! The way to the app: loopback, then the address that the probe was sent to, for an app that
//! listens on the pod's address alone.
//!
//! What a sidecar sends to its own pod's address would be caught by the interception rules and come
//! back to its inbound port, except from the source addresses and with the mark that these rules
//! leave alone. Where no rules are there is nothing to be left alone by, so a failure to take the
//! source or the mark is none; where there are some, the app is then asked like by any stranger.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use socket2::SockRef;
use tokio::net::{TcpSocket, TcpStream};

use crate::runtime::exempt::{APP_LEG_V4, APP_LEG_V6, MARK};

/// Connects to the app's port. `own` is the address at which the probe came in.
///
/// # Errors
/// What loopback said, which is where the app is looked for first.
pub(super) async fn dial(port: u16, own: IpAddr) -> io::Result<TcpStream> {
    let v4 = connect((Ipv4Addr::LOCALHOST, port).into(), false).await;
    let Err(first) = v4 else { return v4 };
    let v6 = connect((Ipv6Addr::LOCALHOST, port).into(), false).await;
    if v6.is_ok() {
        return v6;
    }
    let own = own.to_canonical();
    if own != Ipv4Addr::LOCALHOST
        && own != Ipv6Addr::LOCALHOST
        && let Ok(stream) = connect((own, port).into(), true).await
    {
        return Ok(stream);
    }
    Err(first)
}

async fn connect(to: SocketAddr, past_the_rules: bool) -> io::Result<TcpStream> {
    let socket = if to.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    if past_the_rules {
        let source: IpAddr = if to.is_ipv4() { APP_LEG_V4.into() } else { APP_LEG_V6.into() };
        let _ = socket.bind((source, 0).into());
        let _ = SockRef::from(&socket).set_mark(MARK);
    }
    let stream = socket.connect(to).await?;
    // Where nobody listens, a port of the ephemeral range may have met itself.
    if stream.local_addr()? == stream.peer_addr()? {
        return Err(io::ErrorKind::ConnectionRefused.into());
    }
    stream.set_nodelay(true)?;
    Ok(stream)
}
