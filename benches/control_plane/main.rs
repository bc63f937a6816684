//! What the control plane costs, and how fast it tells: measured, never judged.
//!
//! The control plane and the sidecar are the real binaries, each a process of its own. Most
//! sidecars are simulated here, on one thread of this process: real sessions over mutual TLS,
//! HTTP/2 and gRPC, with the sidecar's own way to dial and its own pace. They share fifty
//! certificates, because enrolling thousands would only measure signatures; a session is by
//! connection, so nothing else is shared. `cargo bench --bench control_plane -- fanout memory
//! reconnects seeing sidecar`; without words, these five, in some seven minutes. `cluster` has to
//! be asked for: it needs an API server and some twenty minutes, and there each has its own
//! certificate; `cluster 1000` stops at a thousand sidecars.

mod cluster;
mod fanout;
mod fleet;
#[allow(dead_code, unused_imports, reason = "the scenarios use more of it")]
#[path = "../../tests/kubernetes/harness/mod.rs"]
mod harness;
mod memory;
mod plane;
mod reconnects;
mod seeing;
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
    let known = ["cluster", "fanout", "memory", "reconnects", "seeing", "sidecar"];
    let (sizes, words): (Vec<String>, Vec<String>) =
        words.into_iter().partition(|word| word.parse::<usize>().is_ok());
    if let Some(word) = words.iter().find(|word| !known.contains(&word.as_str())) {
        eprintln!("there is no part {word:?}: there are {}", known.join(", "));
        return ExitCode::FAILURE;
    }
    outrigger::runtime::descriptors::raise().expect("the limit on open files can be raised");
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
    if wanted("seeing") {
        alone(seeing::measure());
    }
    if wanted("sidecar") {
        alone(sidecar::measure());
    }
    // In a network of its own, where this thread stays.
    if words.iter().any(|word| word == "cluster")
        && let Some(cluster) = cluster::begin()
    {
        let most = sizes.iter().filter_map(|size| size.parse().ok()).max();
        alone(cluster::measure(cluster.kubeconfig(), most.unwrap_or(usize::MAX)));
    }
    ExitCode::SUCCESS
}

/// Runs a part on this thread; what it started ends with it.
fn alone(part: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime");
    LocalSet::new().block_on(&runtime, part);
}
