//! Signing requests (PKCS#10, RFC 2986), read with suspicion.
//!
//! Only the key is taken from one: what the leaf says is ours to say. A request that asks for more
//! than it would get is refused all the same, because its sender expects something else of the
//! certificate than it will be. Invariant: a held request's sender has the private key. Callers:
//! `api`, for first certificates and for renewals.

use rcgen::{PKCS_ECDSA_P256_SHA256, PublicKeyData, SubjectPublicKeyInfo};
use rustls::crypto::aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::cri_attributes::ParsedCriAttribute;
use x509_parser::extensions::{ExtendedKeyUsage, GeneralName, ParsedExtension, X509Extension};
use x509_parser::prelude::FromDer;

use crate::model::SpiffeId;

/// The longest request that is looked at; a right one has about 300 bytes, and ids are below 2 KiB.
const LONGEST: usize = 16 * 1024;

/// Bit 0 of key usage, as x509-parser counts them: `digitalSignature`.
const DIGITAL_SIGNATURE: u16 = 1;

/// Why a request was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    #[error("the signing request has {0} bytes, and 16384 are the most: send it without extras")]
    TooLong(usize),
    #[error("the signing request is damaged: send a PKCS#10 request in DER")]
    Malformed,
    #[error("the signing request is followed by bytes that don't belong to it: send it alone")]
    Trailing,
    #[error("the signing request's key is not EC P-256: make one that is")]
    KeyKind,
    #[error(
        "the signing request is not signed by its own key: sign it with the key that the \
         certificate is for, by ECDSA"
    )]
    Signature,
    #[error("the signing request names nobody: name {expected} in it as its only URI")]
    Nameless { expected: SpiffeId },
    #[error("the signing request has {count} names: {expected} must be its only one")]
    ManyNames { count: usize, expected: SpiffeId },
    #[error("the signing request's name is no URI: {expected} must be its only name")]
    NotUri { expected: SpiffeId },
    #[error("the signing request is for {found:?}, and {expected} is what may be had")]
    WrongIdentity { found: String, expected: SpiffeId },
    #[error("the signing request asks for a CA: nobody gets one")]
    Ca,
    #[error("the signing request asks for a key usage other than signing (digitalSignature)")]
    KeyUsage,
    #[error(
        "the signing request asks for an extended key usage other than those of TLS servers and \
         clients"
    )]
    Purpose,
    #[error("the signing request asks for the extension {0}, which no leaf has: leave it out")]
    Extension(String),
    #[error("the signing request has the attribute {0}, which is not understood: leave it out")]
    Attribute(String),
}

/// A key that may have a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SigningRequest {
    identity: SpiffeId,
    key: SubjectPublicKeyInfo,
    fingerprint: String,
}

impl SigningRequest {
    /// Reads a request in DER, and refuses one that is not for `identity`.
    ///
    /// # Errors
    /// Every [`RequestError`].
    pub fn read(der: &[u8], identity: &SpiffeId) -> Result<Self, RequestError> {
        if der.len() > LONGEST {
            return Err(RequestError::TooLong(der.len()));
        }
        let (rest, request) =
            X509CertificationRequest::from_der(der).map_err(|_| RequestError::Malformed)?;
        // The parser overlooks what follows the signature within the outermost sequence.
        let signed_to = request.signature_value.data.as_ptr_range().end;
        if !rest.is_empty() || signed_to != der.as_ptr_range().end {
            return Err(RequestError::Trailing);
        }
        let key = p256(request.certification_request_info.subject_pki.raw)?;
        request.verify_signature().map_err(|_| RequestError::Signature)?;
        judge_names(&judge_extensions(&request)?, identity)?;
        let fingerprint = fingerprint(&key);
        Ok(Self { identity: identity.clone(), key, fingerprint })
    }

    /// Whom the certificate is for.
    pub fn identity(&self) -> &SpiffeId {
        &self.identity
    }

    /// SHA-256 of the public key (its SubjectPublicKeyInfo), as 64 hexadecimal digits: tells
    /// whether a request is the same one again.
    pub fn key_fingerprint(&self) -> &str {
        &self.fingerprint
    }

    pub(super) fn key(&self) -> &SubjectPublicKeyInfo {
        &self.key
    }
}

/// Uncompressed points only, the one form that TLS knows (RFC 8446, 4.2.8.2).
fn p256(spki: &[u8]) -> Result<SubjectPublicKeyInfo, RequestError> {
    SubjectPublicKeyInfo::from_der(spki)
        .ok()
        .filter(|key| key.algorithm() == &PKCS_ECDSA_P256_SHA256)
        .filter(|key| key.der_bytes().len() == 65 && key.der_bytes()[0] == 4)
        .ok_or(RequestError::KeyKind)
}

fn fingerprint(key: &SubjectPublicKeyInfo) -> String {
    let suite =
        TLS13_AES_128_GCM_SHA256.tls13().expect("a suite of TLS 1.3, whose hash is SHA-256");
    let hash = suite.common.hash_provider.hash(&key.subject_public_key_info());
    hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Every name that is asked for, if nothing else is.
fn judge_extensions<'r>(
    request: &'r X509CertificationRequest<'_>,
) -> Result<Vec<&'r GeneralName<'r>>, RequestError> {
    let mut names = Vec::new();
    let mut requests = 0;
    for attribute in request.certification_request_info.iter_attributes() {
        match attribute.parsed_attribute() {
            // Of two, another reader may take the other.
            ParsedCriAttribute::ExtensionRequest(asked) if requests == 0 => {
                requests += 1;
                for extension in &asked.extensions {
                    judge_extension(extension, &mut names)?;
                }
            }
            _ => return Err(RequestError::Attribute(attribute.oid.to_id_string())),
        }
    }
    Ok(names)
}

fn judge_extension<'r>(
    extension: &'r X509Extension<'r>,
    names: &mut Vec<&'r GeneralName<'r>>,
) -> Result<(), RequestError> {
    match extension.parsed_extension() {
        ParsedExtension::SubjectAlternativeName(asked) => names.extend(&asked.general_names),
        ParsedExtension::BasicConstraints(asked) if asked.ca => return Err(RequestError::Ca),
        ParsedExtension::BasicConstraints(_) => {}
        ParsedExtension::KeyUsage(asked) if asked.flags & !DIGITAL_SIGNATURE != 0 => {
            return Err(RequestError::KeyUsage);
        }
        ParsedExtension::KeyUsage(_) => {}
        ParsedExtension::ExtendedKeyUsage(asked) => judge_purposes(asked)?,
        ParsedExtension::ParseError { .. } => return Err(RequestError::Malformed),
        _ => return Err(RequestError::Extension(extension.oid.to_id_string())),
    }
    Ok(())
}

fn judge_purposes(asked: &ExtendedKeyUsage<'_>) -> Result<(), RequestError> {
    let ExtendedKeyUsage {
        any,
        server_auth: _,
        client_auth: _,
        code_signing,
        email_protection,
        time_stamping,
        ocsp_signing,
        other,
    } = asked;
    let others = [any, code_signing, email_protection, time_stamping, ocsp_signing];
    if others.into_iter().any(|asked| *asked) || !other.is_empty() {
        return Err(RequestError::Purpose);
    }
    Ok(())
}

fn judge_names(names: &[&GeneralName<'_>], expected: &SpiffeId) -> Result<(), RequestError> {
    let expected = expected.clone();
    match names {
        [] => Err(RequestError::Nameless { expected }),
        [GeneralName::URI(uri)] if *uri == expected.as_str() => Ok(()),
        [GeneralName::URI(uri)] => {
            Err(RequestError::WrongIdentity { found: uri.chars().take(200).collect(), expected })
        }
        [_] => Err(RequestError::NotUri { expected }),
        several => Err(RequestError::ManyNames { count: several.len(), expected }),
    }
}
