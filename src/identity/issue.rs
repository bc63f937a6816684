//! A small issuing authority: one root that signs leaves directly.
//!
//! For tests, demonstrations and meshes without a control plane; the control plane's own CA, with
//! issuers below the root, rotation and files, is in `control`. What it issues has the shape that
//! [`super::Svid`] demands: P-256, one URI, no CA, for both ends of a TLS connection.

use std::time::SystemTime;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, Error, ExtendedKeyUsagePurpose,
    IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType, date_time_ymd,
};

use super::serial_text;
use crate::model::{SpiffeId, TrustDomain};

/// A self-signed root with its key.
#[derive(Debug)]
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    root_pem: String,
}

/// A leaf certificate and its key, both in PEM.
#[derive(Clone)]
pub struct Issued {
    pub cert_pem: String,
    pub key_pem: String,
}

impl Authority {
    /// A new root with a new key.
    ///
    /// # Errors
    /// Only when the machine can't make a key.
    pub fn new(trust_domain: &TrustDomain) -> Result<Self, Error> {
        let key = KeyPair::generate()?;
        let params = root_params(trust_domain, &key);
        let root_pem = params.self_signed(&key)?.pem();
        Ok(Self { issuer: Issuer::new(params, key), root_pem })
    }

    /// The root certificate: what belongs in a trust bundle.
    pub fn root_pem(&self) -> &str {
        &self.root_pem
    }

    /// A certificate for `id`, with a new key.
    ///
    /// # Errors
    /// Only when the machine can't make a key.
    pub fn issue(
        &self,
        id: &SpiffeId,
        not_before: SystemTime,
        not_after: SystemTime,
    ) -> Result<Issued, Error> {
        self.sign(&leaf_params(id, not_before, not_after)?)
    }

    /// Signs whatever it is told to: tests bend [`leaf_params`] out of shape with it.
    pub(crate) fn sign(&self, params: &CertificateParams) -> Result<Issued, Error> {
        let key = KeyPair::generate()?;
        Ok(Issued {
            cert_pem: params.signed_by(&key, &self.issuer)?.pem(),
            key_pem: key.serialize_pem(),
        })
    }
}

/// The shape of a workload's certificate. rcgen makes the serial number from a hash of the public
/// key, and every certificate gets a new key, so that it is as good as random.
pub(crate) fn leaf_params(
    id: &SpiffeId,
    not_before: SystemTime,
    not_after: SystemTime,
) -> Result<CertificateParams, Error> {
    let mut params = CertificateParams::default();
    params.not_before = not_before.into();
    params.not_after = not_after.into();
    params.subject_alt_names = vec![SanType::URI(id.as_str().try_into()?)];
    // Nobody reads it; the account's name could be longer than the 64 characters of X.520.
    params.distinguished_name = common_name("workload".to_owned());
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

/// Roots are found by name: with one name for all, two of them in a bundle would cost a wrong
/// signature check per handshake, and a stranger's leaf would look forged rather than unknown.
fn root_params(trust_domain: &TrustDomain, key: &KeyPair) -> CertificateParams {
    let mut params = CertificateParams::default();
    let fingerprint = serial_text(&params.key_identifier(key)[..4]);
    params.distinguished_name = common_name(format!("{trust_domain} root {fingerprint}"));
    params.not_before = date_time_ymd(2020, 1, 1);
    // "No well-defined expiration date" (RFC 5280, 4.1.2.5).
    params.not_after = date_time_ymd(9999, 12, 31);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn common_name(name: String) -> DistinguishedName {
    let mut names = DistinguishedName::new();
    names.push(DnType::CommonName, name);
    names
}
