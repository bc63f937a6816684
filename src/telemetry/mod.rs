//! What the mesh tells about itself: metrics, the access log, trace headers and the program's own
//! log. This room only records and renders: it opens no port and dials nobody, and nothing here
//! makes a request wait. What can grow (series, queues, repeated keys) has a stated bound.
//! Every room keeps handles from [`metrics::Registry`]; `inbound` and `outbound` write an
//! [`exchange`], which becomes an [`access_log`] entry, a [`span`] and what whoever [`tap`]s sees;
//! whoever sends spans on takes them from its queue ([`spans`]); `app` sets up [`log`] and [`process`].

pub mod access_log;
pub mod exchange;
mod hex;
pub mod ids;
pub mod log;
pub mod mask;
pub mod metrics;
pub mod panics;
pub mod process;
pub mod reporter;
pub mod request_id;
mod settings;
pub mod span;
pub mod spans;
pub mod tap;
mod timestamp;
pub mod trace_context;
pub mod tracer;
pub mod traffic;
pub mod values;

pub use settings::*;
pub use timestamp::Timestamps;

/// Why a part of telemetry could not be set up or changed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The level is none of [`log::LEVELS`]; the caller's input is wrong.
    #[error("unknown log level {0:?}: use error, warn, info, debug or trace")]
    UnknownLevel(String),
    /// This process already logs elsewhere: [`log::init`] was called twice.
    #[error("the process already has a log")]
    LogTaken(#[source] tracing::dispatcher::SetGlobalDefaultError),
    /// The log that the handle belongs to is gone.
    #[error("the log is gone")]
    LogGone(#[source] tracing_subscriber::reload::Error),
    /// The access log's thread or its output could not be had.
    #[error("the access log cannot start")]
    AccessLog(#[source] std::io::Error),
}
