//! What the scenarios are told with: an API server, a control plane and sidecars, all of them real
//! processes in one network namespace, where each pod has an address of its own.
//!
//! Everything here blocks; processes and folders end with the value that owns them.

mod app;
mod cluster;
mod folder;
mod network;
mod objects;
mod plane;
mod process;
mod sidecar;

use std::path::PathBuf;
use std::time::{Duration, Instant};

pub use app::{Answer, App, ask};
pub use cluster::Cluster;
pub use folder::Folder;
pub use network::{free_address, network};
pub use objects::{crd, pod, running, service, slice};
pub use plane::Plane;
pub use process::Process;
pub use sidecar::Sidecar;

/// How long a condition may take that should hold soon; generous, since the machine may be busy.
pub const SOON: Duration = Duration::from_secs(30);

/// Waits until `condition` holds.
///
/// # Panics
/// With `what` when it does not hold within [`SOON`].
#[track_caller]
pub fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let until = Instant::now() + SOON;
    while !condition() {
        assert!(Instant::now() < until, "not within {SOON:?}: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The folder with the API server's binaries; `None`, and a line that says so, without one.
pub fn assets() -> Option<PathBuf> {
    let folder = std::env::var_os("KUBEBUILDER_ASSETS").map(PathBuf::from);
    if folder.is_none() {
        eprintln!("skipped: KUBEBUILDER_ASSETS names no folder with kube-apiserver and etcd");
    }
    folder
}
