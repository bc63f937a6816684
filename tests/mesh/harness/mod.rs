//! What the scenarios are told with: real sidecar processes, apps with scripts, and clients that
//! see every byte.
//!
//! Everything here blocks; a scenario is read from top to bottom. Only what speaks HTTP/2 is async
//! (`h2`). Processes, apps and folders end with the value that owns them. Nothing sleeps for a
//! fixed time where a condition can be waited for ([`eventually`]).

mod app;
mod certs;
mod control_plane;
mod echoes;
mod folder;
mod load;
mod lone;
mod member;
mod message;
pub mod mounts;
mod pair;
mod pods;
mod ports;
mod script;
mod services;
mod sidecar;
mod table;
mod wire;

pub mod browser;
pub mod caller;
pub mod grpc;
pub mod h2_app;
pub mod host;
pub mod pod;
pub mod processes;
pub mod public_ca;
pub mod tls;
pub mod yaml;

use std::time::{Duration, Instant};

pub use app::{App, refused_address};
pub use certs::{Certs, spiffe};
pub use control_plane::{ControlPlane, outrigger, service};
pub use echoes::Echoes;
pub use folder::Folder;
pub use load::Load;
pub use lone::{Afloat, Lone};
pub use member::Member;
pub use message::{Broken, Message};
pub use pair::{Mesh, Pair};
pub use pods::{Family, Pods};
pub use ports::free_address;
pub use script::{Backend, Call, Script};
pub use services::{Callers, Services};
pub use sidecar::Sidecar;
pub use table::{Row, row, table};
pub use wire::Wire;

/// How long a condition may take that should hold soon. Generous: the machine may be busy with all
/// the other scenarios.
pub const SOON: Duration = Duration::from_secs(10);

/// Waits until `condition` holds.
///
/// # Panics
/// With `what` when it does not hold within [`SOON`].
#[track_caller]
pub fn eventually(what: &str, condition: impl FnMut() -> bool) {
    within(SOON, what, condition);
}

/// Waits until `condition` holds, as long as `limit`.
#[track_caller]
pub fn within(limit: Duration, what: &str, mut condition: impl FnMut() -> bool) {
    let until = Instant::now() + limit;
    while !condition() {
        assert!(Instant::now() < until, "not within {limit:?}: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Bytes that betray a loss, a repetition or a swap anywhere in them.
pub fn pattern(len: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64 ^ len as u64;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// A GET on a connection that stays.
pub fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: app.default\r\n\r\n")
}

/// A GET with further header lines, each with its CRLF.
pub fn get_with(path: &str, lines: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: app.default\r\n{lines}\r\n")
}

/// A POST with a length.
pub fn post(path: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: app.default\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

/// A body in chunks of these sizes, over and over, with its end.
pub fn chunked(body: &[u8], sizes: &[usize]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = body;
    for size in sizes.iter().cycle() {
        let (chunk, later) = rest.split_at((*size).min(rest.len()));
        if chunk.is_empty() {
            break;
        }
        out.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        out.extend_from_slice(chunk);
        out.extend_from_slice(b"\r\n");
        rest = later;
    }
    out.extend_from_slice(b"0\r\n\r\n");
    out
}

/// Runs a scenario over one plaintext hop, and over the pair with mutual TLS.
pub fn each_way(app: impl Fn() -> App, scenario: impl Fn(&Mesh, &App)) {
    for (way, pair) in [("one hop", Pair::bare as fn(_) -> _), ("the pair", Pair::at)] {
        eprintln!("over {way}:");
        let app = app();
        scenario(&pair(app.address).start(), &app);
    }
}
