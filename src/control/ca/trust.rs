//! What is trusted, since when, and how far a root's replacement has come: one document, replaced as
//! a whole.
//!
//! Until something is rotated or brought in there is none: the root is trusted, and signs. A
//! replacement carries all that is new in this document, so that each of its steps is one write: a
//! control plane that is killed finds the step before or the one after, and in neither is anything
//! signed below a root that the bundle doesn't hold. Only the last step copies files, and the
//! document says that it has to be done again until it is. Callers: `changes` and `held`.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::identity::{self, TrustBundle, certificates};

/// Of the first root; each change of the roots counts on.
const FIRST_GENERATION: u64 = 1;

/// How far the replacement of a root has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// The new one is in the bundle; everybody has to have it before anything is signed below it.
    Distribute,
    /// Workloads get certificates below the new one. The control plane itself goes on showing one
    /// below the old, which everybody knows.
    Use,
    /// No certificate of a workload below the old one is left; the control plane shows one below the
    /// new.
    Retire,
    /// The old one has left the bundle; what is new takes its place among the files.
    Settle,
}

impl Phase {
    pub fn as_str(self) -> &'static str {
        match self {
            Phase::Distribute => "distribute",
            Phase::Use => "use",
            Phase::Retire => "retire",
            Phase::Settle => "settle",
        }
    }
}

/// Who made a root and an issuer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// We did, and renew the issuer.
    Own,
    /// Somebody else did, and brings in the next issuer in time.
    Imported,
}

/// The document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Trust {
    /// Counts changes of this document.
    pub revision: u64,
    /// Counts changes of the roots.
    pub generation: u64,
    pub roots: Vec<Trusted>,
    /// Of the files beside.
    pub origin: Origin,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotation: Option<Rotation>,
}

/// A root in the bundle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Trusted {
    /// In PEM.
    pub certificate: String,
    /// In milliseconds since 1970; 0: since the mesh began.
    pub since_ms: i64,
}

/// A replacement under way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Rotation {
    pub phase: Phase,
    /// In milliseconds since 1970, as all of these.
    pub began_ms: i64,
    /// Since when it is in this phase.
    pub since_ms: i64,
    /// When the last certificate below the old root ends; 0 before the new one is used.
    #[serde(default)]
    pub old_leaves_end_ms: i64,
    pub next: Lineage,
}

/// A root and an issuer below it, in PEM.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Lineage {
    pub root: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root_key: Option<String>,
    pub issuer: String,
    pub issuer_key: String,
    pub origin: Origin,
}

impl std::fmt::Debug for Lineage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lineage").field("origin", &self.origin).finish_non_exhaustive()
    }
}

impl Trust {
    /// Of a mesh that has had one root, ever.
    pub fn first(root: String) -> Self {
        Self {
            revision: 0,
            generation: FIRST_GENERATION,
            roots: vec![Trusted { certificate: root, since_ms: 0 }],
            origin: Origin::Own,
            rotation: None,
        }
    }

    /// # Errors
    /// When a root of it is none.
    pub fn bundle(&self) -> Result<TrustBundle, identity::Error> {
        let mut all = Vec::new();
        for root in &self.roots {
            all.extend(certificates(root.certificate.as_bytes())?);
        }
        TrustBundle::new(all, self.generation)
    }

    pub fn phase(&self) -> Option<Phase> {
        self.rotation.as_ref().map(|rotation| rotation.phase)
    }

    /// The next phase begins.
    pub fn enter(&mut self, phase: Phase, now: SystemTime) {
        self.revision += 1;
        if let Some(rotation) = &mut self.rotation {
            (rotation.phase, rotation.since_ms) = (phase, to_ms(now));
        }
    }
}

/// Milliseconds since 1970.
pub(super) fn to_ms(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// What [`to_ms`] wrote.
pub(super) fn from_ms(ms: i64) -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(u64::try_from(ms).unwrap_or_default())
}
