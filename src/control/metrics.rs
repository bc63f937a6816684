//! What the control plane counts.
//!
//! Labels are fixed sets or the names of the API's calls, so every family is bounded. What is known
//! at any time (sessions, registrations, services) is read when somebody asks and can't drift from
//! the truth; the rest are handles that the API, the CA and the store's writers keep.

use std::sync::Arc;
use std::time::SystemTime;

use super::ca::{Authority, Phase};
use super::catalog::Catalog;
use super::sessions::Sessions;
use super::store::{Commit, CommitError, ReadError, Record, Sink, Store, Write};
use crate::telemetry::metrics::{Counter, Desc, Family, Registry};
use crate::telemetry::process;

const SESSIONS: Desc = desc("outrigger_control_sessions", "Sidecars that are connected.");
const ENTERED: Desc = desc(
    "outrigger_control_sessions_opened_total",
    "Sessions that sidecars began; more than there are sidecars: they reconnect.",
);
const BEHIND: Desc = desc(
    "outrigger_control_sessions_behind",
    "Connected sidecars that have not acknowledged the newest version that they were sent.",
);
const REFUSING: Desc = desc(
    "outrigger_control_sessions_refusing",
    "Connected sidecars that refused an update and have taken none since.",
);
const REGISTRATIONS: Desc =
    desc("outrigger_control_registrations", "Workloads that their sidecars registered.");
const SERVICES: Desc =
    desc("outrigger_control_services", "Ports of services that sidecars can be told of.");
const REVISION: Desc = desc("outrigger_control_revision", "The newest commit.");

const ROOT_ENDS: Desc = desc(
    "outrigger_control_root_expiry_timestamp_seconds",
    "When the root ends that workloads' certificates hang below.",
);
const ISSUER_ENDS: Desc = desc(
    "outrigger_control_issuer_expiry_timestamp_seconds",
    "When the issuer ends that signs workloads' certificates.",
);
const ROOTS: Desc = desc("outrigger_control_roots", "Roots in the trust bundle.");
const PHASE: Desc = desc(
    "outrigger_control_root_rotation_phase",
    "How far a root's replacement has come: 0 none, 1 distribute, 2 use, 3 retire.",
);

const fn desc(name: &'static str, help: &'static str) -> Desc {
    Desc { name, help, bound: 1, labels: &[] }
}

/// Handles of everything that is counted where it happens. Clones share them.
#[derive(Clone)]
pub struct Metrics {
    /// Certificates for somebody who joined.
    pub enrolled: Counter,
    /// Certificates for somebody who has one.
    pub renewed: Counter,
    /// Signing requests that were refused.
    pub certificates_refused: Counter,
    /// Issuers that were brought in from files, and what was refused of them.
    pub issuer_taken: Counter,
    pub issuer_refused: Counter,
    /// Updates that were sent to sidecars.
    pub updates_sent: Counter,
    /// Updates that sidecars did not take.
    pub updates_refused: Counter,
    commits_made: Counter,
    commits_conflicting: Counter,
    commits_failed: Counter,
    refusals: Family<Counter>,
}

impl Metrics {
    /// Registers everything that this control plane shows, once.
    pub fn new(
        registry: &Registry,
        catalog: &Arc<Catalog>,
        sessions: &Arc<Sessions>,
        authority: &Arc<Authority>,
    ) -> Self {
        process::register(registry);
        process::register_build(registry);
        collect(registry, Arc::clone(catalog), Arc::clone(sessions));
        collect_trust(registry, Arc::clone(authority));
        let issuers = registry.counter_family(
            "outrigger_control_issuer_files_total",
            "Looks at the issuer's files that found something else: taken or refused.",
            2,
            &["result"],
        );
        let certificates = registry.counter_family(
            "outrigger_control_certificates_issued_total",
            "Answers to signing requests: enrolled, renewed or refused.",
            3,
            &["result"],
        );
        let commits = registry.counter_family(
            "outrigger_control_commits_total",
            "Commits: made, conflict (somebody else was first) or failed.",
            3,
            &["result"],
        );
        Self {
            enrolled: certificates.with(&["enrolled"]),
            renewed: certificates.with(&["renewed"]),
            certificates_refused: certificates.with(&["refused"]),
            issuer_taken: issuers.with(&["taken"]),
            issuer_refused: issuers.with(&["refused"]),
            updates_sent: registry.counter(
                "outrigger_control_updates_sent_total",
                "Updates that were sent to sidecars.",
            ),
            updates_refused: registry.counter(
                "outrigger_control_updates_refused_total",
                "Updates that sidecars did not take.",
            ),
            commits_made: commits.with(&["made"]),
            commits_conflicting: commits.with(&["conflict"]),
            commits_failed: commits.with(&["failed"]),
            refusals: registry.counter_family(
                "outrigger_control_refusals_total",
                "Calls that were refused because the caller may not make them, by call.",
                32,
                &["rpc"],
            ),
        }
    }

    /// How a commit ended.
    pub fn committed(&self, result: &Result<u64, CommitError>) {
        match result {
            Ok(_) => self.commits_made.inc(),
            Err(CommitError::Conflict { .. }) => self.commits_conflicting.inc(),
            Err(CommitError::Write(_) | CommitError::Elsewhere | CommitError::Closed) => {
                self.commits_failed.inc()
            }
        }
    }

    /// A caller may not make this call, which goes by its name in the protocol.
    pub fn refused(&self, rpc: &'static str) {
        self.refusals.with(&[rpc]).inc();
    }
}

/// A store whose commits are counted.
pub struct Counted {
    pub store: Arc<dyn Store>,
    pub metrics: Metrics,
}

impl Store for Counted {
    fn follow(&self, sink: Sink) -> Result<(u64, Vec<Record>), ReadError> {
        self.store.follow(sink)
    }

    fn commit(&self, writes: Vec<Write>) -> Commit<'_> {
        Box::pin(async move {
            let result = self.store.commit(writes).await;
            self.metrics.committed(&result);
            result
        })
    }
}

fn collect(registry: &Registry, catalog: Arc<Catalog>, sessions: Arc<Sessions>) {
    registry.collect(move |sink| {
        let sessions = sessions.counts();
        sink.gauge(&SESSIONS, &[], sessions.live as f64);
        sink.gauge(&BEHIND, &[], sessions.behind as f64);
        sink.gauge(&REFUSING, &[], sessions.refusing as f64);
        sink.counter(&ENTERED, &[], sessions.entered as f64);
        let counts = catalog.counts();
        sink.gauge(&REGISTRATIONS, &[], counts.registrations as f64);
        sink.gauge(&SERVICES, &[], counts.services as f64);
        sink.gauge(&REVISION, &[], catalog.revision() as f64);
    });
}

fn collect_trust(registry: &Registry, authority: Arc<Authority>) {
    let seconds = |time: SystemTime| {
        time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64()
    };
    registry.collect(move |sink| {
        let view = authority.view();
        if let Some(root) = view.signing_root() {
            sink.gauge(&ROOT_ENDS, &[], seconds(root.not_after));
        }
        sink.gauge(&ISSUER_ENDS, &[], seconds(view.issuer.not_after));
        sink.gauge(&ROOTS, &[], view.roots.len() as f64);
        let phase = match view.rotation.as_ref().map(|rotation| rotation.phase) {
            None => 0.0,
            Some(Phase::Distribute) => 1.0,
            Some(Phase::Use) => 2.0,
            Some(Phase::Retire | Phase::Settle) => 3.0,
        };
        sink.gauge(&PHASE, &[], phase);
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::ca::Lifetimes;
    use crate::control::files::tests::Folder;
    use crate::control::store::{Key, Shelf};
    use crate::model::TrustDomain;
    use crate::telemetry::metrics::Format;

    #[test]
    fn all_of_them_are_on_the_page() {
        let registry = Registry::default();
        let catalog = Arc::new(Catalog::new(TrustDomain::default(), 17, &[]));
        let folder = Folder::new("metrics");
        let (domain, now) = (TrustDomain::default(), SystemTime::now());
        let authority = Authority::open(&folder.0, &domain, Lifetimes::default(), now);
        let authority = Arc::new(authority.expect("an authority"));
        let metrics = Metrics::new(&registry, &catalog, &Arc::default(), &authority);
        metrics.issuer_refused.inc();
        metrics.enrolled.inc();
        metrics.committed(&Ok(1));
        let key = Key { shelf: Shelf::Tokens, name: "t".into() };
        metrics.committed(&Err(CommitError::Conflict { key, found: None }));
        metrics.committed(&Err(CommitError::Closed));
        metrics.refused("Apply");
        let page = registry.render(Format::Prometheus);
        for line in [
            "outrigger_control_sessions 0",
            "outrigger_control_sessions_opened_total 0",
            "outrigger_control_sessions_behind 0",
            "outrigger_control_sessions_refusing 0",
            "outrigger_control_registrations 0",
            "outrigger_control_services 0",
            "outrigger_control_revision 17",
            "outrigger_control_roots 1",
            "outrigger_control_root_rotation_phase 0",
            "outrigger_control_issuer_files_total{result=\"taken\"} 0",
            "outrigger_control_issuer_files_total{result=\"refused\"} 1",
            "outrigger_control_certificates_issued_total{result=\"enrolled\"} 1",
            "outrigger_control_certificates_issued_total{result=\"renewed\"} 0",
            "outrigger_control_certificates_issued_total{result=\"refused\"} 0",
            "outrigger_control_updates_sent_total 0",
            "outrigger_control_updates_refused_total 0",
            "outrigger_control_commits_total{result=\"made\"} 1",
            "outrigger_control_commits_total{result=\"conflict\"} 1",
            "outrigger_control_commits_total{result=\"failed\"} 1",
            "outrigger_control_refusals_total{rpc=\"Apply\"} 1",
            concat!("outrigger_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"} 1"),
        ] {
            assert!(page.lines().any(|l| l == line), "{line} is missing in {page}");
        }
        assert!(page.contains("\nprocess_open_fds "));
        for ends in ["root", "issuer"] {
            let name = format!("outrigger_control_{ends}_expiry_timestamp_seconds ");
            let shown = page.lines().find_map(|line| line.strip_prefix(&name));
            let shown: f64 = shown.and_then(|text| text.parse().ok()).expect("a number");
            assert!(shown > 1e9, "{ends}: {shown}");
        }
    }
}
