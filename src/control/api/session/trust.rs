//! Whom the sidecar is told to trust: the roots, and what was taken back.
//!
//! Both are said before anything else, and whenever they change. A sidecar that it concerns itself is
//! let go.

use tonic::Status;
use tracing::warn;

use super::Session;
use crate::control::api::identity::bundle;
use crate::identity::{Revoked, enrollment_text};
use crate::tls::Peer;
use crate::wire::v1;
use crate::wire::v1::to_sidecar::Message as Tell;

/// Whether a caller was revoked.
pub fn concerns(revoked: &Revoked, peer: &Peer) -> bool {
    revoked.names(&peer.id, &peer.serial)
}

impl Session {
    /// Says which roots there are, unless that was said.
    pub(super) async fn bundle(&self) -> Result<(), Status> {
        let roots = self.desk.authority.roots();
        if !self.entry.bundle_sent(roots.generation()) {
            return Ok(());
        }
        self.tell(Tell::Bundle(bundle(&roots))).await
    }

    /// Says what is revoked; a sidecar that it concerns is let go, and nobody is sent to it any more.
    pub(super) async fn revocations(&mut self) -> Result<(), Status> {
        let revoked = self.desk.catalog.revoked();
        if concerns(&revoked, &self.peer) {
            warn!(identity = %self.peer.id, workload = self.workload, "a revoked sidecar is let go");
            self.withdraw().await?;
            return Err(Status::unauthenticated("this workload's certificate was revoked"));
        }
        let v1 = v1::Revocations {
            enrollments: revoked.enrollments.iter().map(|&one| enrollment_text(one)).collect(),
            identities: revoked.identities.iter().map(ToString::to_string).collect(),
        };
        self.tell(Tell::Revocations(v1)).await
    }
}
