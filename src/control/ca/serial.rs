//! Serial numbers that say under which enrolment a leaf was issued.
//!
//! Eight bytes of enrolment, then eight random ones: whoever is revoked by enrolment is found again
//! from any certificate, without a list of all that were ever issued. The top bit is clear, since
//! X.509 serials are positive; an enrolment of 0 is none, as in the control plane's own leaves.

use rustls::crypto::aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256;

use super::Error;
use crate::identity;
use crate::tls::provider;

/// A new serial number, big-endian.
pub(super) fn serial(enrollment: u64) -> Result<[u8; 16], Error> {
    let mut bytes = [0; 16];
    let (head, tail) = bytes.split_at_mut(8);
    head.copy_from_slice(&enrollment.to_be_bytes());
    provider().secure_random.fill(tail).map_err(|_| Error::Random)?;
    Ok(bytes)
}

/// A number for a new enrolment, which nobody can guess and nobody has yet.
///
/// # Errors
/// Only when the machine gives no random numbers.
pub fn new_enrollment() -> Result<u64, Error> {
    let mut bytes = [0; 8];
    provider().secure_random.fill(&mut bytes).map_err(|_| Error::Random)?;
    Ok((u64::from_be_bytes(bytes) >> 1).max(1))
}

/// The enrolment of somebody whom the cluster knows by this id: always the same, on every replica,
/// so that none has to write it down. 63 bits of its SHA-256.
pub fn enrollment_for(id: &str) -> u64 {
    let suite = TLS13_AES_128_GCM_SHA256.tls13().expect("a suite of TLS 1.3");
    let hash = suite.common.hash_provider.hash(id.as_bytes());
    let head = hash.as_ref().first_chunk().expect("SHA-256 has 32 bytes");
    (u64::from_be_bytes(*head) >> 1).max(1)
}

/// The enrolment in a serial number as `identity::serial_text` writes it; `None` when it was not
/// issued under one.
pub fn enrollment_of(serial: &str) -> Option<u64> {
    let is_ours = serial.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    identity::enrollment(serial).filter(|&number| is_ours && is_enrollment(number))
}

pub(super) fn is_enrollment(number: u64) -> bool {
    number != 0 && i64::try_from(number).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::serial_text;

    #[test]
    fn an_enrolment_is_read_back() {
        for enrollment in [1, 5, 255, 256, 0xdead_beef, i64::MAX as u64] {
            let first = serial_text(&serial(enrollment).expect("random numbers"));
            let second = serial_text(&serial(enrollment).expect("random numbers"));
            assert_ne!(first, second);
            assert_eq!(enrollment_of(&first), Some(enrollment), "{first}");
        }
    }

    #[test]
    fn an_id_has_one_enrolment_on_every_replica() {
        let number = enrollment_for("6a8f4c1e-0b5e-4f1f-9a51-3f4e1c2d7b90");
        assert_eq!(number, 0x2555_0b4a_b4c6_4294);
        assert_ne!(number, enrollment_for("6a8f4c1e-0b5e-4f1f-9a51-3f4e1c2d7b91"));
        for id in ["", "a", "b", "c"].map(enrollment_for) {
            assert!(is_enrollment(id));
        }
    }

    #[test]
    fn other_serials_have_no_enrolment() {
        let own = serial_text(&serial(0).expect("random numbers"));
        for other in [
            "",
            "0",
            "+5ffffffffffffffff",
            "ffffffffffffffff",
            "00ffffffffffffffff",
            "8000000000000000ffffffffffffffff",
            "01ffffffffffffffffffffffffffffffff",
            "05FFFFFFFFFFFFFFFF",
            "xyffffffffffffffff",
            "é5ffffffffffffffff",
            &own,
        ] {
            assert_eq!(enrollment_of(other), None, "{other}");
        }
    }
}
