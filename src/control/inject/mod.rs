//! The injector: a pod as its author wrote it, to the same pod with a sidecar.
//!
//! `pod` is the core: pure, over JSON with its order kept, so that what we don't know is not lost.
//! `annotations` (what the pod asks for) → `conflicts` (what can't be) → `probes`, `sidecar`, `rules`
//! (what is added). Two doors lead to it and give the same result: `documents` for manifests on
//! disk, `webhook` for the API server. Invariant: a pod is injected as a whole,
//! refused with a sentence, or left alone for a reason that is said.

mod annotations;
mod conflicts;
mod documents;
mod json;
mod manifest;
mod patch;
mod pod;
mod probes;
mod rules;
mod sidecar;
mod table;
#[cfg(test)]
mod tests;
mod values;
mod webhook;

use std::fmt;

use serde_json::Value;

pub use annotations::INJECTED;
pub use documents::{Printed, documents};
pub use pod::{Asked, inject};
pub use sidecar::is_in as has_sidecar;
pub use table::table;
pub use webhook::{Injector, NamespaceLabels};

use super::webhook::Cause;
use crate::model::{CONTROL_PLANE_NAMESPACE, TrustDomain};

/// Of the proxy's image and of the mark that an injected pod carries.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// What the sidecar's container is called.
pub const SIDECAR: &str = "outrigger-proxy";

/// The label of a namespace or pod, and annotation of a pod, by which it opts in or out.
pub const INJECT: &str = "outrigger.dev/inject";

/// The name under which the API server calls the webhook: in the certificate, and in its
/// `clientConfig.service`.
pub const WEBHOOK_HOST: &str = "outrigger-control-plane.outrigger-system.svc";

/// Nothing is injected here: what runs in them has to work before the mesh does.
pub const EXEMPT: [&str; 2] = ["kube-system", CONTROL_PLANE_NAMESPACE];

/// What is the same for every pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    pub proxy_image: String,
    pub trust_domain: TrustDomain,
    /// `host:port`, as a sidecar reaches it.
    pub control_plane: String,
    pub traces: Traces,
    /// Native sidecars unless a pod says otherwise; false for clusters before 1.29.
    pub native_sidecars: bool,
}

impl Settings {
    /// The proxy of our own version, and a control plane where `outrigger install` puts it.
    pub fn new(trust_domain: TrustDomain) -> Settings {
        Settings {
            proxy_image: proxy_image(),
            trust_domain,
            control_plane: format!("{WEBHOOK_HOST}:15010"),
            traces: Traces::default(),
            native_sidecars: true,
        }
    }
}

/// What sidecars do with traces unless their pod says otherwise; what is not said here either, the
/// sidecar has a default for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Traces {
    /// Where spans go.
    pub otlp_endpoint: Option<String>,
    /// Of the traces that nobody has decided on, 0.0 to 1.0.
    pub sample_ratio: Option<String>,
}

/// Where spans go, as annotations say it too.
///
/// # Errors
/// What would do.
pub fn otlp_endpoint(text: &str) -> Result<String, String> {
    values::url(text).ok_or_else(|| format!("expected {}", values::URL))
}

/// A share of traces, as annotations say it too.
///
/// # Errors
/// What would do.
pub fn sample_ratio(text: &str) -> Result<String, String> {
    values::ratio(text).ok_or_else(|| "expected a number from 0.0 to 1.0".to_owned())
}

/// That of our own version.
pub fn proxy_image() -> String {
    format!("outrigger-proxy:{VERSION}")
}

/// What became of a pod that is not refused.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    Injected(Injected),
    Skipped(Skipped),
}

/// A pod with a sidecar.
#[derive(Clone, Debug, PartialEq)]
pub struct Injected {
    pub pod: Value,
    /// What its author should know all the same.
    pub remarks: Vec<Remark>,
}

/// Why a pod is left as it is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Skipped {
    #[error("neither the pod nor its namespace asks for it (label outrigger.dev/inject: enabled)")]
    NotAsked,
    #[error("it says outrigger.dev/inject: disabled")]
    OptedOut,
    #[error("already injected")]
    Already,
    #[error("hostNetwork: it shares the node's network, where nothing may be redirected")]
    HostNetwork,
    #[error("namespace {0} is exempt: what runs there has to work before the mesh does")]
    Exempt(String),
    #[error("it is a static pod, which the node runs as its own file says")]
    Static,
    #[error("it is for Windows nodes, which the sidecar does not run on")]
    Windows,
}

/// Keys and indices from the document's root to a field.
pub type Path = Vec<String>;

/// Why a pod can't be injected: the field, the cause and the cure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub path: Path,
    pub message: String,
}

/// Something about a field that stays as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remark {
    pub path: Path,
    pub message: String,
}

impl Refusal {
    /// For programs.
    fn cause(&self) -> Cause {
        Cause { field: json::field(&self.path), message: self.message.clone() }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        said(f, &self.path, &self.message)
    }
}

impl fmt::Display for Remark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        said(f, &self.path, &self.message)
    }
}

fn said(f: &mut fmt::Formatter<'_>, path: &[String], message: &str) -> fmt::Result {
    let field = json::field(path);
    write!(f, "{field}{}{message}", if field.is_empty() { "" } else { ": " })
}
