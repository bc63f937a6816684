//! A CA's certificate together with its key, and what the two of this mesh look like.
//!
//! Root and issuer name the trust domain as a URI, as SPIFFE wants it of authorities. Their
//! subjects end with a piece of the key's fingerprint: verifiers look issuers up by subject, so two
//! keys must never share one, and one key made into a root twice is the same root. Callers: `keeper`
//! and `authority`.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PublicKeyData, SanType,
};
use rustls::crypto::aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256;
use rustls::pki_types::CertificateDer;
use x509_parser::extensions::GeneralName;
use x509_parser::parse_x509_certificate;

use super::{DAY, Error, HOUR};
use crate::identity::{self, TrustBundle, certificates, private_key, serial_text};
use crate::model::TrustDomain;

/// About ten years.
const ROOT_LIFETIME: Duration = Duration::from_secs(3652 * DAY.as_secs());

/// A CA that can sign.
#[derive(Debug)]
pub(super) struct Pair {
    pub issuer: Issuer<'static, KeyPair>,
    /// Its certificate, then those between it and the root, without that.
    pub chain: Vec<CertificateDer<'static>>,
    pub not_before: SystemTime,
    /// When the first of the chain ends.
    pub not_after: SystemTime,
}

/// A root; its key may be kept elsewhere.
#[derive(Debug)]
pub(super) struct Root {
    pub certificate: CertificateDer<'static>,
    pub not_after: SystemTime,
    pub key: Option<Pair>,
}

/// Why a certificate and a key make no pair.
#[derive(Debug)]
pub(super) enum Misfit {
    Certificate(Box<dyn std::error::Error + Send + Sync>),
    Key(Box<dyn std::error::Error + Send + Sync>),
    Mismatch,
}

/// A certificate and its key, both as PEM, in the form that they are kept in.
#[derive(Clone)]
pub struct Made {
    pub certificate: String,
    pub key: String,
}

impl Pair {
    /// Reads both from PEM.
    pub fn read(certificate: &[u8], key: &[u8]) -> Result<Self, Misfit> {
        let unfit = |error: identity::Error| Misfit::Certificate(error.into());
        let chain = certificates(certificate).map_err(unfit)?;
        // One reading of CA certificates for all: a bundle takes only what is one.
        let bundle = TrustBundle::new(chain.clone(), 0).map_err(unfit)?;
        let not_before = bundle.roots()[0].not_before;
        let not_after = bundle.roots().iter().map(|each| each.not_after).min();
        let not_after = not_after.unwrap_or(not_before);
        let key = read_key(key)?;
        let certificate = &chain[0];
        let public = parse_x509_certificate(certificate)
            .map(|(_, parsed)| parsed.public_key().raw.to_vec())
            .map_err(|error| Misfit::Certificate(error.into()))?;
        if key.subject_public_key_info() != public {
            return Err(Misfit::Mismatch);
        }
        let issuer = Issuer::from_ca_cert_der(certificate, key)
            .map_err(|error| Misfit::Certificate(error.into()))?;
        Ok(Self { issuer, chain, not_before, not_after })
    }

    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.chain[0]
    }

    /// A new issuer below this root; it ends no later than the root.
    pub fn new_issuer(
        &self,
        trust_domain: &TrustDomain,
        not_after: SystemTime,
        now: SystemTime,
    ) -> Result<Made, Error> {
        let key = KeyPair::generate()?;
        let mut params = params(trust_domain, "issuer", 0, &key)?;
        // As far back as a machine's clock may be behind that still has the right hour.
        params.not_before = (now - HOUR).into();
        params.not_after = not_after.into();
        params.use_authority_key_identifier_extension = true;
        let certificate = params.signed_by(&key, &self.issuer)?.pem();
        Ok(Made { certificate, key: key.serialize_pem() })
    }
}

impl Root {
    /// Reads a root in PEM, whose key may be missing.
    pub fn read(certificate: &[u8], key: Option<&[u8]>) -> Result<Self, Misfit> {
        let unfit = |error: identity::Error| Misfit::Certificate(error.into());
        let bundle = TrustBundle::from_pem(certificate, 0).map_err(unfit)?;
        let root = &bundle.roots()[0];
        let key = key.map(|key| Pair::read(certificate, key)).transpose()?;
        Ok(Self { certificate: root.certificate.clone(), not_after: root.not_after, key })
    }
}

/// The URIs that a certificate names.
pub(super) fn uris(certificate: &CertificateDer<'_>) -> Vec<String> {
    let Ok((_, parsed)) = parse_x509_certificate(certificate) else { return Vec::new() };
    let Ok(Some(names)) = parsed.subject_alternative_name() else { return Vec::new() };
    let uri = |name: &GeneralName<'_>| match name {
        GeneralName::URI(uri) => Some((*uri).to_owned()),
        _ => None,
    };
    names.value.general_names.iter().filter_map(uri).collect()
}

/// Whether so many CAs may stand below it, one below the other. TLS takes a root's name and key and
/// doesn't ask; other readers of the chain would.
pub(super) fn may_stand_above(certificate: &CertificateDer<'_>, issuers: usize) -> bool {
    let Ok((_, parsed)) = parse_x509_certificate(certificate) else { return false };
    let Ok(Some(constraints)) = parsed.basic_constraints() else { return false };
    constraints.value.path_len_constraint.is_none_or(|most| most as usize >= issuers)
}

/// SHA-256 of a certificate, as 64 hexadecimal digits.
pub(super) fn fingerprint(certificate: &[u8]) -> String {
    let suite = TLS13_AES_128_GCM_SHA256.tls13().expect("a suite of TLS 1.3");
    let hash = suite.common.hash_provider.hash(certificate);
    hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Certificates in PEM, as [`certificates`] reads them.
pub(super) fn to_pem<'c>(all: impl IntoIterator<Item = &'c CertificateDer<'static>>) -> String {
    let section = |der: &CertificateDer<'_>| pem::Pem::new("CERTIFICATE", der.to_vec());
    pem::encode_many(&all.into_iter().map(section).collect::<Vec<_>>())
}

/// A self-signed root for a key that is kept already.
pub(super) fn new_root(
    key: &KeyPair,
    trust_domain: &TrustDomain,
    now: SystemTime,
) -> Result<String, Error> {
    let mut params = params(trust_domain, "root", 1, key)?;
    params.not_before = (now - HOUR).into();
    params.not_after = (now + ROOT_LIFETIME).into();
    Ok(params.self_signed(key)?.pem())
}

/// A private key in PEM, of any kind that can sign certificates.
pub(super) fn read_key(pem: &[u8]) -> Result<KeyPair, Misfit> {
    let der = private_key(pem).map_err(|error| Misfit::Key(error.into()))?;
    KeyPair::try_from(&der).map_err(|error| Misfit::Key(error.into()))
}

/// Authorities are named by the trust domain alone (X509-SVID, section 4.1).
pub(super) fn uri_of(trust_domain: &TrustDomain) -> String {
    format!("spiffe://{trust_domain}")
}

/// What X.509 can say of a time: whole seconds.
pub(super) fn whole_seconds(time: SystemTime) -> SystemTime {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    UNIX_EPOCH + Duration::from_secs(since.as_secs())
}

fn params(
    trust_domain: &TrustDomain,
    role: &str,
    path_length: u8,
    key: &KeyPair,
) -> Result<CertificateParams, Error> {
    let mut params = CertificateParams::default();
    let fingerprint = serial_text(&params.key_identifier(key)[..4]);
    params.distinguished_name = DistinguishedName::new();
    // X.520 allows 64 characters; the whole trust domain is in the URI.
    let name = format!("{:.40} {role} {fingerprint}", trust_domain.as_str());
    params.distinguished_name.push(DnType::CommonName, name);
    params.subject_alt_names = vec![SanType::URI(uri_of(trust_domain).try_into()?)];
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(path_length));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(params)
}
