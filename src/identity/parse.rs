//! What a leaf certificate says about its holder, read without copying.
//!
//! Runs in every handshake (on the finished session, and in the verifier the first time), so only the
//! extensions that matter are decoded. It reads, it doesn't trust: signatures, chain and the
//! present time are checked by `tls::verify`. Strict where two readers could disagree: a second
//! URI counts even when its text is broken.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use x509_parser::certificate::{X509Certificate, X509CertificateParser};
use x509_parser::extensions::{
    BasicConstraints, GeneralName, SubjectAlternativeName, X509Extension,
};
use x509_parser::nom::Parser;
use x509_parser::oid_registry::{OID_X509_EXT_BASIC_CONSTRAINTS, OID_X509_EXT_SUBJECT_ALT_NAME};
use x509_parser::prelude::FromDer;
use x509_parser::time::ASN1Time;

use super::Error;
use crate::model::SpiffeId;

/// GeneralName's choice `[6] uniformResourceIdentifier` (RFC 5280, 4.2.1.6).
const URI_TAG: u32 = 6;

/// The parts of a leaf certificate that name its holder.
#[derive(Clone, Debug)]
pub struct Leaf<'a> {
    uri: &'a str,
    serial: &'a [u8],
    pub not_before: SystemTime,
    pub not_after: SystemTime,
}

impl<'a> Leaf<'a> {
    /// Reads a certificate in DER.
    ///
    /// # Errors
    /// When it is no X.509, a CA's, or has not exactly one URI (X509-SVID, sections 2 and 4.1).
    pub fn from_der(der: &'a [u8]) -> Result<Self, Error> {
        let certificate = certificate(der)?;
        if is_ca(&certificate)? {
            return Err(Error::CaAsLeaf);
        }
        let (not_before, not_after) = validity(&certificate);
        Ok(Self {
            uri: only_uri(certificate.extensions())?,
            serial: certificate.raw_serial(),
            not_before,
            not_after,
        })
    }

    /// The URI as written; [`Leaf::id`] checks its shape.
    pub fn uri(&self) -> &'a str {
        self.uri
    }

    /// # Errors
    /// [`Error::NotSpiffe`] when the URI is not a workload's SPIFFE id.
    pub fn id(&self) -> Result<SpiffeId, Error> {
        SpiffeId::parse(self.uri).map_err(Error::NotSpiffe)
    }

    /// As [`serial_text`].
    pub fn serial(&self) -> String {
        serial_text(self.serial)
    }
}

/// A serial number as lower-case hexadecimal, without leading zero bytes.
pub fn serial_text(serial: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let start = serial.iter().position(|&byte| byte != 0);
    let bytes = start.map_or(&[0][..], |start| &serial[start..]);
    let digit = |nibble: u8| char::from(DIGITS[usize::from(nibble)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

pub(super) fn certificate(der: &[u8]) -> Result<X509Certificate<'_>, Error> {
    let mut parser = X509CertificateParser::new().with_deep_parse_extensions(false);
    let (rest, certificate) = parser.parse(der).map_err(Error::Malformed)?;
    if rest.is_empty() { Ok(certificate) } else { Err(Error::Trailing(rest.len())) }
}

pub(super) fn is_ca(certificate: &X509Certificate<'_>) -> Result<bool, Error> {
    for extension in certificate.extensions() {
        if extension.oid == OID_X509_EXT_BASIC_CONSTRAINTS {
            let (_, constraints) =
                BasicConstraints::from_der(extension.value).map_err(Error::Malformed)?;
            return Ok(constraints.ca);
        }
    }
    Ok(false)
}

/// `notBefore` and `notAfter` of any certificate in DER.
///
/// # Errors
/// When it is no X.509.
pub fn dates(der: &[u8]) -> Result<(SystemTime, SystemTime), Error> {
    certificate(der).map(|certificate| validity(&certificate))
}

/// `notBefore` and `notAfter`.
pub(super) fn validity(certificate: &X509Certificate<'_>) -> (SystemTime, SystemTime) {
    let validity = certificate.validity();
    (system_time(validity.not_before), system_time(validity.not_after))
}

fn only_uri<'a>(extensions: &[X509Extension<'a>]) -> Result<&'a str, Error> {
    let (mut count, mut only) = (0, None);
    for extension in extensions {
        if extension.oid != OID_X509_EXT_SUBJECT_ALT_NAME {
            continue;
        }
        let (_, names) =
            SubjectAlternativeName::from_der(extension.value).map_err(Error::Malformed)?;
        for name in names.general_names {
            match name {
                GeneralName::URI(uri) => (count, only) = (count + 1, Some(uri)),
                GeneralName::Invalid(tag, _) if tag.0 == URI_TAG => count += 1,
                _ => {}
            }
        }
    }
    match (count, only) {
        (0, _) => Err(Error::NoUri),
        (1, Some(uri)) => Ok(uri),
        // A lone URI that isn't even text reads as an id of the wrong shape.
        (1, None) => Ok(""),
        _ => Err(Error::ManyUris(count)),
    }
}

fn system_time(time: ASN1Time) -> SystemTime {
    let seconds = time.timestamp();
    let distance = Duration::from_secs(seconds.unsigned_abs());
    // X.509 times lie between the years 0 and 9999, which `SystemTime` holds on Unix.
    if seconds < 0 { UNIX_EPOCH - distance } else { UNIX_EPOCH + distance }
}
