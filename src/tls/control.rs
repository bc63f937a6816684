//! TLS between the control plane and those who call it.
//!
//! A caller may come without a certificate, since this is where first certificates come from; one
//! that it shows must be of our mesh, or the handshake fails. The other way there is no doubt: who
//! answers must prove to be the control plane of the trust domain, not just any workload with a
//! certificate. Both ends are built once per certificate and bundle. Callers: `control` accepts,
//! `agent` and the command line connect.

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::SystemTime;

use rustls::CommonState;
use rustls::server::Acceptor;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::{LazyConfigAcceptor, StartHandshake, TlsConnector, client, server};

use super::handshake::no_name;
use super::verify::{Expectation, Verifier, judge};
use super::{Peer, PeerError, classify, configs};
use crate::identity::{Svid, TrustBundle};
use crate::model::{SpiffeId, TrustDomain};

const H2: &[u8] = b"h2";
const HTTP1: &[u8] = b"http/1.1";

/// What a server speaks inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offer {
    /// gRPC: a client that doesn't ask for HTTP/2 is turned away.
    H2,
    /// Pages: a client that asks for nothing is taken to speak it.
    Http1,
}

impl Offer {
    fn protocols(self) -> Vec<Vec<u8>> {
        match self {
            Offer::H2 => vec![H2.to_vec()],
            Offer::Http1 => vec![HTTP1.to_vec()],
        }
    }
}

/// The control plane's end.
#[derive(Clone, Debug)]
pub struct ControlServer {
    config: Arc<rustls::ServerConfig>,
    trust_domain: Box<str>,
    generation: u64,
    offer: Offer,
}

impl ControlServer {
    /// The trust domain is the one of the SVID's id.
    pub fn new(svid: &Svid, bundle: &TrustBundle, offer: Offer) -> Self {
        let trust_domain = svid.id().trust_domain();
        let verifier = Verifier::new(trust_domain, bundle).client_may_be_nameless();
        Self {
            config: Arc::new(configs::server(svid, Arc::new(verifier), offer.protocols())),
            trust_domain: trust_domain.into(),
            generation: bundle.generation(),
            offer,
        }
    }

    /// Waits for a client's hello and answers it; `None`: it showed no certificate. Time limits are
    /// the caller's.
    ///
    /// # Errors
    /// [`PeerError`]: nothing that the client sent was handed on.
    pub async fn accept<IO>(
        &self,
        io: IO,
    ) -> Result<(server::TlsStream<IO>, Option<Peer>), PeerError>
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        self.answer(hello(io).await?).await
    }

    /// Answers a client's hello; `None`: it showed no certificate. From here on it costs something.
    ///
    /// # Errors
    /// As [`ControlServer::accept`].
    pub async fn answer<IO>(
        &self,
        hello: Hello<IO>,
    ) -> Result<(server::TlsStream<IO>, Option<Peer>), PeerError>
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        let stream = hello.into_stream(self.config.clone()).await.map_err(|e| classify(&e))?;
        let session = stream.get_ref().1;
        // A hello without any protocol name is let through by rustls.
        if self.offer == Offer::H2 && !speaks_h2(session) {
            return Err(PeerError::Alpn);
        }
        let member = Expectation::Member;
        let now = SystemTime::now();
        match judge(session, &self.trust_domain, self.generation, member, now) {
            Ok(peer) => Ok((stream, Some(peer))),
            Err(PeerError::NoCertificate) => Ok((stream, None)),
            Err(refused) => Err(refused),
        }
    }
}

/// A client that said its hello to the end.
pub type Hello<IO> = StartHandshake<IO>;

/// Waits for a client's hello, whatever comes then. Time limits are the caller's.
///
/// # Errors
/// [`PeerError`]: it is none.
pub async fn hello<IO>(io: IO) -> Result<Hello<IO>, PeerError>
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    LazyConfigAcceptor::new(Acceptor::default(), io).await.map_err(|e| classify(&e))
}

/// The end of whoever calls the control plane.
#[derive(Clone, Debug)]
pub struct ControlClient {
    config: Arc<rustls::ClientConfig>,
    expected: SpiffeId,
    generation: u64,
    offer: Offer,
}

impl ControlClient {
    /// Trusts these roots, and shows `own` if there is one.
    pub fn new(trust_domain: &TrustDomain, roots: &TrustBundle, own: Option<&Svid>) -> Self {
        let verifier = Arc::new(Verifier::new(trust_domain.as_str(), roots));
        Self {
            config: Arc::new(configs::client(own, verifier, Offer::H2.protocols())),
            expected: SpiffeId::control_plane(trust_domain),
            generation: roots.generation(),
            offer: Offer::H2,
        }
    }

    /// The same caller, to whom pages are served.
    #[must_use]
    pub fn for_pages(&self) -> Self {
        let mut config = (*self.config).clone();
        config.alpn_protocols = Offer::Http1.protocols();
        Self { config: Arc::new(config), offer: Offer::Http1, ..self.clone() }
    }

    /// Dials the control plane over an open connection. It judges our certificate only after this
    /// returns; its refusal comes with the first read (see [`classify`]). Time limits are the
    /// caller's.
    ///
    /// # Errors
    /// [`PeerError`]: nothing but the handshake was sent.
    pub async fn connect<IO>(&self, io: IO) -> Result<client::TlsStream<IO>, PeerError>
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        let connector = TlsConnector::from(self.config.clone());
        let stream = connector.connect(no_name(), io).await.map_err(|e| classify(&e))?;
        let session = stream.get_ref().1;
        if speaks_h2(session) != (self.offer == Offer::H2) {
            return Err(PeerError::Alpn);
        }
        let expected = Expectation::Exactly(&self.expected);
        let now = SystemTime::now();
        judge(session, self.expected.trust_domain(), self.generation, expected, now)?;
        Ok(stream)
    }
}

fn speaks_h2(session: &CommonState) -> bool {
    session.alpn_protocol() == Some(H2)
}
