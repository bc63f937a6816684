//! What the sidecar made of an update.
//!
//! Taken, taken but for attachments that it can't read, or refused. Each fault is counted, logged
//! and shown; only what was refused is said again.

use tonic::Status;
use tracing::warn;

use super::Session;
use crate::wire::v1;

/// Characters of a refusal that go to the log.
const REASONS: usize = 1000;

impl Session {
    pub(super) async fn judged(&mut self, verdict: v1::Verdict) -> Result<(), Status> {
        let v1::Verdict { version, errors, faults } = verdict;
        let revision = self.subscriptions.revision_of(&version).unwrap_or_default();
        if errors.is_empty() {
            self.subscriptions.taken(&version);
            self.entry.acknowledged(revision);
            if !faults.is_empty() {
                self.desk.metrics.updates_refused.inc();
                let reasons = quoted(&faults);
                warn!(workload = self.workload, version, reasons, "attachments were left out");
                self.entry.refused(revision, faults);
            }
            return Ok(());
        }
        self.desk.metrics.updates_refused.inc();
        let reasons = quoted(&errors);
        warn!(workload = self.workload, version, reasons, "an update was refused");
        self.entry.refused(revision, errors);
        for update in self.subscriptions.refused(&version) {
            self.update(update).await?;
        }
        Ok(())
    }
}

/// A sidecar's words: not more of them than anybody reads.
pub(super) fn quoted(errors: &[String]) -> String {
    errors.join("; ").chars().take(REASONS).collect()
}
