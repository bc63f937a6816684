//! The authority at work: it signs, and what it signs with is replaced.
//!
//! One value for the process, shared. Signing takes no lock: everything in use is behind one atomic
//! pointer, and a change replaces it when what follows is kept on disk and was seen to work. The
//! issuer's successor comes when a third of its life, or two leaves' lives, are left: no leaf is cut
//! short, and a renewal that fails has many hours to be tried again.

use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use tokio::sync::watch;

use super::certificate::{Made, Pair, whole_seconds};
use super::changes::{self, Change};
use super::held::{Held, Line};
use super::import::Imported;
use super::keeper::{Folder, Keeper, Parts, TRUST};
use super::serial::is_enrollment;
use super::serving::{self, Serving};
use super::signing::{BACKDATED, Issued, end, issue, own, try_out};
use super::trust::Origin;
use super::view::{self, View};
use super::{Error, HOUR, Lifetimes, SigningRequest};
use crate::identity::{self, Svid, TrustBundle};
use crate::model::{SpiffeId, TrustDomain};

/// Signs the leaves of a trust domain.
pub struct Authority {
    setting: Setting,
    parts: Parts,
    held: ArcSwap<Held>,
    /// Held while something is replaced.
    renewal: Mutex<()>,
    /// Counts what was replaced in this process.
    replaced: watch::Sender<u64>,
}

/// What stays as it is for as long as the process runs.
#[derive(Clone, Debug)]
pub(super) struct Setting {
    pub trust_domain: TrustDomain,
    pub lifetimes: Lifetimes,
}

impl Authority {
    /// Opens the folder `<data>/ca`, or makes one with a new root. Blocking.
    ///
    /// # Errors
    /// Every [`Error`] that concerns files or the root.
    pub fn open(
        folder: &Path,
        trust_domain: &TrustDomain,
        lifetimes: Lifetimes,
        now: SystemTime,
    ) -> Result<Self, Error> {
        Self::founded(folder, trust_domain, lifetimes, None, now)
    }

    /// As [`Authority::open`]; a new one begins with what was made elsewhere, if that is given.
    ///
    /// # Errors
    /// As [`Authority::open`], and what is wrong with what was given.
    pub fn founded(
        folder: &Path,
        trust_domain: &TrustDomain,
        lifetimes: Lifetimes,
        with: Option<&Imported>,
        now: SystemTime,
    ) -> Result<Self, Error> {
        Self::kept_by(Box::new(Folder::open(folder)?), trust_domain, lifetimes, with, now)
    }

    /// As [`Authority::founded`], with another keeper than a folder.
    ///
    /// # Errors
    /// Every [`Error`] that concerns the keeper or the root.
    pub fn kept_by(
        keeper: Box<dyn Keeper>,
        trust_domain: &TrustDomain,
        lifetimes: Lifetimes,
        with: Option<&Imported>,
        now: SystemTime,
    ) -> Result<Self, Error> {
        let parts = Parts::of(keeper);
        let setting = Setting { trust_domain: trust_domain.clone(), lifetimes };
        match with {
            Some(imported) if parts.is_empty()? => changes::found(&parts, imported, &setting, now)?,
            _ => {}
        }
        match parts.trust()? {
            Some(trust) => drop(changes::settle(&parts, trust)?),
            None => parts.found(trust_domain, now)?,
        }
        replace_unfit(&parts, with, &setting, now)?;
        let held = Held::read(&parts, trust_domain, now)?;
        Ok(Self {
            setting,
            parts,
            held: ArcSwap::from_pointee(held),
            renewal: Mutex::new(()),
            replaced: watch::Sender::new(0),
        })
    }

    pub fn trust_domain(&self) -> &TrustDomain {
        &self.setting.trust_domain
    }

    /// What every workload has to trust, with its generation.
    pub fn roots(&self) -> Arc<TrustBundle> {
        Arc::clone(&self.held.load().bundle)
    }

    /// Changes whenever the roots do, or what signs.
    pub fn news(&self) -> watch::Receiver<u64> {
        self.replaced.subscribe()
    }

    /// Counts changes of the bundle and steps of a root's replacement.
    pub fn revision(&self) -> u64 {
        self.held.load().trust.revision
    }

    /// How it stands, for people.
    pub fn view(&self) -> View {
        view::of(&self.held.load(), self.setting.lifetimes)
    }

    /// Signs a leaf for the request's id and key; its serial number carries the enrolment.
    ///
    /// # Errors
    /// [`Error::Foreign`], [`Error::Reserved`], [`Error::Enrollment`], [`Error::IssuerEnded`]; else
    /// only when the machine can't sign.
    pub fn sign(
        &self,
        request: &SigningRequest,
        enrollment: u64,
        now: SystemTime,
    ) -> Result<Issued, Error> {
        let id = request.identity();
        let ours = &self.setting.trust_domain;
        if id.trust_domain() != ours.as_str() {
            return Err(Error::Foreign { id: id.clone(), ours: ours.clone() });
        }
        if *id == SpiffeId::control_plane(ours) {
            return Err(Error::Reserved(id.clone()));
        }
        if !is_enrollment(enrollment) {
            return Err(Error::Enrollment(enrollment));
        }
        let held = self.held.load();
        let leaf = self.setting.lifetimes.leaf;
        issue(&held.line.issuer, id, request.key(), enrollment, leaf, now)
    }

    /// How long a workload's certificate lasts.
    pub fn leaf_lifetime(&self) -> Duration {
        self.setting.lifetimes.leaf
    }

    /// When the last certificate ends that was issued until now, at whatever lifetime that was.
    pub fn all_end(&self) -> SystemTime {
        let held = self.held.load();
        held.line.issuer.not_after.max(held.front().issuer.not_after)
    }

    /// The control plane's own certificate, with a new key; of an hour at least.
    ///
    /// # Errors
    /// [`Error::IssuerEnded`]; else only when the machine can't make a key or sign.
    pub fn own(&self, now: SystemTime) -> Result<Svid, Error> {
        let lifetime = self.setting.lifetimes.leaf.max(HOUR);
        own(&self.held.load().front().issuer, &self.setting.trust_domain, lifetime, now)
    }

    /// Replaces the issuer when it is time to; call it hourly. Leaves of before stay valid: their
    /// issuer's certificate was sent along. Blocking. Says whether it did; with a shared keeper it
    /// never does.
    ///
    /// # Errors
    /// When the new one can't be made or kept: the old one stays in use.
    pub fn renew_issuer_if_due(&self, now: SystemTime) -> Result<bool, Error> {
        if self.parts.is_shared() || !self.is_renewal_due(now) {
            return Ok(false);
        }
        self.change(Change::RotateIssuer, now)?;
        Ok(true)
    }

    /// Whether it is time for another issuer, and ours to make it.
    pub fn is_renewal_due(&self, now: SystemTime) -> bool {
        let held = self.held.load();
        let Line { root, issuer, origin } = &held.line;
        *origin == Origin::Own
            && root.key.is_some()
            && due(issuer, root.not_after, self.setting.lifetimes, now)
    }

    /// Makes a change where it is kept, and takes it into use. Blocking. Not for a shared keeper.
    ///
    /// # Errors
    /// When it can't be made or kept: what was there stays in use.
    pub fn change(&self, change: Change, now: SystemTime) -> Result<(), Error> {
        // Nothing is half done behind this lock: what it guards is files.
        let _alone = self.renewal.lock().unwrap_or_else(PoisonError::into_inner);
        changes::apply(&self.parts, change, &self.setting, now)?;
        self.take(Held::read(&self.parts, &self.setting.trust_domain, now)?);
        Ok(())
    }

    /// Makes a change in what somebody else keeps, to be kept by the caller and then
    /// [followed](Self::follow).
    ///
    /// # Errors
    /// When it can't be made, or nobody could use what comes of it.
    pub fn change_in(
        &self,
        keeper: Box<dyn Keeper>,
        change: Change,
        now: SystemTime,
    ) -> Result<(), Error> {
        let parts = Parts::of(keeper);
        changes::apply(&parts, change, &self.setting, now)?;
        Held::read(&parts, &self.setting.trust_domain, now).map(drop)
    }

    /// Takes into use what a keeper has, if it is something else, and says whether it was. Blocking.
    ///
    /// # Errors
    /// What is wrong with what is kept: then nothing changes.
    pub fn follow(&self, keeper: Box<dyn Keeper>, now: SystemTime) -> Result<bool, Error> {
        let parts = Parts::of(keeper);
        let next = Held::read(&parts, &self.setting.trust_domain, now)?;
        let held = self.held.load_full();
        let knows = |root: &identity::Root| {
            held.bundle.roots().iter().any(|known| known.certificate == root.certificate)
        };
        if !next.bundle.roots().iter().any(knows) {
            return Err(Error::RootChanged { path: parts.path("root.pem") });
        }
        if next.trust.revision < held.trust.revision {
            return Err(Error::Older);
        }
        let signs = |held: &Held| held.line.issuer.certificate().clone();
        if next.trust == held.trust && signs(&next) == signs(&held) {
            return Ok(false);
        }
        self.take(next);
        Ok(true)
    }

    fn take(&self, held: Held) {
        self.held.store(Arc::new(held));
        self.replaced.send_modify(|count| *count += 1);
    }

    /// A certificate for a server outside the mesh's own protocol, which others reach by DNS name,
    /// with a new key; as long as the control plane's own.
    ///
    /// # Errors
    /// [`Error::ServerName`], [`Error::IssuerEnded`]; else only when the machine can't make a key or
    /// sign.
    pub fn serving(&self, names: &[String], now: SystemTime) -> Result<Serving, Error> {
        let lifetime = self.setting.lifetimes.leaf.max(HOUR);
        serving::issue(&self.held.load().front().issuer, names, lifetime, now)
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority")
            .field("setting", &self.setting)
            .field("root", &self.parts.path("root.pem"))
            .finish_non_exhaustive()
    }
}

/// An issuer that is not there, does not fit or is not good any more is replaced by a new one, where
/// it can be.
fn replace_unfit(
    parts: &Parts,
    with: Option<&Imported>,
    setting: &Setting,
    now: SystemTime,
) -> Result<(), Error> {
    let domain = &setting.trust_domain;
    let trust = parts.present_trust(domain, now)?;
    let bundle = trust
        .bundle()
        .map_err(|source| Error::Unusable { path: parts.path(TRUST), source: source.into() })?;
    let root = parts.present_root(domain, trust.origin, now)?;
    if !bundle.roots().iter().any(|known| known.certificate == root.certificate) {
        return Err(Error::Untrusted { path: parts.path("root.pem") });
    }
    let kept = parts.issuer()?;
    let is_fit = match &kept {
        Some(issuer) => {
            let is_due = trust.origin == Origin::Own
                && root.key.is_some()
                && due(issuer, root.not_after, setting.lifetimes, now);
            !is_due && issuer.not_after > now && try_out(issuer, domain, &bundle, now)?.is_ok()
        }
        None => false,
    };
    match (is_fit, &root.key, with) {
        (true, ..) => Ok(()),
        (false, Some(key), _) if trust.origin == Origin::Own => {
            parts.put_issuer(&next_issuer(parts, key, setting, &bundle, now)?.0)
        }
        (false, _, Some(imported)) if trust.rotation.is_none() => {
            let change = Change::Import(Box::new(imported.clone()));
            changes::apply(parts, change, setting, now)
        }
        // Reading it says what is wrong.
        _ => Ok(()),
    }
}

/// Whether an issuer has to be replaced. Near the root's end no successor would last longer.
fn due(issuer: &Pair, root_ends: SystemTime, lifetimes: Lifetimes, now: SystemTime) -> bool {
    let left = issuer.not_after.duration_since(now).unwrap_or(Duration::ZERO);
    let soon = left <= renewed_before(lifetimes);
    let early = issuer.not_before > now - BACKDATED;
    early || (soon && issuer_end(root_ends, lifetimes, now) > issuer.not_after)
}

/// How long before its end an issuer is replaced.
pub(super) fn renewed_before(lifetimes: Lifetimes) -> Duration {
    (issuer_lifetime(lifetimes) / 3).max(2 * lifetimes.leaf)
}

fn issuer_lifetime(lifetimes: Lifetimes) -> Duration {
    lifetimes.issuer.max(4 * lifetimes.leaf)
}

pub(super) fn issuer_end(
    root_ends: SystemTime,
    lifetimes: Lifetimes,
    now: SystemTime,
) -> SystemTime {
    whole_seconds(end(now, issuer_lifetime(lifetimes), root_ends))
}

/// Makes and tries the next issuer.
pub(super) fn next_issuer(
    parts: &Parts,
    root: &Pair,
    setting: &Setting,
    bundle: &TrustBundle,
    now: SystemTime,
) -> Result<(Made, Pair), Error> {
    let Setting { trust_domain, lifetimes } = setting;
    let ends = issuer_end(root.not_after, *lifetimes, now);
    let made = root.new_issuer(trust_domain, ends, now)?;
    let next = parts.pair("issuer", made.certificate.as_bytes(), made.key.as_bytes())?;
    let path = parts.path("root.pem");
    try_out(&next, trust_domain, bundle, now)?.map_err(|source| Error::Refused { path, source })?;
    Ok((made, next))
}
