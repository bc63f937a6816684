//! The two handshakes, each ending in a named peer or a reason.
//!
//! Thin glue over [`super::session`]: configurations come ready from [`Credentials`], the verdict from
//! [`super::peer`]. Time limits are the caller's. Dropping either future closes the connection.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::SystemTime;

use rustls::CommonState;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};

use super::{
    Alpn, ClientSession, Credentials, Expectation, Peer, PeerError, ServerSession, classify, peer,
};
use crate::model::SpiffeId;

/// Answers a client's hello.
///
/// # Errors
/// [`PeerError`]: nothing that the client sent was handed on.
pub async fn accept<IO>(
    io: IO,
    credentials: &Credentials,
) -> Result<(ServerSession<IO>, Peer, Alpn), PeerError>
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    let stream = ServerSession::accept(io, credentials.server()).await.map_err(|e| classify(&e))?;
    let session = stream.get_ref().1;
    // A hello without any protocol name is let through by rustls.
    let alpn = negotiated(session).ok_or(PeerError::Alpn)?;
    let peer = peer(session, credentials, Expectation::Member, SystemTime::now())?;
    Ok((stream, peer, alpn))
}

/// Dials `expected` over a connection that is open to `address`. The server judges our certificate
/// only after this returns; its refusal comes with the first read (see [`classify`]).
///
/// # Errors
/// [`PeerError`]: nothing but the handshake was sent.
pub async fn connect<IO>(
    io: IO,
    credentials: &Credentials,
    alpn: Alpn,
    address: SocketAddr,
    expected: &SpiffeId,
) -> Result<(ClientSession<IO>, Peer), PeerError>
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    let config = credentials.client_at(address, expected, alpn);
    let stream = ClientSession::connect(io, &config, no_name()).await;
    let stream = stream.map_err(|e| classify(&e))?;
    let session = stream.get_ref().1;
    if negotiated(session) != Some(alpn) {
        return Err(PeerError::Alpn);
    }
    let expected = Expectation::Exactly(expected);
    let peer = peer(session, credentials, expected, SystemTime::now());
    Ok((stream, peer.inspect_err(|_| credentials.forget(address, alpn))?))
}

/// rustls insists on a server name. Ours is never sent and never compared: the verifier goes by
/// SPIFFE ids.
pub(super) fn no_name() -> ServerName<'static> {
    ServerName::from(IpAddr::V4(Ipv4Addr::UNSPECIFIED))
}

fn negotiated(session: &CommonState) -> Option<Alpn> {
    session.alpn_protocol().and_then(Alpn::from_name)
}
