//! What may no longer be trusted although it has not ended.
//!
//! Part of a trust bundle, so that whoever judges by one judges by the other. Replaced as a whole.

use std::collections::HashSet;

use super::Leaf;
use crate::model::SpiffeId;

/// Certificates and identities that were taken back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Revoked {
    /// What the serial numbers of a workload's certificates begin with: see [`enrollment`].
    pub enrollments: HashSet<String>,
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
            || enrollment(serial).is_some_and(|enrollment| self.enrollments.contains(enrollment))
    }
}

/// What all certificates of one workload, renewed or not, have in common: their serial numbers but
/// for the last 16 digits.
pub fn enrollment(serial: &str) -> Option<&str> {
    serial.len().checked_sub(16).and_then(|end| serial.get(..end)).filter(|head| !head.is_empty())
}
