//! Mutual TLS 1.3 between sidecars, with SPIFFE identities instead of host names.
//!
//! Invariant: a stream that [`accept`] or [`connect`] returns comes with a [`Peer`] whose chain,
//! dates, trust domain and (for clients) exact identity were checked on that very session.
//! [`Credentials`] are an immutable snapshot: rotation builds another and swaps the pointer.
//! Callers: `serve` and `inbound` accept, `dial` connects, `app` reloads files, `agent` makes
//! credentials from what the control plane issued. Connections with the control plane have their own
//! two ends, [`ControlServer`] and [`ControlClient`], where the caller may still be nameless; servers
//! outside the mesh are verified by host name ([`Origination`]).

mod configs;
mod control;
mod error;
mod files;
mod handshake;
mod named;
mod originate;
mod proof;
mod proven;
mod relay;
mod scratch;
mod session;
mod settings;
mod stream;
#[cfg(test)]
mod tests;
mod tickets;
mod verify;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::SystemTime;

pub use configs::provider;
pub use control::{ControlClient, ControlServer, Offer, hello};
pub use error::{PeerError, Refusal, classify};
pub use files::{Fingerprint, LoadError, fingerprint, load};
pub use handshake::{accept, connect};
pub use named::named_server;
pub use originate::Origination;
pub use proof::Proof;
pub use relay::{OverSocket, relay_until};
pub use session::{ClientSession, ServerSession};
pub use settings::Settings;
pub use stream::Stream;
pub use verify::{Expectation, Peer, peer};

use crate::identity::{Svid, TrustBundle};
use crate::model::SpiffeId;

/// What a connection between sidecars carries, as ALPN says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Alpn {
    /// Requests of any HTTP version, over HTTP/2.
    H2,
    /// HTTP/1 unchanged, one exchange at a time.
    H1,
    /// Opaque bytes.
    Tcp,
}

impl Alpn {
    /// In the order in which a server prefers them. rustls goes by the server's order; a sidecar
    /// offers exactly one, so that the client decides all the same.
    pub const ALL: [Alpn; 3] = [Alpn::H2, Alpn::H1, Alpn::Tcp];

    /// The protocol name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Alpn::H2 => "outrigger-h2",
            Alpn::H1 => "outrigger-h1",
            Alpn::Tcp => "outrigger-tcp",
        }
    }

    pub fn from_name(name: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|alpn| alpn.name().as_bytes() == name)
    }
}

/// Everything a handshake needs, built once per certificate or bundle.
#[derive(Clone, Debug)]
pub struct Credentials {
    svid: Svid,
    bundle: TrustBundle,
    verifier: Arc<verify::Verifier>,
    server: Arc<rustls::ServerConfig>,
    clients: [Arc<rustls::ClientConfig>; 3],
    places: Arc<tickets::Places>,
}

impl Credentials {
    /// The trust domain is the one of the SVID's id. Whether peers would take this certificate is
    /// not asked here (see [`Credentials::check`]): a bundle that no longer has our root must
    /// still replace the one that has it.
    pub fn new(svid: Svid, bundle: TrustBundle) -> Self {
        let verifier = Arc::new(verify::Verifier::new(svid.id().trust_domain(), &bundle));
        let protocols = Alpn::ALL.map(configs::wire).into();
        let mut server = configs::server(&svid, verifier.clone(), protocols);
        tickets::issue(&mut server);
        let clients = configs::clients(&svid, verifier.clone());
        let (server, places) = (Arc::new(server), Arc::default());
        Self { svid, bundle, verifier, server, clients, places }
    }

    pub fn svid(&self) -> &Svid {
        &self.svid
    }

    pub fn bundle(&self) -> &TrustBundle {
        &self.bundle
    }

    /// For accepting: a client certificate is required.
    pub fn server(&self) -> &Arc<rustls::ServerConfig> {
        &self.server
    }

    /// For dialling with this protocol inside, as if for the first time.
    pub fn client(&self, alpn: Alpn) -> &Arc<rustls::ClientConfig> {
        &self.clients[alpn as usize]
    }

    /// For dialling a place where `expected` is; what it gave us there last time spares a whole
    /// handshake.
    pub fn client_at(
        &self,
        address: SocketAddr,
        expected: &SpiffeId,
        alpn: Alpn,
    ) -> Arc<rustls::ClientConfig> {
        self.places.config(self.client(alpn), alpn, address, expected)
    }

    /// Whoever is there was refused: the next handshake is a whole one.
    fn forget(&self, address: SocketAddr, alpn: Alpn) {
        self.places.forget(alpn, address);
    }

    /// Whether a peer with this same bundle would take our certificate at `now`.
    ///
    /// # Errors
    /// What such a peer would say.
    pub fn check(&self, now: SystemTime) -> Result<(), PeerError> {
        self.verifier.check(self.svid.chain(), now)
    }
}
