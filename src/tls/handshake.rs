//! The two handshakes, each ending in a named peer or a reason.
//!
//! Thin glue over tokio-rustls: configurations come ready from [`Credentials`], the verdict from
//! [`super::peer`]. Time limits are the caller's. Dropping either future closes the connection.

use std::net::{IpAddr, Ipv4Addr};
use std::time::SystemTime;

use rustls::CommonState;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::{TlsAcceptor, TlsConnector, client, server};

use super::{Alpn, Credentials, Expectation, Peer, PeerError, classify, peer};
use crate::model::SpiffeId;

/// Answers a client's hello.
///
/// # Errors
/// [`PeerError`]: nothing that the client sent was handed on.
pub async fn accept<IO>(
    io: IO,
    credentials: &Credentials,
) -> Result<(server::TlsStream<IO>, Peer, Alpn), PeerError>
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    let acceptor = TlsAcceptor::from(credentials.server().clone());
    let stream = acceptor.accept(io).await.map_err(|e| classify(&e))?;
    let session = stream.get_ref().1;
    // A hello without any protocol name is let through by rustls.
    let alpn = negotiated(session).ok_or(PeerError::Alpn)?;
    let peer = peer(session, credentials, Expectation::Member, SystemTime::now())?;
    Ok((stream, peer, alpn))
}

/// Dials `expected` over an open connection. The server judges our certificate only after this
/// returns; its refusal comes with the first read (see [`classify`]).
///
/// # Errors
/// [`PeerError`]: nothing but the handshake was sent.
pub async fn connect<IO>(
    io: IO,
    credentials: &Credentials,
    alpn: Alpn,
    expected: &SpiffeId,
) -> Result<(client::TlsStream<IO>, Peer), PeerError>
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    let connector = TlsConnector::from(credentials.client(alpn).clone());
    let stream = connector.connect(no_name(), io).await;
    let stream = stream.map_err(|e| classify(&e))?;
    let session = stream.get_ref().1;
    if negotiated(session) != Some(alpn) {
        return Err(PeerError::Alpn);
    }
    let expected = Expectation::Exactly(expected);
    let peer = peer(session, credentials, expected, SystemTime::now())?;
    Ok((stream, peer))
}

/// rustls insists on a server name. Ours is never sent and never compared: the verifier goes by
/// SPIFFE ids.
pub(super) fn no_name() -> ServerName<'static> {
    ServerName::from(IpAddr::V4(Ipv4Addr::UNSPECIFIED))
}

fn negotiated(session: &CommonState) -> Option<Alpn> {
    session.alpn_protocol().and_then(Alpn::from_name)
}
