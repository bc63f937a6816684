//! What the control plane costs, and how fast it tells: measured, never judged.
//!
//! The control plane and the sidecar are the real binaries, each a process of its own. Most
//! sidecars are simulated here, on one thread of this process: real sessions over mutual TLS,
//! HTTP/2 and gRPC, with the sidecar's own way to dial and its own pace. They share fifty
//! certificates, because enrolling thousands would only measure signatures; a session is by
//! connection, so nothing else is shared. `cargo bench --bench control_plane -- fanout memory
//! reconnects sidecar`; without words, all four, in some three minutes.

mod fanout;
mod fleet;
mod memory;
mod plane;
mod reconnects;
mod sidecar;
mod table;

use std::future::Future;
use std::process::ExitCode;

use tokio::task::LocalSet;

#[global_allocator]
static ALLOCATOR: outrigger::runtime::Allocator = outrigger::runtime::Allocator;

/// The namespace of everything here.
const NAMESPACE: &str = "bench";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let known = ["fanout", "memory", "reconnects", "sidecar"];
    if let Some(word) = words.iter().find(|word| !known.contains(&word.as_str())) {
        eprintln!("there is no part {word:?}: there are {}", known.join(", "));
        return ExitCode::FAILURE;
    }
    outrigger::runtime::socket::raise_open_files().expect("the limit on open files can be raised");
    let wanted = |part: &str| words.is_empty() || words.iter().any(|word| word == part);
    if wanted("fanout") {
        alone(fanout::measure());
    }
    if wanted("memory") {
        alone(memory::measure());
    }
    if wanted("reconnects") {
        alone(reconnects::measure());
    }
    if wanted("sidecar") {
        alone(sidecar::measure());
    }
    ExitCode::SUCCESS
}

/// Runs a part on this thread; what it started ends with it.
fn alone(part: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime");
    LocalSet::new().block_on(&runtime, part);
}
