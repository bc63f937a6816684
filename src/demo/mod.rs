//! `outrigger demo`: a small shop on this machine, every hop of it through sidecars.
//!
//! The apps run in this process; the control plane and the sidecars are processes of their own,
//! started from this very executable. Invariant: whatever way the demo ends, no process and no file
//! of it is left. What it reports is observed, not assumed: identities come from the far side of
//! each hop. Called by the CLI.
//!
//! `shop` (who there is and who calls whom) → `fleet` (processes), `folder` (configuration),
//! `operator` (resources and tokens) → `apps` and `load` (traffic), `chaos` → `tally`, `toll` (what
//! happened) → `table`, `report`.

use std::cell::RefCell;
use std::error::Error as StdError;
use std::future::pending;
use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::pin::pin;
use std::process::ExitCode;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::sleep;

use crate::runtime::clock::Rng;
use crate::runtime::workers::local_runtime;

mod apps;
mod chaos;
mod client;
mod fleet;
mod folder;
mod guide;
mod histogram;
mod idle;
mod load;
mod operator;
mod ports;
mod process;
mod report;
mod shop;
mod table;
mod tally;
mod toll;
mod watch;

use chaos::Chaos;
use client::Client;
use fleet::{Fleet, Who, ready};
use load::Load;
use operator::OperatorError;
use report::Report;
use shop::Shop;
use table::Screen;
use tally::Tally;
use toll::Toll;

/// Of certificates, when nobody asks for trouble: each is replaced before anyone stops looking.
const LIFETIME: Duration = Duration::from_secs(60 * 60);

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
    /// Instances and the control plane leave or are killed, and come back, while the load runs.
    pub chaos: bool,
    /// What decides the order of that; absent: another each time.
    pub seed: Option<u64>,
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
    #[error("the demo can't {doing}")]
    Operator {
        doing: &'static str,
        #[source]
        source: OperatorError,
    },
    #[error("{what} left ({status}) before it was ready; its log ends with\n{log}")]
    Left { what: String, status: String, log: String },
    #[error("{what} is not done after {waited:?}: {missing}; its log ends with\n{log}")]
    Late { what: String, waited: Duration, missing: String, log: String },
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
    let shop = Shop::lay_out().map_err(doing("find free ports"))?;
    let lifetime = if options.chaos { chaos::LIFETIME } else { LIFETIME };
    // Dropped last to first: the runtime takes every connection of the apps with it, so that the
    // sidecars have nothing to wait for, and then the fleet takes the processes and the folder.
    let fleet = RefCell::new(Fleet::new(shop, lifetime)?);
    let runtime = local_runtime().map_err(doing("start its runtime"))?;
    let result = runtime.block_on(async {
        let mut stop = Stop::new().map_err(doing("listen for signals"))?;
        trade(options, &fleet, &mut stop).await
    });
    drop(runtime);
    result
}

async fn trade(
    options: &Options,
    fleet: &RefCell<Fleet>,
    stop: &mut Stop,
) -> Result<Report, Error> {
    let tally = Tally::new();
    tokio::select! {
        opened = open(fleet, &tally) => opened?,
        () = stop.told() => return Err(Error::Interrupted),
    }
    if options.keep {
        say(&guide::text(&fleet.borrow()));
    }
    let toll = RefCell::new(Toll::default());
    let seed = options.seed.unwrap_or_else(|| Rng::from_system().next_u64() % 1_000_000);
    let chaos = options.chaos.then(|| Chaos::new(seed, fleet, &toll, &tally));
    let report = drive(options, chaos.as_ref(), fleet, &toll, &tally, stop).await;
    present(options, &report, &fleet.borrow());
    if options.keep && !stop.was_told {
        say("The load has ended; the shop stays open until Ctrl-C.\n");
        stop.told().await;
    }
    Ok(report)
}

/// Starts everything, and waits until it is ready.
async fn open(fleet: &RefCell<Fleet>, tally: &Arc<Tally>) -> Result<(), Error> {
    let mut progress = is_watched().then(Screen::default);
    let mut say = |text: &str| progress.iter_mut().for_each(|screen| screen.draw(text));
    say("the control plane starts");
    fleet.borrow_mut().start_control_plane()?;
    ready(fleet, Who::ControlPlane).await?;
    tally.happened("the control plane is ready".into());
    fleet.borrow().hand_out_anchors()?;
    let operator = fleet.borrow().operator();
    let failed = |doing| move |source| Error::Operator { doing, source };
    let files = folder::resources();
    fleet.borrow().folder.show(&files)?;
    operator.apply(&files).await.map_err(failed("apply its services and policies"))?;
    let count = fleet.borrow().members.len();
    for index in 0..count {
        fleet.borrow_mut().start_app(index, tally)?;
        let labels = fleet.borrow().members[index].instance.labels();
        let token = operator.token(&labels).await.map_err(failed("make a join token"))?;
        fleet.borrow_mut().start_sidecar(index, &token)?;
    }
    for index in 0..count {
        say(&format!("{index} of {count} sidecars are ready"));
        ready(fleet, Who::Sidecar(index)).await?;
    }
    say("");
    tally.happened(format!("{count} sidecars are ready"));
    Ok(())
}

/// Runs the load to its end, while the table follows it and the chaos troubles it.
async fn drive(
    options: &Options,
    chaos: Option<&Chaos<'_>>,
    fleet: &RefCell<Fleet>,
    toll: &RefCell<Toll>,
    tally: &Arc<Tally>,
    stop: &mut Stop,
) -> Report {
    tally.happened(format!("the load begins: {} requests/s", options.rate));
    let mut watch = watch::Watch::new(&fleet.borrow(), Arc::clone(tally), options);
    let mut trouble = pin!(async {
        match chaos {
            Some(chaos) => chaos.run().await,
            None => pending().await,
        }
    });
    let mut is_troubled = chaos.is_some();
    let took = {
        let mut load = pin!(load(options, fleet, tally, stop));
        loop {
            tokio::select! {
                took = &mut load => break took,
                () = &mut trouble, if is_troubled => is_troubled = false,
                never = watch.follow(fleet, options.chaos.then_some(toll)) => match never {},
            }
        }
    };
    tally.happened("the load has ended".into());
    watch.finish(fleet).await;
    if let Some(chaos) = chaos {
        count_rotations(fleet, toll, tally).await;
        chaos.end();
        if options.keep && is_troubled && !stop.was_told {
            // Nobody stays away from a shop that stays open.
            tokio::select! { () = trouble => {}, () = stop.told() => {} }
        }
    }
    let is_sound = fleet.borrow().is_sound();
    Report::new(tally, took, chaos.is_some().then(|| toll.take()), is_sound)
}

/// The load, until its time is over or somebody ends it.
async fn load(
    options: &Options,
    fleet: &RefCell<Fleet>,
    tally: &Arc<Tally>,
    stop: &mut Stop,
) -> Duration {
    let client = Client::new(fleet.borrow().entrance(), "web.shop");
    let end = async {
        match options.length {
            Some(length) => tokio::select! { () = sleep(length) => {}, () = stop.told() => {} },
            None => stop.told().await,
        }
    };
    Rc::new(Load::new(client, tally, options.rate)).run(end).await
}

/// Adds what the sidecars that run now did.
async fn count_rotations(fleet: &RefCell<Fleet>, toll: &RefCell<Toll>, tally: &Tally) {
    let admins: Vec<_> = fleet.borrow().admins().map(|(name, at)| (name.to_owned(), at)).collect();
    for (name, admin) in admins {
        let rotations = toll::read(admin).await;
        toll.borrow_mut().add(&name, rotations);
    }
    for (name, rotations) in toll.borrow().rotations() {
        let toll::Rotations { replaced, failed } = rotations;
        let besides = if *failed > 0 { format!(", {failed} tries failed") } else { String::new() };
        tally.happened(format!("{name}'s certificate was replaced {replaced} times{besides}"));
    }
}

/// The result on standard output; what went wrong beside it.
fn present(options: &Options, report: &Report, fleet: &Fleet) {
    let text = if options.json { report.json() } else { report.text() };
    // A reader that left early has seen what it wanted.
    let _ = io::stdout().write_all(text.as_bytes());
    for (what, log) in &fleet.lost {
        say(&format!("The log of {what} ends with\n{log}\n"));
    }
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
