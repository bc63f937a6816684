//! What the authority keeps: `root.key`, `root.pem`, `issuer.key`, `issuer.pem`, and `trust.json` once
//! anything was rotated or brought in; wherever that is.
//!
//! The four are written in this order, so that whatever a killed start leaves tells how far it came: a
//! key without its certificate was never used and is taken up again, while a later part without an
//! earlier one means that somebody lost it, and that is not for us to repair. An issuer of two
//! halves that don't fit was being renewed; a new one takes its place. Callers: `authority`, `held`
//! and `changes`.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rcgen::KeyPair;

use super::Error;
use super::certificate::{
    Made, Misfit, Pair, Root, may_stand_above, new_root, read_key, to_pem, uri_of, uris,
};
use super::held::Line;
use super::trust::{Lineage, Origin, Trust};
use crate::control::files::{
    open_folder, read_private, read_public, remove, write_private, write_public,
};
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

    /// Takes a part away; one that is not there is no error.
    ///
    /// # Errors
    /// When it is still there.
    fn remove(&self, part: &str) -> Result<(), Error>;

    /// Whether others read and write it too. Then they agree on who renews the issuer, and an
    /// authority never does so by itself.
    fn is_shared(&self) -> bool {
        false
    }
}

/// What is trusted: it holds keys while a root is replaced.
pub(super) const TRUST: &str = "trust.json";

/// A folder of files.
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
        let read = if is_private(part) { read_private } else { read_public };
        Ok(read(&self.path(part))?)
    }

    fn write(&self, part: &str, pem: &[u8]) -> Result<(), Error> {
        let write = if is_private(part) { write_private } else { write_public };
        Ok(write(&self.path(part), pem)?)
    }

    fn remove(&self, part: &str) -> Result<(), Error> {
        Ok(remove(&self.path(part))?)
    }
}

fn is_private(part: &str) -> bool {
    part.ends_with(".key") || part == TRUST
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

    /// What is trusted; `None`: nothing was ever changed.
    pub fn trust(&self) -> Result<Option<Trust>, Error> {
        let Some(bytes) = self.0.read(TRUST)? else { return Ok(None) };
        let path = self.path(TRUST);
        let read = serde_json::from_slice(&bytes);
        read.map(Some).map_err(|source| Error::Unusable { path, source: source.into() })
    }

    /// What is trusted, where there is a root.
    pub fn present_trust(
        &self,
        trust_domain: &TrustDomain,
        now: SystemTime,
    ) -> Result<Trust, Error> {
        if let Some(trust) = self.trust()? {
            return Ok(trust);
        }
        let root = self.present_root(trust_domain, Origin::Own, now)?;
        Ok(Trust::first(to_pem([&root.certificate])))
    }

    pub fn put_trust(&self, trust: &Trust) -> Result<(), Error> {
        let text = serde_json::to_vec_pretty(trust).expect("texts and numbers");
        self.0.write(TRUST, &text)
    }

    /// Makes a root of this trust domain when there is nothing yet.
    pub fn found(&self, trust_domain: &TrustDomain, now: SystemTime) -> Result<(), Error> {
        match self.kept_root(Origin::Own)? {
            Ok(root) => judge(&self.path("root.pem"), &root, trust_domain, Origin::Own, now),
            Err(key) => self.make_root(key, trust_domain, now),
        }
    }

    /// Whether there is no part at all.
    pub fn is_empty(&self) -> Result<bool, Error> {
        for part in ["root.key", "root.pem", "issuer.key", "issuer.pem", TRUST] {
            if self.0.read(part)?.is_some() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The root that is there already.
    pub fn present_root(
        &self,
        trust_domain: &TrustDomain,
        origin: Origin,
        now: SystemTime,
    ) -> Result<Root, Error> {
        let gone = Error::Gone { path: self.path("root.pem") };
        let root = self.kept_root(origin)?.map_err(|_| gone)?;
        judge(&self.path("root.pem"), &root, trust_domain, origin, now)?;
        Ok(root)
    }

    /// `Err`: without a certificate, but maybe a key.
    fn kept_root(&self, origin: Origin) -> Result<Result<Root, Option<Vec<u8>>>, Error> {
        match (self.0.read("root.key")?, self.0.read("root.pem")?) {
            (Some(key), Some(certificate)) => self.root(&certificate, Some(&key)).map(Ok),
            // Of what was brought in, the root's key is elsewhere.
            (None, Some(certificate)) if origin == Origin::Imported => {
                self.root(&certificate, None).map(Ok)
            }
            (None, Some(_)) => {
                let (missing, beside) = (self.path("root.key"), self.path("root.pem"));
                Err(Error::Missing { missing, beside })
            }
            (key, None) => Ok(Err(key)),
        }
    }

    fn root(&self, certificate: &[u8], key: Option<&[u8]>) -> Result<Root, Error> {
        Root::read(certificate, key).map_err(|misfit| self.misfit("root", misfit))
    }

    /// What is to follow, from the document.
    pub fn line(&self, next: &Lineage) -> Result<Line, Error> {
        let Lineage { root, root_key, issuer, issuer_key, origin } = next;
        let root = self.root(root.as_bytes(), root_key.as_ref().map(String::as_bytes))?;
        let issuer = self.pair("issuer", issuer.as_bytes(), issuer_key.as_bytes())?;
        Ok(Line { root, issuer, origin: *origin })
    }

    /// Puts what is new in the place of what was there; may be done again.
    pub fn put_line(&self, next: &Lineage) -> Result<(), Error> {
        let Lineage { root, root_key, issuer, issuer_key, origin: _ } = next;
        match root_key {
            Some(key) => self.0.write("root.key", key.as_bytes())?,
            None => self.0.remove("root.key")?,
        }
        self.0.write("root.pem", root.as_bytes())?;
        self.put_issuer(&Made { certificate: issuer.clone(), key: issuer_key.clone() })
    }

    /// A part as text, if it is there.
    pub fn text(&self, part: &str) -> Result<Option<String>, Error> {
        let bytes = self.0.read(part)?;
        Ok(bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
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
    ) -> Result<(), Error> {
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
        self.0.write("root.pem", certificate.as_bytes())
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

/// Whether a root may be the mesh's.
pub(super) fn judge(
    path: &Path,
    root: &Root,
    trust_domain: &TrustDomain,
    origin: Origin,
    now: SystemTime,
) -> Result<(), Error> {
    let path = path.to_owned();
    let mut uris = uris(&root.certificate);
    // Those made elsewhere need not name a trust domain, but no other one.
    if origin == Origin::Imported {
        uris.retain(|uri| uri.starts_with("spiffe://") && *uri != uri_of(trust_domain));
    }
    let is_ours = match origin {
        Origin::Own => uris == [uri_of(trust_domain)],
        Origin::Imported => uris.is_empty(),
    };
    if !is_ours {
        let found = if uris.is_empty() { "no trust domain".into() } else { uris.join(", ") };
        return Err(Error::RootOfAnother { path, found, ours: trust_domain.clone() });
    }
    if !may_stand_above(&root.certificate, 1) {
        return Err(Error::PathLength { path });
    }
    if root.not_after <= now {
        return Err(Error::RootEnded { path, not_after: root.not_after });
    }
    Ok(())
}
