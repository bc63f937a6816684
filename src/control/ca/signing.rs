//! A leaf below an issuer: what it says, and whether anybody would take it.

use std::time::{Duration, SystemTime};

use rcgen::{KeyPair, PublicKeyData, SerialNumber};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::Error;
use super::certificate::{Pair, whole_seconds};
use super::serial::serial;
use crate::identity::issue::leaf_params;
use crate::identity::{Svid, TrustBundle, serial_text};
use crate::model::{SpiffeId, TrustDomain};
use crate::tls::{Credentials, PeerError};

/// How far a holder's clock may be behind ours.
pub const BACKDATED: Duration = Duration::from_secs(5 * 60);

/// A signed leaf.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issued {
    /// The leaf, then its issuers without the root.
    pub chain: Vec<CertificateDer<'static>>,
    /// As `identity::serial_text` writes it.
    pub serial: String,
    pub not_before: SystemTime,
    pub not_after: SystemTime,
}

pub(super) fn end(now: SystemTime, lifetime: Duration, latest: SystemTime) -> SystemTime {
    now.checked_add(lifetime).map_or(latest, |end| end.min(latest))
}

/// Whether peers would take a leaf of this issuer. A minute is enough to ask.
pub(super) fn try_out(
    issuer: &Pair,
    trust_domain: &TrustDomain,
    bundle: &TrustBundle,
    now: SystemTime,
) -> Result<Result<(), PeerError>, Error> {
    let svid = own(issuer, trust_domain, Duration::from_secs(60), now)?;
    Ok(Credentials::new(svid, bundle.clone()).check(now))
}

pub(super) fn own(
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

pub(super) fn issue(
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
    let mut chain = vec![params.signed_by(key, &issuer.issuer)?.into()];
    chain.extend_from_slice(&issuer.chain);
    Ok(Issued { chain, serial: serial_text(&number), not_before, not_after })
}
