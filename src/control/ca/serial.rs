//! Serial numbers that say under which enrolment a leaf was issued.
//!
//! Eight bytes of enrolment, then eight random ones: whoever is revoked by enrolment is found again
//! from any certificate, without a list of all that were ever issued. The top bit is clear, since
//! X.509 serials are positive; an enrolment of 0 is none, as in the control plane's own leaves.

use super::Error;
use crate::tls::provider;

const RANDOM: usize = 8;

/// A new serial number, big-endian.
pub(super) fn serial(enrollment: u64) -> Result<[u8; 16], Error> {
    let mut bytes = [0; 16];
    let (head, tail) = bytes.split_at_mut(16 - RANDOM);
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

/// The enrolment in a serial number as `identity::serial_text` writes it; `None` when it was not
/// issued under one.
pub fn enrollment_of(serial: &str) -> Option<u64> {
    let digits = serial.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let (head, _) = serial.split_at_checked(serial.len().checked_sub(2 * RANDOM)?)?;
    let enrollment = u64::from_str_radix(head, 16).ok().filter(|_| digits)?;
    is_enrollment(enrollment).then_some(enrollment)
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
