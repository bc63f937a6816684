//! PEM in, DER out, with errors for people: an empty file, swapped files and half-written ones
//! are the everyday mistakes, and each has its own sentence.
//!
//! Sections that are neither certificate nor key are skipped (RFC 7468, section 2). Callers:
//! [`super::Svid`], [`super::TrustBundle`], and `tls::files`, which reads the two halves of a pair
//! apart to name the file at fault.

use rustls::pki_types::pem::{Error as PemError, PemObject, SectionKind};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::Error;

/// All certificates of a file, in its order; never empty.
///
/// # Errors
/// [`Error::Pem`] or [`Error::NoCertificate`].
pub fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, Error> {
    let sections = sections(pem)?;
    let found = hint(pem, &sections);
    let certificates: Vec<_> = sections
        .into_iter()
        .filter(|(kind, _)| *kind == SectionKind::Certificate)
        .map(|(_, der)| CertificateDer::from(der))
        .collect();
    if certificates.is_empty() {
        return Err(Error::NoCertificate { found });
    }
    Ok(certificates)
}

/// The first private key of a file.
///
/// # Errors
/// [`Error::Pem`] or [`Error::NoKey`].
pub fn private_key(pem: &[u8]) -> Result<PrivateKeyDer<'static>, Error> {
    let sections = sections(pem)?;
    let found = hint(pem, &sections);
    sections
        .into_iter()
        .find_map(|(kind, der)| PrivateKeyDer::from_pem(kind, der))
        .ok_or(Error::NoKey { found })
}

fn sections(pem: &[u8]) -> Result<Vec<(SectionKind, Vec<u8>)>, Error> {
    <(SectionKind, Vec<u8>)>::pem_slice_iter(pem).collect::<Result<_, _>>().map_err(|error| {
        Error::Pem(match error {
            PemError::MissingSectionEnd { .. } => "its last section has no END line",
            PemError::IllegalSectionStart { .. } => "a BEGIN line is malformed",
            PemError::Base64Decode(_) => "a section is not base64",
            _ => "a section can't be read",
        })
    })
}

/// What a file holds instead of what was looked for.
fn hint(pem: &[u8], sections: &[(SectionKind, Vec<u8>)]) -> &'static str {
    const ENCRYPTED: &[u8] = b"ENCRYPTED PRIVATE KEY";
    match sections.first() {
        Some((SectionKind::Certificate, _)) => "only a certificate: are two files swapped?",
        Some((
            SectionKind::PrivateKey | SectionKind::EcPrivateKey | SectionKind::RsaPrivateKey,
            _,
        )) => "only a private key: are two files swapped?",
        Some((SectionKind::Csr, _)) => "only a certificate request",
        Some(_) => "only PEM of another kind",
        None if pem.trim_ascii().is_empty() => "it is empty",
        None if memchr::memmem::find(pem, ENCRYPTED).is_some() => "only an encrypted private key",
        None => "nothing in it is PEM",
    }
}
