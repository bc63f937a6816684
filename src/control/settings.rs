//! What a control plane is told when it starts. The command line fills it; nothing in it changes
//! while the process runs.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::kube;
use crate::model::{SpiffeId, TrustDomain};

/// Everything that a control plane is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The folder that it keeps everything in.
    pub data: PathBuf,
    /// Where sidecars and people reach it, over TLS.
    pub listen: SocketAddr,
    /// Where its admin port listens.
    pub admin_listen: SocketAddr,
    /// Whose identities it gives out.
    pub trust_domain: TrustDomain,
    /// How long a certificate lasts, from a second on.
    pub cert_lifetime: Duration,
    /// How long a registration outlives its session, from a second on.
    pub lease: Duration,
    /// The cluster that says everything about the mesh; absent: people and sidecars say it.
    pub kubernetes: Option<kube::Settings>,
    /// Who may configure the mesh with a certificate, beside the holder of the operator's token.
    pub operators: Vec<SpiffeId>,
    /// Bytes that it may take to remember what sidecars report of their traffic.
    pub memory_budget: usize,
    /// error, warn, info, debug or trace.
    pub log_level: String,
    /// One JSON object a line rather than text.
    pub log_json: bool,
}
