//! Whether the other end is who it has to be.
//!
//! Two steps. [`Verifier`] runs inside the handshake: chain, dates, purpose and signatures by
//! webpki, then shape and trust domain of the id, so that the peer gets an alert and not just a
//! closed connection. [`peer`] runs on every finished session, from the certificate that the
//! session itself holds, and adds what a shared verifier can't know: whom this connection
//! expected.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use rustls::{
    CertificateError, CommonState, DigitallySignedStruct, DistinguishedName, Error as TlsError,
    HandshakeKind, OtherError, RootCertStore, SignatureScheme,
};

use super::error::{PeerError, classify_tls};
use super::proven::Proven;
use super::{Credentials, configs};
use crate::identity::{Leaf, Revoked, TrustBundle};
use crate::model::SpiffeId;

/// The authenticated other end of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    pub id: SpiffeId,
    /// Of its leaf, as `identity::serial_text` writes it.
    pub serial: String,
    /// When its leaf begins.
    pub not_before: SystemTime,
    /// When its leaf ends; the connection has to be drained by then.
    pub not_after: SystemTime,
    /// Of the bundle that vouched for it.
    pub bundle_generation: u64,
}

/// Whom a connection is for.
#[derive(Clone, Copy, Debug)]
pub enum Expectation<'a> {
    /// Any workload of our trust domain: what a server expects; access rules decide the rest.
    Member,
    /// This one and no other: what a client expects.
    Exactly(&'a SpiffeId),
}

/// Names the peer of a finished handshake.
///
/// # Errors
/// When it has no certificate, or the certificate is not one of our trust domain, not valid at
/// `now`, or not the expected one; of a resumed session, also when its chain is no longer good.
pub fn peer(
    session: &CommonState,
    ours: &Credentials,
    expected: Expectation<'_>,
    now: SystemTime,
) -> Result<Peer, PeerError> {
    // The verifier has judged what was shown in a whole handshake, and only that.
    let whole = [HandshakeKind::Full, HandshakeKind::FullWithHelloRetryRequest];
    if !session.handshake_kind().is_some_and(|kind| whole.contains(&kind)) {
        let chain = session.peer_certificates().unwrap_or_default();
        let (leaf, intermediates) = chain.split_first().ok_or(PeerError::NoCertificate)?;
        let judged = match expected {
            Expectation::Member => ours.verifier.client_chain(leaf, intermediates, unix(now)),
            Expectation::Exactly(_) => ours.verifier.server_chain(leaf, intermediates, unix(now)),
        };
        judged.map_err(|error| classify_tls(&error))?;
    }
    let generation = ours.bundle().generation();
    judge(session, ours.svid().id().trust_domain(), generation, expected, now)
}

/// As [`peer`], for those who may have no certificate of their own; `generation` is that of the
/// bundle that the session was verified with.
pub(super) fn judge(
    session: &CommonState,
    trust_domain: &str,
    generation: u64,
    expected: Expectation<'_>,
    now: SystemTime,
) -> Result<Peer, PeerError> {
    let chain = session.peer_certificates().unwrap_or_default();
    let leaf = chain.first().ok_or(PeerError::NoCertificate)?;
    let leaf = Leaf::from_der(leaf).map_err(PeerError::not_spiffe)?;
    let id = named(&leaf, trust_domain, expected)?;
    if leaf.not_after <= now {
        let not_after = Some(leaf.not_after);
        return Err(PeerError::Expired { not_after });
    }
    if leaf.not_before > now {
        let not_before = Some(leaf.not_before);
        return Err(PeerError::NotYetValid { not_before });
    }
    Ok(Peer {
        id,
        serial: leaf.serial(),
        not_before: leaf.not_before,
        not_after: leaf.not_after,
        bundle_generation: generation,
    })
}

/// The leaf's id, if it is of our trust domain and the expected one.
fn named(leaf: &Leaf<'_>, ours: &str, expected: Expectation<'_>) -> Result<SpiffeId, PeerError> {
    let id = match expected {
        // The usual case of a client, without making a new id.
        Expectation::Exactly(id) if id.as_str() == leaf.uri() => id.clone(),
        _ => leaf.id().map_err(PeerError::not_spiffe)?,
    };
    if id.trust_domain() != ours {
        return Err(PeerError::WrongTrustDomain { found: id, ours: ours.into() });
    }
    match expected {
        Expectation::Exactly(expected) if *expected != id => {
            Err(PeerError::WrongIdentity { expected: expected.clone(), found: id })
        }
        _ => Ok(id),
    }
}

fn unix(now: SystemTime) -> UnixTime {
    UnixTime::since_unix_epoch(now.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO))
}

/// Judges certificates during a handshake, for both directions.
#[derive(Debug)]
pub(super) struct Verifier {
    /// Our trust domain.
    ours: Box<str>,
    client_must_show: bool,
    anchors: Arc<RootCertStore>,
    revoked: Arc<Revoked>,
    clients: Arc<dyn ClientCertVerifier>,
    algorithms: WebPkiSupportedAlgorithms,
    /// As servers, and as clients.
    proven: [Proven; 2],
}

impl Verifier {
    pub(super) fn new(trust_domain: &str, bundle: &TrustBundle) -> Self {
        let provider = configs::provider();
        let anchors = bundle.anchors().clone();
        let clients =
            WebPkiClientVerifier::builder_with_provider(anchors.clone(), provider.clone())
                .build()
                .expect("a trust bundle has at least one root, and no revocation lists are given");
        Self {
            ours: trust_domain.into(),
            client_must_show: true,
            anchors,
            revoked: bundle.revoked().clone(),
            clients,
            algorithms: provider.signature_verification_algorithms,
            proven: Default::default(),
        }
    }

    /// Lets clients in that show no certificate; one that is shown is judged all the same.
    pub(super) fn client_may_be_nameless(self) -> Self {
        Self { client_must_show: false, ..self }
    }

    /// Judges our own chain as peers on either side would.
    pub(super) fn check(
        &self,
        chain: &[CertificateDer<'_>],
        now: SystemTime,
    ) -> Result<(), PeerError> {
        let (leaf, intermediates) = chain.split_first().ok_or(PeerError::NoCertificate)?;
        self.server_chain(leaf, intermediates, unix(now))
            .and_then(|()| self.client_chain(leaf, intermediates, unix(now)))
            .map_err(|error| classify_tls(&error))
    }

    pub(super) fn server_chain(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), TlsError> {
        self.proven[0].unless_known(leaf, intermediates, now, || {
            let chain = ParsedCertificate::try_from(leaf).and_then(|leaf| {
                let (anchors, algorithms) = (&self.anchors, self.algorithms.all);
                verify_server_cert_signed_by_trust_anchor(
                    &leaf,
                    anchors,
                    intermediates,
                    now,
                    algorithms,
                )
            });
            self.member(leaf, chain)
        })
    }

    pub(super) fn client_chain(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), TlsError> {
        self.proven[1].unless_known(leaf, intermediates, now, || {
            let chain = self.clients.verify_client_cert(leaf, intermediates, now);
            self.member(leaf, chain.map(drop))
        })
    }

    /// Adds the id's shape and trust domain, and what was revoked, to webpki's verdict on the chain. A refusal that webpki
    /// has no exact word for (a CA as a leaf) is left to ours, which has.
    fn member(
        &self,
        leaf: &CertificateDer<'_>,
        chain: Result<(), TlsError>,
    ) -> Result<(), TlsError> {
        match chain {
            Ok(()) | Err(TlsError::InvalidCertificate(CertificateError::Other(_))) => {}
            refused => return refused,
        }
        let ours = |error| CertificateError::Other(OtherError(Arc::new(error)));
        let leaf = Leaf::from_der(leaf).map_err(PeerError::not_spiffe).map_err(ours)?;
        let id = named(&leaf, &self.ours, Expectation::Member).map_err(ours)?;
        chain?;
        if self.revoked.concerns(&leaf, &id) {
            return Err(CertificateError::Revoked.into());
        }
        Ok(())
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        self.server_chain(end_entity, intermediates, now)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

impl ClientCertVerifier for Verifier {
    fn client_auth_mandatory(&self) -> bool {
        self.client_must_show
    }

    /// None: our peers have one certificate each, and names would only make the request longer.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, TlsError> {
        self.client_chain(end_entity, intermediates, now)?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
