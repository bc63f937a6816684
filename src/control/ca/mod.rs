//! The mesh's certificate authority: a root that signs issuers, and an issuer that signs leaves.
//!
//! Invariant: what is signed has the id that the caller decided on, a key whose holder proved to
//! have it, ends no later than its issuer, and hangs below a root that the bundle holds. A root that
//! may be in use is only ever replaced step by step (`trust`, `changes`): where its files don't fit
//! together, the start fails and says what to do. An issuer is replaceable, and is replaced long
//! before it ends; its certificate travels with every leaf. Who may have which id is decided by the
//! caller: `api`, by token or by certificate. When a step may be taken is `control::rotating`'s.

mod authority;
mod certificate;
mod changes;
mod held;
mod import;
mod keeper;
mod serial;
mod serving;
mod signing;
mod signing_request;
#[cfg(test)]
mod tests;
mod trust;
mod view;

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

pub use authority::Authority;
pub use changes::Change;
pub use import::{Fault, Imported};
pub use keeper::Keeper;
pub use serial::{enrollment_for, enrollment_of, new_enrollment};
pub use serving::Serving;
pub use signing::{BACKDATED, Issued};
pub use signing_request::{RequestError, SigningRequest};
pub use trust::{Origin, Phase};
pub use view::{IssuerView, RootView, RotationView, View};

use super::FileError;
use crate::model::{SpiffeId, TrustDomain};
use crate::tls::PeerError;

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// How long certificates last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetimes {
    /// A workload's.
    pub leaf: Duration,
    /// The issuer's; at least four times a leaf's is taken.
    pub issuer: Duration,
}

impl Default for Lifetimes {
    fn default() -> Self {
        Self { leaf: DAY, issuer: 90 * DAY }
    }
}

/// Why the authority can't open or sign.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    File(#[from] FileError),
    #[error(
        "{} is missing, although {} is there: put it back from a backup; to begin a new mesh \
         instead, in which everybody has to join again, remove the whole of {}",
        .missing.display(),
        .beside.display(),
        whole(.missing)
    )]
    Missing { missing: PathBuf, beside: PathBuf },
    #[error(
        "{} can't be used: put it back from a backup; to begin a new mesh instead, in which \
         everybody has to join again, remove the whole of {}",
        .path.display(),
        whole(.path)
    )]
    Unusable {
        path: PathBuf,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    #[error(
        "{} is not the key of {}: put both back from the same backup",
        .key.display(),
        .certificate.display()
    )]
    KeyMismatch { key: PathBuf, certificate: PathBuf },
    #[error(
        "{} is the root of {found}, but the trust domain is {ours}: set the trust domain to that \
         of the root, or use another data folder",
        .path.display()
    )]
    RootOfAnother { path: PathBuf, found: String, ours: TrustDomain },
    #[error(
        "the root {} ended{}: set the clock right, or begin a new mesh by removing its folder",
        .path.display(),
        at(.not_after)
    )]
    RootEnded { path: PathBuf, not_after: SystemTime },
    #[error(
        "the root {} may not sign issuers (its path length is 0): issue it again with a path \
         length of at least 1, or none",
        .path.display()
    )]
    PathLength { path: PathBuf },
    #[error(
        "nobody would take a certificate below the root {}: put a root there that may sign for \
         every workload of the mesh",
        .path.display()
    )]
    Refused {
        path: PathBuf,
        #[source]
        source: PeerError,
    },
    #[error(
        "{} is missing, and the one that was read before stays in use: put it back from a backup",
        .path.display()
    )]
    Gone { path: PathBuf },
    #[error(
        "{} is another root than the one in use, which nobody but us would trust: put the old one \
         and its key back; to begin a new mesh, stop every control plane first",
        .path.display()
    )]
    RootChanged { path: PathBuf },
    #[error(
        "{} is not below any root of trust.json beside it: put both back from the same backup",
        .path.display()
    )]
    Untrusted { path: PathBuf },
    #[error("what is trusted is from before what is in use: put the newer one back")]
    Older,
    #[error(
        "a root is being replaced already ({}): `outrigger ca status` says what it waits for",
        .0.as_str()
    )]
    UnderWay(Phase),
    #[error(
        "the root's key is not here, so no issuer can be made below it: make one where the root is, \
         and bring it in with `outrigger ca import`, or replace the root with `outrigger ca rotate \
         root`"
    )]
    Keyless,
    #[error("what was brought in can't be used: {}", shown(.0))]
    Import(Vec<Fault>),
    #[error("{name:?} is no DNS name")]
    ServerName { name: String },
    #[error("the issuer ended{}: its renewal failed, or the clock is wrong", at(.not_after))]
    IssuerEnded { not_after: SystemTime },
    #[error("{id} is not of our trust domain {ours}")]
    Foreign { id: SpiffeId, ours: TrustDomain },
    #[error("{0} is the control plane's own id, which nobody else gets")]
    Reserved(SpiffeId),
    #[error("{0} is no enrolment: they are numbered from 1, below 2^63")]
    Enrollment(u64),
    #[error("the machine can't make a key or a signature")]
    Crypto(#[source] rcgen::Error),
    #[error("the machine gives no random numbers")]
    Random,
}

impl From<rcgen::Error> for Error {
    fn from(source: rcgen::Error) -> Self {
        Error::Crypto(source)
    }
}

fn shown(faults: &[Fault]) -> String {
    faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// What a part stands in, as people find it.
fn whole(part: &Path) -> std::path::Display<'_> {
    part.parent().unwrap_or(part).display()
}

/// ` at 2025-01-31T12:00:00Z`, or nothing.
fn at(time: &SystemTime) -> String {
    jiff::Timestamp::try_from(*time).map(|time| format!(" at {time:.0}")).unwrap_or_default()
}
