//! The pages: live state as JSON, and an index for people.
//!
//! Each says which version of the picture it shows, and where that came from and how old it is.

mod connections;
mod explain;
mod limits;
mod policies;
mod routes;
mod services;
mod tokens;
mod written;

#[cfg(test)]
mod tests;

use std::time::Instant;

use serde_json::{Value, json};

use super::view::View;
use crate::agent::session::{Facts, Status};
use crate::http::answers::{self, Answer, timestamp};
use crate::http::reasons;
use crate::outbound::{Backend, Snapshot, Target};
use crate::resources::suggestion;
use crate::runtime::Phase;

pub use connections::{certificates, connections, plaintext};
pub use explain::explain;
pub use policies::policies;
pub use routes::routes;
pub use services::{endpoints, services};

/// Adds where it comes from, and how old it is.
fn told(view: &View, mut page: Value) -> Value {
    if let Some(status) = &view.control_plane {
        page["controlPlane"] = control_plane(status);
    }
    page
}

fn control_plane(status: &Status) -> Value {
    let Facts { connected, since, version, updated, heard, error, renews: _, refusals, ungoverned } =
        status.facts();
    let age = |heard: Instant| heard.elapsed().as_millis() as u64;
    json!({
        "address": status.address,
        "connected": connected,
        "since": since.map(timestamp),
        "version": version,
        "lastUpdate": updated.map(timestamp),
        "ageMs": heard.map(age),
        "error": error,
        "registrationRefused": refusals,
        "policiesRefused": ungoverned,
    })
}

/// Every service, by name; also those that only routes send to.
fn backends(snapshot: &Snapshot) -> Vec<&Backend> {
    let mut backends: Vec<_> = snapshot.backends.values().map(|backend| &**backend).collect();
    backends.sort_by(|a, b| a.label.cmp(&b.label));
    backends
}

/// Every service that may be asked for, by name.
fn targets(snapshot: &Snapshot) -> Vec<&Target> {
    let mut targets: Vec<_> = snapshot.targets.values().map(|target| &**target).collect();
    targets.sort_by(|a, b| a.backend.label.cmp(&b.backend.label));
    targets
}

/// `/reasons`, or what to do about one of them.
pub fn reason(word: &str) -> Answer {
    reasons::answer(word, |word| suggestion(word, reasons::words(), String::new))
}

/// A page for people: what this is, whether it is well, and where to look on.
pub fn index(view: &View) -> Answer {
    let state = match view.drain.phase() {
        Phase::Serving if view.readiness.missing().is_empty() => "ready".to_owned(),
        Phase::Serving => format!("waiting for {}", view.readiness.missing().join(", ")),
        Phase::Draining | Phase::Refusing | Phase::Closing => "draining".to_owned(),
    };
    let identity = view.credentials.load_full();
    let identity = identity.as_ref().map_or("none", |credentials| credentials.svid().id().as_str());
    let snapshot = view.snapshot.load();
    let rows = [
        ("workload", view.workload.to_string()),
        ("state", state),
        ("identity", identity.to_owned()),
        ("services", snapshot.targets.len().to_string()),
        ("open connections", view.drain.open_connections().to_string()),
        ("version", env!("CARGO_PKG_VERSION").to_owned()),
    ];
    let links = [
        "/services",
        "/endpoints",
        "/routes",
        "/policies",
        "/connections",
        "/plaintext",
        "/certs",
        "/config",
        "/metrics",
        "/ready",
        "/log",
        "/reasons",
    ];
    let asks = "<code>/explain?service=name.namespace:port&amp;method=GET&amp;path=/</code>";
    let changes = "<code>POST /drain</code>, <code>POST /shutdown</code>, \
                   <code>POST /log?level=debug</code>";
    let profile = "<code>/debug/pprof/profile?seconds=30</code>";
    let taps = "<code>/tap?status=5xx&amp;path=/orders*</code>";
    let asked = format!(
        "{changes}. What would become of a request: {asks}. Requests as they end: {taps}. Where CPU time goes: {profile}"
    );
    answers::index(&view.workload, &rows, &links, &asked)
}
