//! The roots that a workload trusts, and their generation.
//!
//! Invariant: at least one root, all of them CAs, none twice. Whoever replaces a bundle counts
//! its generation up, so that a connection remembers under which roots it was admitted. TLS has
//! no notion of an expired root (webpki takes an anchor's name and key, not its dates): expired
//! ones stay, because leaves below them may still be in use, and are reported by
//! [`TrustBundle::expired`].

use std::sync::Arc;
use std::time::SystemTime;

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;

use super::{Error, Revoked, certificates, parse, serial_text};

/// A root certificate, with what people want to know of it.
#[derive(Clone, Debug)]
pub struct Root {
    pub certificate: CertificateDer<'static>,
    pub subject: String,
    pub serial: String,
    pub not_before: SystemTime,
    pub not_after: SystemTime,
}

/// The roots of the mesh at one moment.
#[derive(Clone, Debug)]
pub struct TrustBundle {
    roots: Vec<Root>,
    generation: u64,
    revoked: Arc<Revoked>,
    anchors: Arc<RootCertStore>,
}

impl TrustBundle {
    /// Reads roots in PEM; `generation` is the caller's count of replacements.
    ///
    /// # Errors
    /// As [`TrustBundle::new`], or when the text is not PEM.
    pub fn from_pem(pem: &[u8], generation: u64) -> Result<Self, Error> {
        Self::new(certificates(pem)?, generation)
    }

    /// # Errors
    /// [`Error::NoCertificate`] without any, [`Error::NotCa`] for one that may not issue,
    /// [`Error::RootUnusable`] or [`Error::Malformed`] for one that can't be read.
    pub fn new(
        mut certificates: Vec<CertificateDer<'static>>,
        generation: u64,
    ) -> Result<Self, Error> {
        let mut anchors = RootCertStore::empty();
        let mut roots: Vec<Root> = Vec::with_capacity(certificates.len());
        for (index, certificate) in certificates.drain(..).enumerate() {
            if roots.iter().any(|root| root.certificate == certificate) {
                continue;
            }
            let root = root(certificate, index + 1)?;
            add(&mut anchors, &root, index + 1)?;
            roots.push(root);
        }
        if roots.is_empty() {
            return Err(Error::NoCertificate { found: "it is empty" });
        }
        Ok(Self { roots, generation, revoked: Arc::default(), anchors: Arc::new(anchors) })
    }

    pub fn roots(&self) -> &[Root] {
        &self.roots
    }

    /// Whether both trust the same roots, in whatever order.
    pub fn is_same(&self, other: &TrustBundle) -> bool {
        let holds = |root: &Root| other.roots.iter().any(|o| o.certificate == root.certificate);
        self.roots.len() == other.roots.len() && self.roots.iter().all(holds)
    }

    /// The same roots, but for what was taken back.
    pub fn without(self, revoked: Arc<Revoked>) -> Self {
        Self { revoked, ..self }
    }

    /// What none of the roots vouches for any more.
    pub fn revoked(&self) -> &Arc<Revoked> {
        &self.revoked
    }

    /// The roots in PEM, as [`TrustBundle::from_pem`] reads them.
    pub fn to_pem(&self) -> String {
        let section = |root: &Root| pem::Pem::new("CERTIFICATE", root.certificate.to_vec());
        pem::encode_many(&self.roots.iter().map(section).collect::<Vec<_>>())
    }

    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// The roots that ended before `now`: still trusted, worth a warning.
    pub fn expired(&self, now: SystemTime) -> impl Iterator<Item = &Root> {
        self.roots.iter().filter(move |root| root.not_after < now)
    }

    /// The same roots in the form that verifiers take; shared, never copied.
    pub fn anchors(&self) -> &Arc<RootCertStore> {
        &self.anchors
    }
}

fn root(certificate: CertificateDer<'static>, position: usize) -> Result<Root, Error> {
    let parsed = parse::certificate(&certificate)?;
    let subject = parsed.subject().to_string();
    if !parse::is_ca(&parsed)? {
        return Err(Error::NotCa { position, subject });
    }
    let serial = serial_text(parsed.raw_serial());
    let (not_before, not_after) = parse::validity(&parsed);
    Ok(Root { certificate, subject, serial, not_before, not_after })
}

fn add(anchors: &mut RootCertStore, root: &Root, position: usize) -> Result<(), Error> {
    anchors.add(root.certificate.clone()).map_err(|source| Error::RootUnusable {
        position,
        subject: root.subject.clone(),
        source: Box::new(source),
    })
}
