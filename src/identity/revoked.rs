//! What may no longer be trusted although it has not ended.
//!
//! Part of a trust bundle, so that whoever judges by one judges by the other. Replaced as a whole.

use std::collections::HashSet;

use super::{Leaf, serial_text};
use crate::model::SpiffeId;

/// Certificates and identities that were taken back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Revoked {
    /// See [`enrollment`].
    pub enrollments: HashSet<u64>,
    pub identities: HashSet<SpiffeId>,
}

impl Revoked {
    pub fn is_empty(&self) -> bool {
        self.enrollments.is_empty() && self.identities.is_empty()
    }

    /// Whether a leaf, or the identity that it names, was taken back.
    pub fn concerns(&self, leaf: &Leaf<'_>, id: &SpiffeId) -> bool {
        // The usual case, without writing the serial.
        !self.is_empty() && self.names(id, &leaf.serial())
    }

    /// The same of a certificate that was taken apart already.
    pub fn names(&self, id: &SpiffeId, serial: &str) -> bool {
        self.identities.contains(id)
            || enrollment(serial).is_some_and(|number| self.enrollments.contains(&number))
    }
}

/// What all certificates of one workload, renewed or not, have in common: their serial numbers, as
/// `serial_text` writes them, but for the last 16 digits. `None` when the rest is no number.
pub fn enrollment(serial: &str) -> Option<u64> {
    enrollment_number(serial.get(..serial.len().checked_sub(16)?)?)
}

/// An enrolment as a serial number begins: in whole bytes, since older sidecars compare the text.
pub fn enrollment_text(number: u64) -> String {
    serial_text(&number.to_be_bytes())
}

/// An enrolment as `enrollment_text` writes it, or with fewer or more zeros in front.
pub fn enrollment_number(text: &str) -> Option<u64> {
    let is_hexadecimal = text.bytes().all(|byte| byte.is_ascii_hexdigit());
    u64::from_str_radix(text, 16).ok().filter(|_| is_hexadecimal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_enrolment_is_known_by_its_serials_whatever_it_begins_with() {
        let id = SpiffeId::parse("spiffe://cluster.local/ns/default/sa/web").expect("an id");
        for number in [1, 0xf, 0x10, 0x09e1_937c_abd4_bd4c, 0x9e1_937c_abd4, i64::MAX as u64] {
            let revoked = Revoked { enrollments: [number].into(), ..Revoked::default() };
            for tail in [0, 7, u64::MAX] {
                let serial = [number.to_be_bytes(), tail.to_be_bytes()].concat();
                assert!(revoked.names(&id, &serial_text(&serial)), "{number:x} {tail:x}");
                let other = [(number ^ 2).to_be_bytes(), tail.to_be_bytes()].concat();
                assert!(!revoked.names(&id, &serial_text(&other)), "{number:x} {tail:x}");
            }
            assert_eq!(enrollment_number(&enrollment_text(number)), Some(number));
            assert_eq!(enrollment_number(&format!("{number:x}")), Some(number));
        }
        for other in ["", "+5", "g", "10000000000000000", "é"] {
            assert_eq!(enrollment_number(other), None, "{other}");
        }
    }
}
