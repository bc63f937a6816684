//! Credentials from three files: certificate chain, key and trust bundle.
//!
//! All or nothing: a pair that doesn't match (one half just being written), or a certificate that
//! no peer would take, is an error, and the caller keeps what it has. The caller polls
//! [`fingerprint`] and loads when it differs from that of the last attempt, taking it *before*
//! loading, so that a change in between is seen on the next poll. After an error it should try
//! again even without a change: a certificate may merely not be valid yet.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::{Credentials, PeerError, Settings};
use crate::identity::{self, Svid, TrustBundle};
use crate::model::{SpiffeId, TrustDomain};

const CERTIFICATE: &str = "identity.certificate";
const KEY: &str = "identity.key";
const TRUST_BUNDLE: &str = "identity.trustBundle";

/// Why the files give no credentials: which setting, which file; the source says why, and what to
/// do.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error("{field}: {} can't be read", .path.display())]
    Read {
        field: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{field}: {} can't be used", .path.display())]
    Unusable {
        field: &'static str,
        path: PathBuf,
        #[source]
        source: identity::Error,
    },
    #[error(
        "identity.certificate: {} is for {found}, but trustDomain is {ours}: \
         set trustDomain to {}, or issue the certificate in {ours}",
        .path.display(),
        .found.trust_domain()
    )]
    TrustDomain { path: PathBuf, found: SpiffeId, ours: TrustDomain },
    #[error(
        "identity.certificate: no peer would take {} (judged by identity.trustBundle {}): \
         issue it again, or put the root that issued it into the bundle",
        .certificate.display(),
        .trust_bundle.display()
    )]
    Refused {
        certificate: PathBuf,
        trust_bundle: PathBuf,
        #[source]
        source: PeerError,
    },
}

/// Reads the three files; blocking, for the control thread.
///
/// # Errors
/// [`LoadError`], without any effect.
pub fn load(
    settings: &Settings,
    trust_domain: &TrustDomain,
    generation: u64,
    now: SystemTime,
) -> Result<Credentials, LoadError> {
    let svid = svid(settings)?;
    if svid.id().trust_domain() != trust_domain.as_str() {
        return Err(LoadError::TrustDomain {
            path: settings.certificate.clone(),
            found: svid.id().clone(),
            ours: trust_domain.clone(),
        });
    }
    let path = &settings.trust_bundle;
    let bundle = TrustBundle::from_pem(&read(TRUST_BUNDLE, path)?, generation)
        .map_err(|source| unusable(TRUST_BUNDLE, path, source))?;
    let credentials = Credentials::new(svid, bundle);
    credentials.check(now).map_err(|source| LoadError::Refused {
        certificate: settings.certificate.clone(),
        trust_bundle: settings.trust_bundle.clone(),
        source,
    })?;
    Ok(credentials)
}

fn svid(settings: &Settings) -> Result<Svid, LoadError> {
    let (certificate, key) = (&settings.certificate, &settings.key);
    let chain = identity::certificates(&read(CERTIFICATE, certificate)?)
        .map_err(|source| unusable(CERTIFICATE, certificate, source))?;
    let private =
        identity::private_key(&read(KEY, key)?).map_err(|source| unusable(KEY, key, source))?;
    Svid::new(chain, private).map_err(|source| {
        if source.is_about_key() {
            unusable(KEY, key, source)
        } else {
            unusable(CERTIFICATE, certificate, source)
        }
    })
}

fn read(field: &'static str, path: &Path) -> Result<Vec<u8>, LoadError> {
    fs::read(path).map_err(|source| LoadError::Read { field, path: path.to_owned(), source })
}

fn unusable(field: &'static str, path: &Path, source: identity::Error) -> LoadError {
    LoadError::Unusable { field, path: path.to_owned(), source }
}

/// Tells whether any of the three files was replaced or rewritten; equal means unchanged. Follows
/// links, since Kubernetes publishes a secret by moving one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fingerprint([Option<Stamp>; 3]);

/// What tells one state of a file from another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    device: u64,
    inode: u64,
    len: u64,
    modified: (i64, i64),
}

/// Three `stat` calls; a missing file has a fingerprint too.
pub fn fingerprint(settings: &Settings) -> Fingerprint {
    let files = [&settings.certificate, &settings.key, &settings.trust_bundle];
    Fingerprint(files.map(|file| stamp(file)))
}

/// `None` for a file that can't be looked at.
pub(super) fn stamp(path: &Path) -> Option<Stamp> {
    let metadata = fs::metadata(path).ok()?;
    Some(Stamp {
        device: metadata.dev(),
        inode: metadata.ino(),
        len: metadata.len(),
        modified: (metadata.mtime(), metadata.mtime_nsec()),
    })
}

#[cfg(test)]
mod tests;
