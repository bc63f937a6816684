//! Where a sidecar's identity and picture of the mesh come from: one session with the control
//! plane (`session`), or files (`files`).
//!
//! Beside that, `tokens` fetches what callers' tokens are verified by. Either way the last good certificate and the last good picture stay in use until there is a
//! better one, and the data plane finds both behind one pointer each. `convert` is the door at which
//! the protocol's types end.

mod convert;
mod files;
mod hosts;
mod mapper;
mod metrics;
pub mod session;
mod tokens;

pub use files::{POLL, watch_identity, watch_resources};
pub use metrics::CertificateMetrics;
pub use tokens::follow as follow_tokens;
