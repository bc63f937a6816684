//! Why a handshake failed, in words that name the side at fault.
//!
//! A session reports everything as an `io::Error`: our own verdicts, the peer's alerts, and the
//! transport. [`classify`] takes them apart. A client of TLS 1.3 has finished its handshake before
//! the server judges its certificate, so that a [`PeerError::Refused`] often comes with the first
//! read: whoever reads should classify that error too.

use std::error::Error;
use std::io;
use std::time::{Duration, SystemTime};

use rustls::pki_types::UnixTime;
use rustls::{
    AlertDescription, CertificateError, Error as TlsError, InvalidMessage, PeerIncompatible,
};

use crate::identity;
use crate::model::SpiffeId;

/// Why there is no authenticated connection.
#[derive(Clone, Debug, thiserror::Error)]
pub enum PeerError {
    #[error("the peer presented no certificate")]
    NoCertificate,
    #[error("the certificate ended{}", at(.not_after))]
    Expired { not_after: Option<SystemTime> },
    #[error("the certificate is not valid yet, it begins{}", at(.not_before))]
    NotYetValid { not_before: Option<SystemTime> },
    #[error("the certificate was issued by none of the roots in the trust bundle")]
    UnknownIssuer,
    #[error("a signature in the certificate or the handshake is wrong")]
    BadSignature,
    #[error("the certificate is not meant for this end of a TLS connection (extended key usage)")]
    WrongPurpose,
    #[error("the peer is {found}, which is not of our trust domain {ours}")]
    WrongTrustDomain { found: SpiffeId, ours: String },
    #[error("the peer is {found}, and {expected} was expected")]
    WrongIdentity { expected: SpiffeId, found: SpiffeId },
    #[error("the peer's certificate or identity was revoked")]
    Revoked,
    #[error("the certificate names no workload: {why}")]
    NotSpiffe { why: String },
    #[error("the peer {0}")]
    Refused(Refusal),
    #[error("one side does not speak TLS 1.3, which the mesh requires")]
    TlsVersion,
    #[error("the two sides have no protocol (ALPN) in common: one of them is no sidecar")]
    Alpn,
    #[error("the peer does not speak TLS")]
    NotTls,
    #[error("the peer closed the connection in mid-handshake")]
    Closed,
    #[error("the connection failed in mid-handshake: {0}")]
    Io(io::ErrorKind),
    #[error("the server's certificate is not for the name {0}")]
    WrongName(String),
    #[error("nobody said for which name the server's certificate must be: write tls.originate.sni")]
    NoServerName,
    #[error("its certificate can't be verified: {0}")]
    NoRoots(String),
    #[error("the server does not speak HTTP/2")]
    NoHttp2,
    #[error("the TLS handshake failed")]
    Handshake(#[source] TlsError),
}

impl PeerError {
    /// Whether someone's identity was the cause, rather than protocol or transport.
    pub fn is_identity(&self) -> bool {
        match self {
            PeerError::NoCertificate
            | PeerError::Expired { .. }
            | PeerError::NotYetValid { .. }
            | PeerError::UnknownIssuer
            | PeerError::BadSignature
            | PeerError::WrongPurpose
            | PeerError::WrongTrustDomain { .. }
            | PeerError::WrongIdentity { .. }
            | PeerError::NotSpiffe { .. }
            | PeerError::Revoked
            | PeerError::WrongName(_)
            | PeerError::NoServerName
            | PeerError::NoRoots(_)
            | PeerError::Handshake(TlsError::InvalidCertificate(_)) => true,
            PeerError::Refused(refusal) => !matches!(refusal, Refusal::Alert(_)),
            PeerError::TlsVersion
            | PeerError::Alpn
            | PeerError::NoHttp2
            | PeerError::NotTls
            | PeerError::Closed
            | PeerError::Io(_)
            | PeerError::Handshake(_) => false,
        }
    }

    /// Whether the peer proved to be somebody else than announced, or whom nobody trusts any more.
    pub fn is_wrong_identity(&self) -> bool {
        matches!(
            self,
            PeerError::WrongTrustDomain { .. }
                | PeerError::WrongIdentity { .. }
                | PeerError::NotSpiffe { .. }
                | PeerError::Revoked
        )
    }

    pub(super) fn not_spiffe(error: identity::Error) -> Self {
        let mut why = error.to_string();
        if let Some(source) = error.source() {
            why.push_str(": ");
            why.push_str(&source.to_string());
        }
        PeerError::NotSpiffe { why }
    }
}

/// What the peer's alert says of our certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("wants a certificate, and got none from us")]
    NoCertificate,
    #[error("refused our certificate: by its clock it has ended or not begun")]
    Expired,
    #[error("refused our certificate: it does not know who issued it")]
    UnknownIssuer,
    #[error("refused our certificate: it was revoked")]
    Revoked,
    #[error("refused our certificate: a signature is wrong")]
    BadSignature,
    #[error("refused our certificate: it does not take the identity in it")]
    Identity,
    #[error("ended the handshake with the TLS alert {0:?}")]
    Alert(AlertDescription),
}

/// Takes apart what a handshake, or a read on its stream, failed with.
pub fn classify(error: &io::Error) -> PeerError {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
    match (inner, error.kind()) {
        (Some(error), _) => classify_tls(error),
        (None, io::ErrorKind::UnexpectedEof) => PeerError::Closed,
        (None, kind) => PeerError::Io(kind),
    }
}

pub(super) fn classify_tls(error: &TlsError) -> PeerError {
    match error {
        TlsError::NoCertificatesPresented => PeerError::NoCertificate,
        TlsError::InvalidCertificate(verdict) => certificate(verdict, error),
        TlsError::AlertReceived(alert) => classify_alert(*alert),
        TlsError::NoApplicationProtocol => PeerError::Alpn,
        TlsError::PeerIncompatible(
            PeerIncompatible::SupportedVersionsExtensionRequired
            | PeerIncompatible::Tls12NotOffered
            | PeerIncompatible::Tls12NotOfferedOrEnabled
            | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig
            | PeerIncompatible::ServerDoesNotSupportTls12Or13,
        ) => PeerError::TlsVersion,
        TlsError::InvalidMessage(
            InvalidMessage::InvalidContentType | InvalidMessage::UnknownProtocolVersion,
        ) => PeerError::NotTls,
        _ => PeerError::Handshake(error.clone()),
    }
}

fn certificate(verdict: &CertificateError, error: &TlsError) -> PeerError {
    match verdict {
        CertificateError::Expired => PeerError::Expired { not_after: None },
        CertificateError::ExpiredContext { not_after, .. } => {
            PeerError::Expired { not_after: Some(system_time(*not_after)) }
        }
        CertificateError::NotValidYet => PeerError::NotYetValid { not_before: None },
        CertificateError::NotValidYetContext { not_before, .. } => {
            PeerError::NotYetValid { not_before: Some(system_time(*not_before)) }
        }
        CertificateError::Revoked => PeerError::Revoked,
        CertificateError::UnknownIssuer => PeerError::UnknownIssuer,
        CertificateError::NotValidForNameContext { expected, .. } => {
            PeerError::WrongName(expected.to_str().into_owned())
        }
        CertificateError::BadSignature => PeerError::BadSignature,
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            PeerError::WrongPurpose
        }
        // Our own verifier's refusals travel through rustls in this box.
        CertificateError::Other(other) => match other.0.downcast_ref::<PeerError>() {
            Some(ours) => ours.clone(),
            None => PeerError::Handshake(error.clone()),
        },
        _ => PeerError::Handshake(error.clone()),
    }
}

fn classify_alert(alert: AlertDescription) -> PeerError {
    PeerError::Refused(match alert {
        AlertDescription::ProtocolVersion => return PeerError::TlsVersion,
        AlertDescription::NoApplicationProtocol => return PeerError::Alpn,
        AlertDescription::CertificateRequired => Refusal::NoCertificate,
        AlertDescription::CertificateExpired => Refusal::Expired,
        AlertDescription::UnknownCA => Refusal::UnknownIssuer,
        AlertDescription::CertificateRevoked => Refusal::Revoked,
        AlertDescription::DecryptError => Refusal::BadSignature,
        AlertDescription::BadCertificate
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::CertificateUnknown
        | AlertDescription::AccessDenied => Refusal::Identity,
        other => Refusal::Alert(other),
    })
}

fn system_time(time: UnixTime) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(time.as_secs())
}

/// ` at 2025-01-31T12:00:00Z`, or nothing.
fn at(time: &Option<SystemTime>) -> String {
    time.and_then(|time| jiff::Timestamp::try_from(time).ok())
        .map(|time| format!(" at {time:.0}"))
        .unwrap_or_default()
}
