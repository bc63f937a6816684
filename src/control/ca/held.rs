//! What an authority works with at one moment: read whole from what is kept, tried out, and then
//! never changed. Another one takes its place.

use std::sync::Arc;
use std::time::SystemTime;

use super::Error;
use super::certificate::{Pair, Root};
use super::keeper::{Parts, TRUST};
use super::signing::try_out;
use super::trust::{Origin, Phase, Trust};
use crate::identity::{self, TrustBundle};
use crate::model::TrustDomain;

/// One moment's state.
pub(super) struct Held {
    pub trust: Trust,
    pub bundle: Arc<TrustBundle>,
    /// What signs workloads' certificates.
    pub line: Line,
    /// What signs the control plane's own while the root of `line` is not known to everybody who may
    /// come; absent: `line` does.
    pub front: Option<Line>,
}

/// A root and the issuer below it.
#[derive(Debug)]
pub(super) struct Line {
    pub root: Root,
    pub issuer: Pair,
    pub origin: Origin,
}

impl Held {
    /// Reads what is kept, all of which has to be there.
    pub fn read(parts: &Parts, trust_domain: &TrustDomain, now: SystemTime) -> Result<Self, Error> {
        let trust = parts.present_trust(trust_domain, now)?;
        let path = || parts.path(TRUST);
        let bundle = trust.bundle();
        let bundle =
            bundle.map_err(|source| Error::Unusable { path: path(), source: source.into() })?;
        let kept = || -> Result<Line, Error> {
            let root = parts.present_root(trust_domain, trust.origin, now)?;
            Ok(Line { root, issuer: parts.present_issuer()?, origin: trust.origin })
        };
        let next = || trust.rotation.as_ref().map(|rotation| parts.line(&rotation.next));
        let (line, front) = match trust.phase() {
            None | Some(Phase::Distribute) => (kept()?, None),
            Some(Phase::Use) => (next().unwrap_or_else(kept)?, Some(kept()?)),
            Some(Phase::Retire | Phase::Settle) => (next().unwrap_or_else(kept)?, None),
        };
        let held = Self { trust, bundle: Arc::new(bundle), line, front };
        for line in held.lines() {
            held.judge(line, parts, trust_domain, now)?;
        }
        Ok(held)
    }

    /// What signs the control plane's own certificates.
    pub fn front(&self) -> &Line {
        self.front.as_ref().unwrap_or(&self.line)
    }

    fn lines(&self) -> impl Iterator<Item = &Line> {
        std::iter::once(&self.line).chain(&self.front)
    }

    /// Nothing is signed below what is not trusted.
    fn judge(
        &self,
        line: &Line,
        parts: &Parts,
        trust_domain: &TrustDomain,
        now: SystemTime,
    ) -> Result<(), Error> {
        let is_it = |root: &identity::Root| root.certificate == line.root.certificate;
        if !self.bundle.roots().iter().any(is_it) {
            return Err(Error::Untrusted { path: parts.path("root.pem") });
        }
        if line.issuer.not_after <= now {
            return Err(Error::IssuerEnded { not_after: line.issuer.not_after });
        }
        let tried = try_out(&line.issuer, trust_domain, &self.bundle, now)?;
        let path = parts.path("issuer.pem");
        tried.map_err(|source| Error::Unusable { path, source: source.into() })
    }
}
