//! When the next certificate is due, and the key and request for it.
//!
//! A new key for every certificate, in memory only. Due at two thirds of what was left when the
//! certificate came, spread by a tenth, so that sidecars that started together don't renew together.

use std::time::{Duration, SystemTime};

use rcgen::{CertificateParams, DistinguishedName, KeyPair, SanType};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};

use crate::identity::{Error, Svid};
use crate::model::SpiffeId;
use crate::runtime::clock::Rng;

/// A key that waits for its certificate.
pub struct Pending {
    key: KeyPair,
    /// PKCS#10, in DER.
    pub signing_request: Vec<u8>,
}

impl Pending {
    /// # Errors
    /// Only when the machine can't make a key.
    pub fn new(identity: &SpiffeId) -> Result<Self, rcgen::Error> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.subject_alt_names = vec![SanType::URI(identity.as_str().try_into()?)];
        let signing_request = params.serialize_request(&key)?.der().to_vec();
        Ok(Self { key, signing_request })
    }

    /// # Errors
    /// When the chain is no certificate for this key.
    pub fn certified(&self, chain: Vec<Vec<u8>>) -> Result<Svid, Error> {
        let chain = chain.into_iter().map(CertificateDer::from).collect();
        let key = PrivatePkcs8KeyDer::from(self.key.serialize_der());
        Svid::new(chain, key.into())
    }
}

/// How long after `now`, when the certificate came, the next one is due.
pub fn due(not_after: SystemTime, now: SystemTime, rng: &mut Rng) -> Duration {
    let left = not_after.duration_since(now).unwrap_or_default();
    left.mul_f64(2.0 / 3.0 * (0.9 + 0.1 * rng.unit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_is_due_a_little_before_two_thirds() {
        let now = SystemTime::UNIX_EPOCH;
        let mut rng = Rng::seeded(3);
        let dues: Vec<Duration> =
            (0..100).map(|_| due(now + Duration::from_secs(900), now, &mut rng)).collect();
        assert!(dues.iter().all(|due| (540..=600).contains(&due.as_secs())), "{dues:?}");
        assert!(dues.iter().max() > dues.iter().min());
        assert_eq!(due(now, now + Duration::from_secs(1), &mut rng), Duration::ZERO);
    }
}
