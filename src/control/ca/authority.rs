//! The authority at work: it signs, and renews its issuer.
//!
//! One value for the process, shared. Signing takes no lock: the issuer in use is behind an atomic
//! pointer, and a renewal replaces it when its successor is kept on disk and was seen to work. The
//! successor comes when a third of the issuer's life, or two leaves' lives, are left: no leaf is
//! cut short, and a renewal that fails has many hours to be tried again.

use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use rcgen::{KeyPair, PublicKeyData, SerialNumber};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};

use super::certificate::{Made, Pair, whole_seconds};
use super::keeper::{Folder, Keeper, Parts};
use super::serial::{is_enrollment, serial};
use super::serving::{self, Serving};
use super::{Error, HOUR, Lifetimes, SigningRequest};
use crate::http::answers::timestamp;
use crate::identity::issue::leaf_params;
use crate::identity::{Svid, TrustBundle, serial_text};
use crate::model::{SpiffeId, TrustDomain};
use crate::tls::{Credentials, PeerError};

/// How far a holder's clock may be behind ours.
pub(super) const BACKDATED: Duration = Duration::from_secs(5 * 60);

/// Of the first root; whoever adds roots counts on from the bundle's.
const FIRST_GENERATION: u64 = 1;

/// Signs the leaves of a trust domain.
pub struct Authority {
    trust_domain: TrustDomain,
    lifetimes: Lifetimes,
    parts: Parts,
    root: Pair,
    bundle: Arc<TrustBundle>,
    issuer: ArcSwap<Pair>,
    /// Held while the issuer is replaced.
    renewal: Mutex<()>,
}

/// A signed leaf.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issued {
    /// The leaf, then its issuer.
    pub chain: Vec<CertificateDer<'static>>,
    /// As `identity::serial_text` writes it.
    pub serial: String,
    pub not_before: SystemTime,
    pub not_after: SystemTime,
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
        Self::kept_by(Box::new(Folder::open(folder)?), trust_domain, lifetimes, now)
    }

    /// As [`Authority::open`], with another keeper than a folder.
    ///
    /// # Errors
    /// Every [`Error`] that concerns the keeper or the root.
    pub fn kept_by(
        keeper: Box<dyn Keeper>,
        trust_domain: &TrustDomain,
        lifetimes: Lifetimes,
        now: SystemTime,
    ) -> Result<Self, Error> {
        let parts = Parts::of(keeper);
        let root = parts.root(trust_domain, now)?;
        let bundle = TrustBundle::new(vec![root.certificate.clone()], FIRST_GENERATION);
        let bundle = bundle.map_err(|source| Error::Unusable {
            path: parts.path("root.pem"),
            source: source.into(),
        })?;
        let issuer = match parts.issuer()? {
            Some(kept) if !due(&kept, &root, lifetimes, now) => {
                try_out(&kept, trust_domain, &bundle, now)?.is_ok().then_some(kept)
            }
            _ => None,
        };
        let issuer = match issuer {
            Some(kept) => kept,
            None => {
                let (made, next) =
                    next_issuer(&parts, &root, trust_domain, &bundle, lifetimes, now)?;
                parts.put_issuer(&made)?;
                next
            }
        };
        Ok(Self {
            trust_domain: trust_domain.clone(),
            lifetimes,
            parts,
            root,
            bundle: Arc::new(bundle),
            issuer: ArcSwap::from_pointee(issuer),
            renewal: Mutex::new(()),
        })
    }

    pub fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }

    /// What every workload has to trust, with its generation.
    pub fn roots(&self) -> Arc<TrustBundle> {
        self.bundle.clone()
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
        if id.trust_domain() != self.trust_domain.as_str() {
            return Err(Error::Foreign { id: id.clone(), ours: self.trust_domain.clone() });
        }
        if *id == SpiffeId::control_plane(&self.trust_domain) {
            return Err(Error::Reserved(id.clone()));
        }
        if !is_enrollment(enrollment) {
            return Err(Error::Enrollment(enrollment));
        }
        let issuer = self.issuer.load();
        issue(&issuer, id, request.key(), enrollment, self.lifetimes.leaf, now)
    }

    /// How long a workload's certificate lasts.
    pub fn leaf_lifetime(&self) -> Duration {
        self.lifetimes.leaf
    }

    /// When the last certificate ends that was issued until now, at whatever lifetime that was.
    pub fn all_end(&self) -> SystemTime {
        self.issuer.load().not_after
    }

    /// The roots and the issuer, for the pages.
    pub fn shown(&self) -> Value {
        let certificate = |of: &CertificateDer<'static>| {
            TrustBundle::new(vec![of.clone()], 0).ok().and_then(|bundle| {
                let root = bundle.roots().first()?;
                Some(json!({
                    "subject": root.subject,
                    "serial": root.serial,
                    "notBefore": timestamp(root.not_before),
                    "notAfter": timestamp(root.not_after),
                }))
            })
        };
        let roots = self.bundle.roots().iter().map(|root| certificate(&root.certificate));
        json!({
            "trustDomain": self.trust_domain.as_str(),
            "generation": self.bundle.generation(),
            "roots": roots.collect::<Vec<_>>(),
            "issuer": certificate(&self.issuer.load().certificate),
        })
    }

    /// The control plane's own certificate, with a new key; of an hour at least.
    ///
    /// # Errors
    /// [`Error::IssuerEnded`]; else only when the machine can't make a key or sign.
    pub fn own(&self, now: SystemTime) -> Result<Svid, Error> {
        own(&self.issuer.load(), &self.trust_domain, self.lifetimes.leaf.max(HOUR), now)
    }

    /// Replaces the issuer when it is time to; call it hourly. Leaves of before stay valid: their
    /// issuer's certificate was sent along. Blocking. Says whether it did; with a shared keeper it
    /// never does.
    ///
    /// # Errors
    /// When the new one can't be made or kept: the old one stays in use.
    pub fn renew_issuer_if_due(&self, now: SystemTime) -> Result<bool, Error> {
        // Nothing is half done behind this lock: what it guards is files.
        let _alone = self.renewal.lock().unwrap_or_else(PoisonError::into_inner);
        if self.parts.is_shared() || !self.is_renewal_due(now) {
            return Ok(false);
        }
        let (made, next) = self.next(now)?;
        self.parts.put_issuer(&made)?;
        self.issuer.store(Arc::new(next));
        Ok(true)
    }

    /// Whether it is time for another issuer.
    pub fn is_renewal_due(&self, now: SystemTime) -> bool {
        due(&self.issuer.load(), &self.root, self.lifetimes, now)
    }

    /// The next issuer, tried out, to be kept by the caller and then [followed](Self::follow).
    ///
    /// # Errors
    /// When it can't be made.
    pub fn successor(&self, now: SystemTime) -> Result<Made, Error> {
        Ok(self.next(now)?.0)
    }

    /// Takes the issuer into use that a keeper has, if it is another one, and says whether it was.
    /// Blocking.
    ///
    /// # Errors
    /// What is wrong with what is kept, its root included: then nothing changes.
    pub fn follow(&self, keeper: Box<dyn Keeper>, now: SystemTime) -> Result<bool, Error> {
        let parts = Parts::of(keeper);
        let root = parts.present_root(&self.trust_domain, now)?;
        if root.certificate != self.root.certificate {
            return Err(Error::RootChanged { path: parts.path("root.pem") });
        }
        let issuer = parts.present_issuer()?;
        if issuer.certificate == self.issuer.load().certificate {
            return Ok(false);
        }
        let path = parts.path("issuer.pem");
        let tried = try_out(&issuer, &self.trust_domain, &self.bundle, now)?;
        tried.map_err(|source| Error::Unusable { path, source: source.into() })?;
        self.issuer.store(Arc::new(issuer));
        Ok(true)
    }

    /// A certificate for a server outside the mesh's own protocol, which others reach by DNS name,
    /// with a new key; as long as the control plane's own.
    ///
    /// # Errors
    /// [`Error::ServerName`], [`Error::IssuerEnded`]; else only when the machine can't make a key or
    /// sign.
    pub fn serving(&self, names: &[String], now: SystemTime) -> Result<Serving, Error> {
        serving::issue(&self.issuer.load(), names, self.lifetimes.leaf.max(HOUR), now)
    }

    fn next(&self, now: SystemTime) -> Result<(Made, Pair), Error> {
        let Self { trust_domain, lifetimes, parts, root, bundle, .. } = self;
        next_issuer(parts, root, trust_domain, bundle, *lifetimes, now)
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority")
            .field("trust_domain", &self.trust_domain)
            .field("lifetimes", &self.lifetimes)
            .field("root", &self.parts.path("root.pem"))
            .finish_non_exhaustive()
    }
}

/// Whether an issuer has to be replaced. Near the root's end no successor would last longer.
fn due(issuer: &Pair, root: &Pair, lifetimes: Lifetimes, now: SystemTime) -> bool {
    let left = issuer.not_after.duration_since(now).unwrap_or(Duration::ZERO);
    let lifetime = issuer_lifetime(lifetimes);
    let soon = left <= (lifetime / 3).max(2 * lifetimes.leaf);
    let early = issuer.not_before > now - BACKDATED;
    early || (soon && issuer_end(root, lifetimes, now) > issuer.not_after)
}

fn issuer_lifetime(lifetimes: Lifetimes) -> Duration {
    lifetimes.issuer.max(4 * lifetimes.leaf)
}

fn issuer_end(root: &Pair, lifetimes: Lifetimes, now: SystemTime) -> SystemTime {
    whole_seconds(end(now, issuer_lifetime(lifetimes), root.not_after))
}

pub(super) fn end(now: SystemTime, lifetime: Duration, latest: SystemTime) -> SystemTime {
    now.checked_add(lifetime).map_or(latest, |end| end.min(latest))
}

/// Makes and tries the next issuer.
fn next_issuer(
    parts: &Parts,
    root: &Pair,
    trust_domain: &TrustDomain,
    bundle: &TrustBundle,
    lifetimes: Lifetimes,
    now: SystemTime,
) -> Result<(Made, Pair), Error> {
    let made = root.new_issuer(trust_domain, issuer_end(root, lifetimes, now), now)?;
    let next = parts.pair("issuer", made.certificate.as_bytes(), made.key.as_bytes())?;
    let path = parts.path("root.pem");
    try_out(&next, trust_domain, bundle, now)?.map_err(|source| Error::Refused { path, source })?;
    Ok((made, next))
}

/// Whether peers would take a leaf of this issuer. A minute is enough to ask.
fn try_out(
    issuer: &Pair,
    trust_domain: &TrustDomain,
    bundle: &TrustBundle,
    now: SystemTime,
) -> Result<Result<(), PeerError>, Error> {
    let svid = own(issuer, trust_domain, Duration::from_secs(60), now)?;
    Ok(Credentials::new(svid, bundle.clone()).check(now))
}

fn own(
    issuer: &Pair,
    trust_domain: &TrustDomain,
    lifetime: Duration,
    now: SystemTime,
) -> Result<Svid, Error> {
    let key = KeyPair::generate()?;
    let id = SpiffeId::control_plane(trust_domain);
    let issued = issue(issuer, &id, &key, 0, lifetime, now)?;
    let svid = Svid::new(issued.chain, PrivateKeyDer::from(key));
    Ok(svid.expect("a leaf of the right shape, with the key that it was made for"))
}

fn issue(
    issuer: &Pair,
    id: &SpiffeId,
    key: &impl PublicKeyData,
    enrollment: u64,
    lifetime: Duration,
    now: SystemTime,
) -> Result<Issued, Error> {
    if issuer.not_after <= now {
        return Err(Error::IssuerEnded { not_after: issuer.not_after });
    }
    let not_before = whole_seconds(now - BACKDATED);
    let not_after = whole_seconds(end(now, lifetime, issuer.not_after));
    let number = serial(enrollment)?;
    let mut params = leaf_params(id, not_before, not_after)?;
    params.serial_number = Some(SerialNumber::from_slice(&number));
    let leaf = params.signed_by(key, &issuer.issuer)?;
    Ok(Issued {
        chain: vec![leaf.into(), issuer.certificate.clone()],
        serial: serial_text(&number),
        not_before,
        not_after,
    })
}
