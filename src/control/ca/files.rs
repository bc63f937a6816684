//! The authority's folder: `root.key`, `root.pem`, `issuer.key`, `issuer.pem`.
//!
//! They are written in this order, so that whatever a killed start leaves tells how far it came: a
//! key without its certificate was never used and is taken up again, while a later file without an
//! earlier one means that somebody lost it, and that is not for us to repair. An issuer of two
//! halves that don't fit was being renewed; a new one takes its place. Caller: `authority`.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rcgen::KeyPair;

use super::Error;
use super::certificate::{Made, Misfit, Pair, new_root, read_key, uri_of};
use crate::control::files::{open_folder, read_private, read_public, write_private, write_public};
use crate::model::TrustDomain;

#[derive(Debug)]
pub(super) struct Folder(PathBuf);

impl Folder {
    pub fn open(path: &Path) -> Result<Self, Error> {
        open_folder(path)?;
        Ok(Self(path.to_owned()))
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// The root of this trust domain; made when there is nothing yet.
    pub fn root(&self, trust_domain: &TrustDomain, now: SystemTime) -> Result<Pair, Error> {
        let (key_path, path) = (self.path("root.key"), self.path("root.pem"));
        let pair = match (read_private(&key_path)?, read_public(&path)?) {
            (Some(key), Some(certificate)) => self.pair("root", &certificate, &key)?,
            (None, Some(_)) => return Err(Error::Missing { missing: key_path, beside: path }),
            (key, None) => self.make_root(key, trust_domain, now)?,
        };
        let uris = pair.uris();
        if uris != [uri_of(trust_domain)] {
            let found = if uris.is_empty() { "no trust domain".into() } else { uris.join(", ") };
            return Err(Error::RootOfAnother { path, found, ours: trust_domain.clone() });
        }
        if !pair.may_sign_issuers() {
            return Err(Error::PathLength { path });
        }
        if pair.not_after <= now {
            return Err(Error::RootEnded { path, not_after: pair.not_after });
        }
        Ok(pair)
    }

    /// The issuer that is there, if it is a whole one.
    pub fn issuer(&self) -> Result<Option<Pair>, Error> {
        let (key_path, path) = (self.path("issuer.key"), self.path("issuer.pem"));
        let (Some(key), Some(certificate)) = (read_private(&key_path)?, read_public(&path)?) else {
            return Ok(None);
        };
        match self.pair("issuer", &certificate, &key) {
            Ok(pair) => Ok(Some(pair)),
            Err(error) => {
                tracing::warn!(%error, "the issuer's files don't fit together: a new one is made");
                Ok(None)
            }
        }
    }

    /// Keeps an issuer, in place of the one before.
    pub fn put_issuer(&self, made: &Made) -> Result<(), Error> {
        write_private(&self.path("issuer.key"), made.key.as_bytes())?;
        Ok(write_public(&self.path("issuer.pem"), made.certificate.as_bytes())?)
    }

    /// A pair that is not kept (yet): errors name where it would be.
    pub fn pair(&self, name: &str, certificate: &[u8], key: &[u8]) -> Result<Pair, Error> {
        Pair::read(certificate, key).map_err(|misfit| self.misfit(name, misfit))
    }

    /// A key that was kept before its certificate could be is used: whoever lost everything else
    /// gets a root that the sidecars of before take for the same.
    fn make_root(
        &self,
        key: Option<Vec<u8>>,
        trust_domain: &TrustDomain,
        now: SystemTime,
    ) -> Result<Pair, Error> {
        let path = self.path("root.pem");
        for later in ["issuer.key", "issuer.pem"] {
            let beside = self.path(later);
            if beside.exists() {
                return Err(Error::Missing { missing: path, beside });
            }
        }
        let pem = match key {
            Some(pem) => pem,
            None => {
                let pem = KeyPair::generate()?.serialize_pem().into_bytes();
                write_private(&self.path("root.key"), &pem)?;
                pem
            }
        };
        let key = read_key(&pem).map_err(|misfit| self.misfit("root", misfit))?;
        let certificate = new_root(&key, trust_domain, now)?;
        let pair = self.pair("root", certificate.as_bytes(), &pem)?;
        write_public(&path, certificate.as_bytes())?;
        Ok(pair)
    }

    fn misfit(&self, name: &str, misfit: Misfit) -> Error {
        let certificate = self.path(&format!("{name}.pem"));
        let key = self.path(&format!("{name}.key"));
        match misfit {
            Misfit::Certificate(source) => Error::Unusable { path: certificate, source },
            Misfit::Key(source) => Error::Unusable { path: key, source },
            Misfit::Mismatch => Error::KeyMismatch { key, certificate },
        }
    }
}
