//! Who may call what: rules of `AccessPolicy`, over real sockets.

mod paths;
mod plane;
mod requests;
mod streams;
mod tokens;

use std::net::SocketAddr;

use crate::harness::yaml::access;
use crate::harness::{Mesh, Pair, Sidecar, Wire, eventually, tls};

/// The identity of the callers that go through the client's sidecar.
const CLIENT: &str = "spiffe://cluster.local/ns/default/sa/client";

/// One instance under a policy of its namespace, and a caller's sidecar.
fn under(app: SocketAddr, spec: &str) -> Mesh {
    Pair::at(app).inbound_resources(&access("name: all", spec)).start()
}

/// A policy of the namespace takes the place of the one before.
#[track_caller]
fn govern(mesh: &Mesh, spec: &str) {
    mesh.govern(&access("name: all", spec));
}

/// A caller of that name who comes by mutual TLS, and whom no sidecar corrects.
fn meshed(mesh: &Mesh, name: &str) -> Wire<impl std::io::Read + std::io::Write> {
    let config = tls::client(Some(&mesh.certs.issue(name)), &["outrigger-h1"]);
    tls::connect(mesh.mesh_ports[0], config).expect("mutual TLS")
}

/// Waits for an audit entry of this kind, and gives it.
#[track_caller]
fn await_audit(sidecar: &Sidecar, action: &str, decision: &str) -> serde_json::Value {
    let mut found = None;
    eventually(&format!("an audit entry for {action}: {decision}"), || {
        found = sidecar.access_log().into_iter().find(|entry| {
            entry["kind"] == "audit" && entry["action"] == action && entry["decision"] == decision
        });
        found.is_some()
    });
    found.expect("it was waited for")
}
