//! The app's probes, asked on its behalf: kubelet has no certificate, so a port that takes mutual
//! TLS only would look dead to it. It asks this listener instead, and this asks the app.
//!
//! `GET /probe/<container>/<startup|liveness|readiness>` answers anyone, and asks nobody but the
//! targets that the configuration names, on loopback, never through the sidecar's own listeners.
//! Only a judgement like kubelet's is passed on, never the app's words: who may read those is the
//! app's port to say. A target is asked once at a time; who asks meanwhile gets that answer, and
//! where too many wait the one before: strangers can't crowd kubelet out. It runs beside the data
//! plane, from the start to the very end: a draining sidecar must not get its app killed.

mod believe;
mod dial;
mod grpc;
mod http;
mod place;
mod server;
mod settings;
mod target;

pub use server::serve;
pub use settings::{Ask, Grpc, Header, Http, Probe, Settings, Target};
