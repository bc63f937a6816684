//! What the authority keeps: `root.key`, `root.pem`, `issuer.key`, `issuer.pem`, wherever that is.
//!
//! They are written in this order, so that whatever a killed start leaves tells how far it came: a
//! key without its certificate was never used and is taken up again, while a later part without an
//! earlier one means that somebody lost it, and that is not for us to repair. An issuer of two
//! halves that don't fit was being renewed; a new one takes its place. Caller: `authority`.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rcgen::KeyPair;

use super::Error;
use super::certificate::{Made, Misfit, Pair, new_root, read_key, uri_of};
use crate::control::files::{open_folder, read_private, read_public, write_private, write_public};
use crate::model::TrustDomain;

/// Where the four parts are kept. Blocking.
pub trait Keeper: Send + Sync + 'static {
    /// Where a part is, as errors name it.
    fn path(&self, part: &str) -> PathBuf;

    /// A part's bytes; `None` when it is not there.
    ///
    /// # Errors
    /// When nobody can say what it is.
    fn read(&self, part: &str) -> Result<Option<Vec<u8>>, Error>;

    /// Puts a part in place of the one that is there, if any.
    ///
    /// # Errors
    /// When it is not kept: what was there is still there.
    fn write(&self, part: &str, pem: &[u8]) -> Result<(), Error>;

    /// Whether others read and write it too. Then they agree on who renews the issuer, and an
    /// authority never does so by itself.
    fn is_shared(&self) -> bool {
        false
    }
}

/// A folder of four files.
pub(super) struct Folder(PathBuf);

impl Folder {
    pub fn open(path: &Path) -> Result<Self, Error> {
        open_folder(path)?;
        Ok(Self(path.to_owned()))
    }
}

impl Keeper for Folder {
    fn path(&self, part: &str) -> PathBuf {
        self.0.join(part)
    }

    fn read(&self, part: &str) -> Result<Option<Vec<u8>>, Error> {
        let read = if is_key(part) { read_private } else { read_public };
        Ok(read(&self.path(part))?)
    }

    fn write(&self, part: &str, pem: &[u8]) -> Result<(), Error> {
        let write = if is_key(part) { write_private } else { write_public };
        Ok(write(&self.path(part), pem)?)
    }
}

fn is_key(part: &str) -> bool {
    part.ends_with(".key")
}

/// The parts as CAs.
pub(super) struct Parts(Box<dyn Keeper>);

impl Parts {
    pub fn of(keeper: Box<dyn Keeper>) -> Self {
        Self(keeper)
    }

    pub fn path(&self, part: &str) -> PathBuf {
        self.0.path(part)
    }

    pub fn is_shared(&self) -> bool {
        self.0.is_shared()
    }

    /// The root of this trust domain; made when there is nothing yet.
    pub fn root(&self, trust_domain: &TrustDomain, now: SystemTime) -> Result<Pair, Error> {
        let pair = match self.kept_root()? {
            Ok(pair) => pair,
            Err(key) => self.make_root(key, trust_domain, now)?,
        };
        self.judge(pair, trust_domain, now)
    }

    /// The root that is there already.
    pub fn present_root(&self, trust_domain: &TrustDomain, now: SystemTime) -> Result<Pair, Error> {
        let gone = Error::Gone { path: self.path("root.pem") };
        self.judge(self.kept_root()?.map_err(|_| gone)?, trust_domain, now)
    }

    /// `Err`: without a certificate, but maybe a key.
    fn kept_root(&self) -> Result<Result<Pair, Option<Vec<u8>>>, Error> {
        match (self.0.read("root.key")?, self.0.read("root.pem")?) {
            (Some(key), Some(certificate)) => self.pair("root", &certificate, &key).map(Ok),
            (None, Some(_)) => {
                let (missing, beside) = (self.path("root.key"), self.path("root.pem"));
                Err(Error::Missing { missing, beside })
            }
            (key, None) => Ok(Err(key)),
        }
    }

    fn judge(
        &self,
        pair: Pair,
        trust_domain: &TrustDomain,
        now: SystemTime,
    ) -> Result<Pair, Error> {
        let path = self.path("root.pem");
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
        let (key, certificate) = (self.0.read("issuer.key")?, self.0.read("issuer.pem")?);
        let (Some(key), Some(certificate)) = (key, certificate) else { return Ok(None) };
        match self.pair("issuer", &certificate, &key) {
            Ok(pair) => Ok(Some(pair)),
            Err(error) => {
                tracing::warn!(%error, "the issuer's parts don't fit together: a new one is made");
                Ok(None)
            }
        }
    }

    /// The issuer that is there, which must be a whole one.
    pub fn present_issuer(&self) -> Result<Pair, Error> {
        let part = |part| self.0.read(part)?.ok_or_else(|| Error::Gone { path: self.path(part) });
        self.pair("issuer", &part("issuer.pem")?, &part("issuer.key")?)
    }

    /// Keeps an issuer, in place of the one before.
    pub fn put_issuer(&self, made: &Made) -> Result<(), Error> {
        self.0.write("issuer.key", made.key.as_bytes())?;
        self.0.write("issuer.pem", made.certificate.as_bytes())
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
            if self.0.read(later)?.is_some() {
                return Err(Error::Missing { missing: path, beside: self.path(later) });
            }
        }
        let pem = match key {
            Some(pem) => pem,
            None => {
                let pem = KeyPair::generate()?.serialize_pem().into_bytes();
                self.0.write("root.key", &pem)?;
                pem
            }
        };
        let key = read_key(&pem).map_err(|misfit| self.misfit("root", misfit))?;
        let certificate = new_root(&key, trust_domain, now)?;
        let pair = self.pair("root", certificate.as_bytes(), &pem)?;
        self.0.write("root.pem", certificate.as_bytes())?;
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
