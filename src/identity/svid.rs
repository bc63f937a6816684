//! A workload's own certificate and key: the X.509 SVID.
//!
//! Invariant: the leaf names exactly one SPIFFE id, is no CA, and carries the public half of the
//! key. An SVID is immutable; rotation makes another. The key is loaded once, into the form that
//! signs handshakes, and no `Debug`, error or accessor prints it.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use rustls::InconsistentKeys;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use super::{Error, Leaf, certificates, private_key};
use crate::model::SpiffeId;

/// A certificate chain with the key of its leaf.
#[derive(Clone)]
pub struct Svid {
    id: SpiffeId,
    serial: String,
    not_before: SystemTime,
    not_after: SystemTime,
    certified: Arc<CertifiedKey>,
}

impl Svid {
    /// Reads a chain (leaf first) and its key, both in PEM.
    ///
    /// # Errors
    /// As [`Svid::new`], or when either is not PEM.
    pub fn from_pem(certificate: &[u8], key: &[u8]) -> Result<Self, Error> {
        Self::new(certificates(certificate)?, private_key(key)?)
    }

    /// Joins a chain, leaf first, with the key of its leaf. Any kind of key that rustls can use
    /// is taken; P-256 is what the mesh issues.
    ///
    /// # Errors
    /// Every [`Error`] that concerns a leaf or a key.
    pub fn new(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
    ) -> Result<Self, Error> {
        let leaf = chain.first().ok_or(Error::NoCertificate { found: "it is empty" })?;
        let leaf = Leaf::from_der(leaf)?;
        if leaf.not_after <= leaf.not_before {
            return Err(Error::Validity);
        }
        let (id, serial) = (leaf.id()?, leaf.serial());
        let (not_before, not_after) = (leaf.not_before, leaf.not_after);
        Ok(Self { id, serial, not_before, not_after, certified: Arc::new(certify(chain, key)?) })
    }

    pub fn id(&self) -> &SpiffeId {
        &self.id
    }

    /// The leaf's serial number, as [`super::serial_text`] writes it.
    pub fn serial(&self) -> &str {
        &self.serial
    }

    /// The leaf, then its intermediates.
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.certified.cert
    }

    pub fn not_before(&self) -> SystemTime {
        self.not_before
    }

    pub fn not_after(&self) -> SystemTime {
        self.not_after
    }

    /// Chain and signing key, in the form that rustls takes; shared, never copied.
    pub fn certified_key(&self) -> &Arc<CertifiedKey> {
        &self.certified
    }
}

impl fmt::Debug for Svid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Svid")
            .field("id", &self.id)
            .field("serial", &self.serial)
            .field("not_before", &self.not_before)
            .field("not_after", &self.not_after)
            .finish_non_exhaustive()
    }
}

fn certify(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<CertifiedKey, Error> {
    let key = default_provider().key_provider.load_private_key(key).map_err(Error::KeyUnusable)?;
    let certified = CertifiedKey::new(chain, key);
    match certified.keys_match() {
        Ok(()) => Ok(certified),
        Err(rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch)) => {
            Err(Error::KeyMismatch)
        }
        Err(error) => Err(Error::KeyUnusable(error)),
    }
}
