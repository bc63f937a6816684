//! What policy and seeing cost: CPU microseconds a request of the sidecars. Measured, never judged.
//!
//! Real sidecars, processes of their own with one worker, between a load of 64 connections and an
//! app, both in this process, all on loopback. Their configurations take turns, so that what the
//! machine does meanwhile meets all of them; each turn starts them anew.
//!
//! `cargo bench --bench hop`, in a minute: one plaintext hop. Bare: one service. Full: the same
//! service behind 100 rules and every part of a policy that a request passes. Logged: full, and a
//! line of JSON for each request. Words after `--` are other builds of the sidecar, which take their
//! turns with this one. `-- pair`, in four minutes: a pair with mutual TLS between them, and what it
//! costs to see them.

mod collector;
mod load;
mod pair;
#[path = "../processes.rs"]
mod processes;
mod rows;
mod scenario;
mod sidecar;

use std::path::PathBuf;
use std::time::Duration;

use rows::Row;
use scenario::Configuration;
use sidecar::Sidecar;

const REPETITIONS: usize = 7;
const MEASURED: Duration = Duration::from_secs(2);
/// Of the app: the service has as many endpoints where it has a choice.
const ENDPOINTS: usize = 5;

fn main() {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    if words == ["pair"] {
        pair::measure();
    } else {
        hop(words.into_iter().map(PathBuf::from));
    }
}

fn hop(others: impl Iterator<Item = PathBuf>) {
    let own = PathBuf::from(env!("CARGO_BIN_EXE_outrigger-proxy"));
    let builds: Vec<PathBuf> = std::iter::once(own).chain(others).collect();
    let app = load::app(ENDPOINTS);
    let named = |is: Configuration, of: &PathBuf| match builds.len() {
        1 => is.name().to_owned(),
        _ => format!("{} {}", is.name(), of.display()),
    };
    let kinds = Configuration::ALL.iter();
    let mut turns: Vec<_> =
        kinds.flat_map(|is| builds.iter().map(|of| (*is, of, Row::new(named(*is, of))))).collect();
    for _ in 0..REPETITIONS {
        for (configuration, build, row) in &mut turns {
            let (address, admin) = (sidecar::free_address(), sidecar::free_address());
            let files = [
                ("sidecar.yaml", configuration.config(address, admin)),
                ("mesh.yaml", configuration.resources(&app)),
            ];
            let sidecar = Sidecar::start(build, address, &files);
            row.take_turn(address, MEASURED, || sidecar.cpu());
        }
    }
    // The first rows are the bare ones, a row for each build.
    let rows: Vec<Row> = turns.into_iter().map(|(.., row)| row).collect();
    rows::show(&rows, builds.len());
}
