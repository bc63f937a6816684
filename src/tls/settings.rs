//! Where a sidecar without a control plane finds its identity. Filled by
//! `config`; the files are read again when they change.

use std::path::PathBuf;

/// The identity's files, all PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The SVID, then its intermediates.
    pub certificate: PathBuf,
    /// The SVID's private key.
    pub key: PathBuf,
    /// The roots that peers are checked against.
    pub trust_bundle: PathBuf,
}
