//! Who may call the workload: what its sidecar is told, and what it makes of that.
//!
//! The labels that count are the workload's as the catalog knows it. Before it is known its grant
//! says which labels it may come to have; once it was known they stay, so that a workload that drains
//! is under the same policies to its end.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tonic::Status;
use tracing::warn;

use super::Session;
use super::judged::quoted;
use crate::control::api::convert;
use crate::control::catalog::{Governing, Known};
use crate::model::ServiceName;
use crate::resources::Labels;
use crate::telemetry::log::Repeats;
use crate::wire::v1;
use crate::wire::v1::to_sidecar::Message as Tell;

/// How often the log says that a sidecar's reports can't be used.
const SELDOM: Duration = Duration::from_secs(60);

/// What one sidecar was told of its callers, and what was wrong with what it said of them.
pub struct Governed {
    able: Able,
    /// The manifests of access policies and of rate-limit policies; `None`: nothing yet.
    told: Option<[Vec<Arc<str>>; 2]>,
    /// What it could not read of that.
    faults: Vec<String>,
    /// What it is not told because it could not keep it.
    unkept: Option<String>,
    /// The workload's, since it was known.
    labels: Option<Labels>,
    refused: Repeats,
}

/// What a sidecar says that it can do.
#[derive(Clone, Copy)]
pub struct Able {
    pub decides_by_rules: bool,
    pub reads_tokens: bool,
    pub limits_rates: bool,
}

impl Governed {
    pub fn new(able: Able) -> Self {
        let refused = Repeats::every(SELDOM);
        Self { able, told: None, faults: Vec::new(), unkept: None, labels: None, refused }
    }
}

impl Session {
    /// Tells the policies about callers of the workload, unless it was told the same.
    pub(super) async fn govern(&mut self) -> Result<(), Status> {
        let (catalog, id) = (&self.desk.catalog, &self.peer.id);
        if self.governed.told.is_none() {
            // Before the first look, so that no change falls between the two.
            let mailbox = self.subscriptions.mailbox();
            catalog.stand_for(mailbox, id.namespace(), &self.workload);
        }
        self.governed.labels = self.labels().or(self.governed.labels.take());
        let enrollment = catalog.enrollment(self.enrollment);
        let granted = enrollment.map(|held| held.value.grant.labels.clone()).unwrap_or_default();
        let known = self.governed.labels.as_ref().map_or(Known::MayHave(&granted), Known::Has);
        let Governing { manifests, by_rules, by_tokens, limits } =
            catalog.governing(id.namespace(), known);
        let able = self.governed.able;
        if let Some(policy) = by_rules.filter(|_| !able.decides_by_rules) {
            return Err(self.let_go(&policy, "has rules").await?);
        }
        if let Some(policy) = by_tokens.filter(|_| !able.reads_tokens) {
            return Err(self.let_go(&policy, "asks for tokens or API keys").await?);
        }
        let limits = if able.limits_rates { limits } else { self.without(limits) };
        let governing = [manifests, limits];
        if self.governed.told.as_ref() == Some(&governing) {
            return Ok(());
        }
        let written = |manifests: &[Arc<str>]| {
            let one = |manifest: &Arc<str>| v1::Attachment { manifest: manifest.to_string() };
            manifests.iter().map(one).collect()
        };
        let [policies, limits] = governing.each_ref().map(|manifests| written(manifests));
        self.governed.told = Some(governing);
        self.tell(Tell::Inbound(v1::Inbound { policies, limits })).await
    }

    /// A sidecar that can't keep limits stays, and whoever looks at it sees that it has none.
    fn without(&mut self, limits: Vec<Arc<str>>) -> Vec<Arc<str>> {
        let count = limits.len();
        let unkept = (count > 0).then(|| {
            format!(
                "{count} rate-limit policies are not kept: this sidecar's version can't, update it"
            )
        });
        if self.governed.unkept != unkept {
            if let Some(unkept) = &unkept {
                warn!(workload = self.workload, "{unkept}");
            }
            self.governed.unkept = unkept;
            self.show_faults();
        }
        Vec::new()
    }

    fn show_faults(&self) {
        let Governed { faults, unkept, .. } = &self.governed;
        self.entry.ungoverned(faults.iter().chain(unkept).cloned().collect());
    }

    /// A sidecar that does not decide by rules, or by what callers show, would let in whom they keep
    /// out: it is told why it is let go, and nobody is sent to it any more.
    async fn let_go(&mut self, policy: &str, what: &str) -> Result<Status, Status> {
        let workload = &self.workload;
        warn!(workload, policy, "a sidecar is let go that is too old for its policies");
        self.withdraw().await?;
        Ok(Status::failed_precondition(format!(
            "AccessPolicy {policy} {what}, which this sidecar's version can't keep: update it"
        )))
    }

    /// The workload's labels, as far as they are known.
    fn labels(&self) -> Option<Labels> {
        let (catalog, id) = (&self.desk.catalog, &self.peer.id);
        if let Some(pod) = &self.pod {
            let newest = catalog.pod_of(self.enrollment);
            return Some(newest.as_ref().unwrap_or(pod).metadata.labels.clone());
        }
        // What another start of it registered says nothing of this one.
        let registered = catalog.registration(&format!("{}/{}", id.namespace(), self.workload));
        let is_ours = registered.is_none_or(|held| held.enrollment == self.enrollment);
        let known = || catalog.labels(id.namespace(), &self.workload, id.service_account());
        is_ours.then(known).flatten()
    }

    /// What the sidecar made of it.
    pub(super) fn governed_by(&mut self, verdict: v1::InboundVerdict) {
        let v1::InboundVerdict { faults } = verdict;
        if !faults.is_empty() {
            self.desk.metrics.updates_refused.inc();
            let reasons = quoted(&faults);
            warn!(
                workload = self.workload,
                reasons, "policies about callers can't be used there, those before stay"
            );
        }
        self.governed.faults = faults;
        self.show_faults();
    }

    /// What the sidecar saw.
    pub(super) fn reported(&mut self, report: v1::Report) {
        let workload = (self.peer.id.namespace(), self.workload.as_str());
        match convert::report(report) {
            Ok(report) => self.desk.plaintext.take(workload, report, SystemTime::now()),
            Err(error) => {
                if let Some(left_out) = self.governed.refused.note("report", Instant::now()) {
                    let workload = &self.workload;
                    warn!(workload, left_out, "a report can't be used: {error}");
                }
            }
        }
    }

    /// What became of its traffic. Who has no turn is not even read.
    pub(super) fn traffic(&mut self, traffic: v1::Traffic) {
        let Some(turn) = self.source.admit(SystemTime::now()) else { return };
        match convert::traffic(traffic) {
            Ok(mut report) => {
                let follows = |of: &str| {
                    ServiceName::parse(of, "").is_ok_and(|name| self.subscriptions.follows(&name))
                };
                report.endpoints.retain(|of| !of.is_used || follows(&of.service));
                turn.take(report, &self.desk.catalog);
            }
            Err(error) => {
                if let Some(left_out) = self.governed.refused.note("traffic", Instant::now()) {
                    let workload = &self.workload;
                    warn!(workload, left_out, "what it says of its traffic can't be used: {error}");
                }
            }
        }
    }
}
