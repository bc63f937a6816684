//! `outrigger demo`: a small shop on this machine, every hop of it through sidecars.
//!
//! The apps run in this process, the sidecars are processes of their own, started from this very
//! executable. Invariant: whatever way the demo ends, no process and no file of it is left. What it
//! reports is observed, not assumed: identities come from the far side of each hop. Called by the
//! CLI.
//!
//! `shop` (who there is and who calls whom) → `folder` (certificates, configuration) → `sidecar`
//! (processes) → `apps` and `load` (traffic) → `tally` (what happened) → `table`, `report`.

use std::error::Error as StdError;
use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::sleep;

use crate::model::NameError;
use crate::runtime::workers::local_runtime;

mod apps;
mod client;
mod folder;
mod histogram;
mod load;
mod report;
mod shop;
mod sidecar;
mod table;
mod tally;
mod watch;

use client::Client;
use load::Load;
use report::Report;
use shop::Shop;
use sidecar::Fleet;
use tally::Tally;

/// How the demo runs.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// How long the load lasts; absent: until it is told to end.
    pub length: Option<Duration>,
    /// Requests per second, at least 1.
    pub rate: u32,
    /// The result is one JSON object.
    pub json: bool,
    /// The shop stays open when the load has ended.
    pub keep: bool,
}

/// Why there is no demo to see.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("the demo can't {doing}")]
    System {
        doing: &'static str,
        #[source]
        source: io::Error,
    },
    #[error("{} can't be written", .0.display())]
    Write(PathBuf, #[source] io::Error),
    #[error("no certificate can be made")]
    Certificate(#[source] rcgen::Error),
    #[error("a workload of the shop can't have an identity")]
    Identity(#[source] NameError),
    #[error("the sidecar of {name} left ({status}) before it was ready; its log ends with\n{log}")]
    Left { name: String, status: String, log: String },
    #[error(
        "the sidecar of {name} is not ready after {waited:?}: {missing}; its log ends with\n{log}"
    )]
    NotReady { name: String, waited: Duration, missing: String, log: String },
    #[error("it was told to end before everything was ready")]
    Interrupted,
}

fn doing(doing: &'static str) -> impl Fn(io::Error) -> Error {
    move |source| Error::System { doing, source }
}

/// The whole demo: 0 when no request failed, else 1.
pub fn run(options: &Options) -> ExitCode {
    match open_shop(options) {
        Ok(report) if report.is_flawless() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            let _ = writeln!(io::stderr(), "error: {}", explain(&error));
            ExitCode::FAILURE
        }
    }
}

/// An error and what it stems from, on one line.
fn explain(error: &dyn StdError) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(&format!(": {error}"));
        source = error.source();
    }
    text
}

fn open_shop(options: &Options) -> Result<Report, Error> {
    // Dropped last to first: the runtime takes every connection of the apps with it, so that the
    // sidecars have nothing to wait for, and then the fleet takes the processes and the folder.
    let mut fleet = Fleet::default();
    let runtime = local_runtime().map_err(doing("start its runtime"))?;
    let result = runtime.block_on(async {
        let mut stop = Stop::new().map_err(doing("listen for signals"))?;
        trade(options, &mut fleet, &mut stop).await
    });
    drop(runtime);
    fleet.stop();
    result
}

async fn trade(options: &Options, fleet: &mut Fleet, stop: &mut Stop) -> Result<Report, Error> {
    let tally = Tally::new();
    let mut shop = Shop::lay_out().map_err(doing("find free ports"))?;
    fleet.folder = Some(folder::Folder::furnish(&shop)?);
    shop.release_ports();
    fleet.launch(&shop)?;
    tokio::select! {
        ready = fleet.ready() => ready?,
        () = stop.told() => return Err(Error::Interrupted),
    }
    tally.happened(format!("{} sidecars are ready", fleet.len()));
    apps::open(&mut shop, &tally).map_err(doing("start the apps"))?;
    if options.keep {
        say(&guide(&shop, fleet));
    }
    let load = Load::new(Client::new(shop.entrance(), "web.shop"), &tally, options.rate);
    let report = drive(options, load, &shop, &tally, fleet, stop).await;
    present(options, &report, fleet);
    if options.keep && !stop.was_told {
        say("The load has ended; the shop stays open until Ctrl-C.\n");
        stop.told().await;
    }
    Ok(report)
}

/// Runs the load to its end while the table follows it.
async fn drive(
    options: &Options,
    load: Load,
    shop: &Shop,
    tally: &Arc<Tally>,
    fleet: &mut Fleet,
    stop: &mut Stop,
) -> Report {
    let length = options.length;
    let end = async {
        match length {
            Some(length) => tokio::select! { () = sleep(length) => {}, () = stop.told() => {} },
            None => stop.told().await,
        }
    };
    tally.happened(format!("the load begins: {} requests/s", options.rate));
    let mut watch = watch::Watch::new(shop, Arc::clone(tally), options);
    let took = tokio::select! {
        took = Rc::new(load).run(end) => took,
        never = watch.follow(fleet) => match never {},
    };
    tally.happened("the load has ended".into());
    watch.finish(fleet).await;
    Report::new(tally, took)
}

/// The result on standard output; what went wrong beside it.
fn present(options: &Options, report: &Report, fleet: &Fleet) {
    let text = if options.json { report.json() } else { report.text() };
    // A reader that left early has seen what it wanted.
    let _ = io::stdout().write_all(text.as_bytes());
    for (name, log) in fleet.logs_of_lost() {
        say(&format!("The log of {name}'s sidecar ends with\n{log}\n"));
    }
}

/// What to try by hand.
fn guide(shop: &Shop, fleet: &Fleet) -> String {
    let entrance = shop.entrance();
    let mut text = String::from("The shop is open. Through the mesh, as the workload shopper:\n");
    for path in ["/checkout/rope", "/catalogue", "/basket", "/follow"] {
        text.push_str(&format!("  curl http://{entrance}{path}\n"));
    }
    text.push_str("Ask a sidecar:\n");
    for (name, admin) in fleet.admins() {
        text.push_str(&format!("  outrigger proxy endpoints --admin {admin}   # {name}\n"));
    }
    if let Some(folder) = &fleet.folder {
        text.push_str(&format!("Configuration and logs: {}\n\n", folder.path().display()));
    }
    text
}

fn say(text: &str) {
    let _ = io::stderr().write_all(text.as_bytes());
}

/// Whether people watch the progress.
fn is_watched() -> bool {
    io::stderr().is_terminal()
}

/// The ways in which a terminal or a script ends a program.
struct Stop {
    signals: [Signal; 3],
    was_told: bool,
}

impl Stop {
    fn new() -> io::Result<Stop> {
        let signals = [
            signal(SignalKind::interrupt())?,
            signal(SignalKind::terminate())?,
            signal(SignalKind::hangup())?,
        ];
        Ok(Stop { signals, was_told: false })
    }

    /// Waits for the next signal.
    async fn told(&mut self) {
        let [interrupt, terminate, hangup] = &mut self.signals;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
        self.was_told = true;
    }
}
