//! One connection to one address: in plaintext, over mutual TLS, or over TLS as any client.

use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use tokio::net::TcpStream;
use tokio::time::timeout;

use super::DialError;
use crate::model::SpiffeId;
use crate::runtime::{Exempt, socket};
use crate::tls::{self, Alpn, ClientSession, Credentials, Origination};

/// Where a connection goes, and who must be there.
#[derive(Clone, Copy, Debug)]
pub struct Far<'a> {
    pub address: SocketAddr,
    /// Whom it must prove to be; `None` is not meshed.
    pub identity: Option<&'a SpiffeId>,
    /// TLS of the server's own; `None` is plaintext, where there is no identity either.
    pub origination: Option<&'a Origination>,
    /// The server's name.
    pub host: Option<&'a str>,
    pub connect_timeout: Duration,
    /// The letter case of HTTP/1 header names is kept.
    pub keeps_case: bool,
    pub exempt: Exempt,
}

/// How a connection is secured: one may serve a request only if it would be made so today.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Secured {
    Plain,
    /// Mutual TLS; the pool's endpoint says with whom.
    Mesh,
    /// TLS of the server's own, verified as one [`Origination`] says.
    Originated(u64),
}

impl<'a> Far<'a> {
    pub fn secured(&self) -> Secured {
        match (self.identity, self.origination) {
            (Some(_), _) => Secured::Mesh,
            (None, Some(origination)) => Secured::Originated(origination.id()),
            (None, None) => Secured::Plain,
        }
    }

    /// In plaintext.
    pub fn plain(address: SocketAddr, connect_timeout: Duration, keeps_case: bool) -> Far<'a> {
        Far {
            address,
            identity: None,
            origination: None,
            host: None,
            connect_timeout,
            keeps_case,
            exempt: Exempt::No,
        }
    }
}

/// A connection to the other side.
pub type Stream = tls::Stream<ClientSession<TcpStream>>;

/// Connects, and shakes hands where the endpoint is meshed, in one time limit.
pub(super) async fn connect(
    far: Far<'_>,
    credentials: Option<&Credentials>,
    alpn: Alpn,
) -> Result<Stream, DialError> {
    let all = async {
        let Some(identity) = far.identity else {
            let stream =
                socket::connect(far.address, far.exempt).await.map_err(DialError::Connect)?;
            let Some(origination) = far.origination else { return Ok(Stream::Plain(stream)) };
            let stream = origination.connect(stream, alpn, far.host).await;
            return stream.map(Stream::Tls).map_err(DialError::Tls);
        };
        let credentials = credentials.ok_or(DialError::NoCredentials)?;
        if credentials.svid().not_after() <= SystemTime::now() {
            return Err(DialError::Ended);
        }
        let stream = socket::connect(far.address, far.exempt).await.map_err(DialError::Connect)?;
        let stream = tls::connect(stream, credentials, alpn, far.address, identity).await;
        let (stream, _peer) = stream.map_err(DialError::Tls)?;
        Ok(Stream::Tls(stream))
    };
    timeout(far.connect_timeout, all).await.unwrap_or(Err(DialError::Timeout(far.connect_timeout)))
}
