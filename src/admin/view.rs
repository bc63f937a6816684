//! What the admin port looks at: handles to the live state, and a way to command the process.

use std::sync::Arc;

use arc_swap::{ArcSwap, ArcSwapOption};
use tokio::sync::mpsc;

use crate::access::Access;
use crate::agent::session::Status;
use crate::inbound::Plaintext;
use crate::limit::load::Gates;
use crate::limit::rate::Rates;
use crate::outbound::Snapshot;
use crate::runtime::{Drain, Readiness};
use crate::serve::Ledger;
use crate::telemetry::log::LogHandle;
use crate::telemetry::metrics::Registry;
use crate::telemetry::tap::Taps;
use crate::tls::Credentials;

/// What a person, or a signal, tells the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Begin to leave, and stay until nothing is open.
    Drain,
    /// Leave now.
    Shutdown,
}

/// Everything that the pages show.
#[derive(Clone)]
pub struct View {
    /// `name.namespace`.
    pub workload: Arc<str>,
    /// The effective configuration; secrets are not in it.
    pub config: Arc<ArcSwap<serde_json::Value>>,
    pub credentials: Arc<ArcSwapOption<Credentials>>,
    pub snapshot: Arc<ArcSwap<Snapshot>>,
    /// Who may call the workload.
    pub access: Arc<Access>,
    /// How often.
    pub rates: Arc<Rates>,
    /// How much at once.
    pub gates: Arc<Gates>,
    /// Who did so without proving who it is.
    pub plaintext: Arc<Plaintext>,
    pub ledger: Ledger,
    pub registry: Registry,
    pub readiness: Readiness,
    pub drain: Drain,
    pub taps: Taps,
    pub log: LogHandle,
    pub commands: mpsc::Sender<Command>,
    /// How it stands with the control plane; absent: everything comes from files.
    pub control_plane: Option<Arc<Status>>,
}
