//! Who a workload is: X.509 SVIDs, the roots that vouch for them, and what a leaf certificate says.
//!
//! Invariant: a held [`Svid`] has one SPIFFE id, is no CA and has its own key; a held
//! [`TrustBundle`] has at least one root, and only CAs. Validity in time and the chain from leaf
//! to root are judged at each handshake, by `tls`, which is the main caller; `agent` and the
//! control plane make the same values from what they receive and issue.

mod bundle;
#[cfg(any(test, feature = "control"))]
pub mod issue;
mod parse;
mod pem;
mod revoked;
mod svid;
#[cfg(test)]
mod tests;

pub use bundle::{Root, TrustBundle};
pub use parse::{Leaf, dates, serial_text};
pub use pem::{certificates, private_key};
pub use revoked::{Revoked, enrollment, enrollment_number, enrollment_text};
pub use svid::Svid;

use crate::model::NameError;

/// Why a certificate, key or bundle was refused: the cause, then the cure. Which file it came
/// from is the caller's to add.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("it is damaged PEM ({0}): write the whole file again")]
    Pem(&'static str),
    #[error("it holds no certificate ({found}): it must hold PEM sections named CERTIFICATE")]
    NoCertificate { found: &'static str },
    #[error(
        "it holds no private key ({found}): it must hold an unencrypted PEM section named \
         PRIVATE KEY, EC PRIVATE KEY or RSA PRIVATE KEY"
    )]
    NoKey { found: &'static str },
    #[error("the certificate is not well-formed X.509: issue it again")]
    Malformed(#[source] x509_parser::nom::Err<x509_parser::error::X509Error>),
    #[error("the certificate is followed by {0} bytes that don't belong to it: issue it again")]
    Trailing(usize),
    #[error(
        "the certificate names no SPIFFE id: issue it with one URI subject alternative name, \
         spiffe://<trust-domain>/ns/<namespace>/sa/<service-account>"
    )]
    NoUri,
    #[error(
        "the certificate names {0} URIs: issue it with exactly one, because one holder has one id"
    )]
    ManyUris(usize),
    #[error("the certificate names an id that no workload of a mesh has")]
    NotSpiffe(#[source] NameError),
    #[error(
        "the certificate is a CA's: put the workload's own certificate first, \
         then its intermediates"
    )]
    CaAsLeaf,
    #[error("the certificate ends before it begins: issue it again")]
    Validity,
    #[error("the private key can't be used: use EC P-256 or another kind that TLS 1.3 knows")]
    KeyUnusable(#[source] rustls::Error),
    #[error(
        "the private key is not the certificate's: replace both together \
         (one of them may be only half-written)"
    )]
    KeyMismatch,
    #[error(
        "certificate {position} ({subject}) is no CA: a trust bundle holds only the certificates \
         of root CAs"
    )]
    NotCa { position: usize, subject: String },
    #[error("certificate {position} ({subject}) can't serve as a root: issue it again")]
    RootUnusable {
        position: usize,
        subject: String,
        #[source]
        source: Box<rustls::Error>,
    },
}

impl Error {
    /// Whether the private key is what has to change, rather than the certificate.
    pub fn is_about_key(&self) -> bool {
        matches!(self, Error::NoKey { .. } | Error::KeyUnusable(_) | Error::KeyMismatch)
    }
}
