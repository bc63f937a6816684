//! One connection to one address, in plaintext or over mutual TLS.

use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;

use super::DialError;
use crate::model::SpiffeId;
use crate::runtime::socket;
use crate::tls::{self, Alpn, Credentials};

/// Where a connection goes, and who must be there.
#[derive(Clone, Copy, Debug)]
pub struct Far<'a> {
    pub address: SocketAddr,
    /// `None` is plaintext.
    pub identity: Option<&'a SpiffeId>,
    pub connect_timeout: Duration,
}

/// A connection to the other side.
pub type Stream = tls::Stream<TlsStream<TcpStream>>;

/// Connects, and shakes hands where the endpoint is meshed, in one time limit.
pub(super) async fn connect(
    far: Far<'_>,
    credentials: Option<&Credentials>,
    alpn: Alpn,
) -> Result<Stream, DialError> {
    let all = async {
        let Some(identity) = far.identity else {
            let stream = socket::connect(far.address).await.map_err(DialError::Connect)?;
            return Ok(Stream::Plain(stream));
        };
        let credentials = credentials.ok_or(DialError::NoCredentials)?;
        if credentials.svid().not_after() <= SystemTime::now() {
            return Err(DialError::Ended);
        }
        let stream = socket::connect(far.address).await.map_err(DialError::Connect)?;
        let (stream, _peer) =
            tls::connect(stream, credentials, alpn, identity).await.map_err(DialError::Tls)?;
        Ok(Stream::Tls(Box::new(stream)))
    };
    timeout(far.connect_timeout, all).await.unwrap_or(Err(DialError::Timeout(far.connect_timeout)))
}
