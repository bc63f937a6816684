//! The sidecar as a process: configuration in, exit code out.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use tracing::{error, info};

use super::companion;
use super::launch::{Launched, launch};
use super::signals::{Signals, Told};
use super::source::CERTIFICATE;
use crate::admin::Command;
use crate::config::{self, Flag, Loaded};
use crate::http::respond::chain;
use crate::intercept::OriginalDst;
use crate::runtime::supervise::fallen;
use crate::runtime::{descriptors, workers};
use crate::telemetry::log::{self, Style};

/// How long the last things may take: to tell connections that they are cut, to send spans, to write
/// the access log. Arbitrary; where nothing hangs they take milliseconds.
const CUT: Duration = Duration::from_millis(250);
const FLUSH: Duration = Duration::from_secs(1);
const CLOSE: Duration = Duration::from_secs(1);
/// The same for one who was told twice: for the first two, and for the last.
const AT_ONCE: Duration = Duration::from_millis(100);

/// What the command line says.
#[derive(Clone, Debug, Default)]
pub struct Options {
    pub config: Option<PathBuf>,
    pub flags: Vec<Flag>,
}

impl Options {
    /// Reads the configuration that these options name, and the environment's.
    ///
    /// # Errors
    /// Every fault.
    pub fn load(&self) -> Result<Loaded, Vec<crate::resources::Fault>> {
        let text = |text: std::ffi::OsString| text.to_string_lossy().into_owned();
        let environment = std::env::vars_os().map(|(name, value)| (text(name), text(value)));
        config::load(self.config.as_deref(), environment, &self.flags)
    }
}

/// Runs a sidecar until it is told to leave.
pub fn run(options: &Options) -> ExitCode {
    let loaded = match options.load() {
        Ok(loaded) => loaded,
        Err(faults) => return refuse(&faults),
    };
    let style = match loaded.config.log.format {
        config::LogStyle::Text => Style::Text,
        config::LogStyle::Json => Style::Json,
    };
    let log = match log::init(loaded.config.log.level.as_str(), style) {
        Ok(log) => log,
        Err(error) => {
            eprintln!("outrigger-proxy: {}", chain(&error));
            return ExitCode::FAILURE;
        }
    };
    if let Err(error) = descriptors::raise() {
        error!(%error, "the limit on open files can't be raised");
    }
    let runtime = match workers::local_runtime() {
        Ok(runtime) => runtime,
        Err(error) => {
            error!(%error, "no runtime");
            return ExitCode::FAILURE;
        }
    };
    runtime.block_on(async {
        // Before anything that could take time: a signal must never be lost.
        let mut signals = match Signals::new() {
            Ok(signals) => signals,
            Err(error) => {
                error!(%error, "no signal handlers");
                return ExitCode::FAILURE;
            }
        };
        match launch(options.clone(), loaded, log, OriginalDst::Kernel).await {
            Ok(launched) => until_told(launched, &mut signals).await,
            Err(faults) => refuse(&faults),
        }
    })
}

fn refuse(faults: &[crate::resources::Fault]) -> ExitCode {
    for fault in faults {
        eprintln!("{fault}");
    }
    let plural = if faults.len() == 1 { "" } else { "s" };
    eprintln!("outrigger-proxy: {} fault{plural}, nothing was started", faults.len());
    ExitCode::from(2)
}

/// Serves until a signal or the admin port says to leave, then drains. A second word is final.
async fn until_told(mut launched: Launched, signals: &mut Signals) -> ExitCode {
    let containers = launched.exit_with_app;
    let mut app = std::pin::pin!(companion::left(containers.unwrap_or_default()));
    let mut has_fallen = false;
    let first = loop {
        tokio::select! {
            command = launched.commands.recv() => break command.unwrap_or(Command::Shutdown),
            told = signals.next() => match told {
                Told::Leave => break Command::Drain,
                Told::Reload => launched.reload.notify_one(),
            },
            () = &mut app, if containers.is_some() => break Command::Drain,
            what = fallen() => {
                has_fallen = true;
                info!(what, "leaves, so that another may take its place");
                break Command::Drain;
            }
        }
    };
    let missing = launched.readiness.missing();
    let mut is_hurried = false;
    // Without a certificate nobody can have been sent here, and nobody came.
    let was_unknown = !launched.readiness.was_ready() && missing.contains(&CERTIFICATE);
    if was_unknown && launched.drain.open_connections() == 0 {
        info!(?missing, "told to leave before it was ready");
    } else if first == Command::Drain {
        launched.withdraw();
        info!(open = launched.drain.open_connections(), "draining");
        let settings = *launched.drain_settings.borrow();
        let drain = launched.drain.clone();
        tokio::select! {
            cut = drain.run(settings) => {
                if cut > 0 {
                    info!(cut, "the drain's deadline is over; the rest is cut");
                }
            }
            () = signals.leave() => {
                info!("told twice; leaving at once");
                is_hurried = true;
            }
            command = next_shutdown(&mut launched) => info!(?command, "told to leave at once"),
        }
    }
    part(&mut launched, signals, is_hurried).await;
    info!("bye");
    if has_fallen { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// Ends what is open, and hands on what is still known of it: spans and the access log. Whoever is
/// in a hurry says so once more.
async fn part(launched: &mut Launched, signals: &mut Signals, is_hurried: bool) {
    let [cut, flush, close] =
        if is_hurried { [AT_ONCE / 2, AT_ONCE / 2, AT_ONCE] } else { [CUT, FLUSH, CLOSE] };
    launched.drain.cut(cut).await;
    launched.end_taps(cut).await;
    let is_hurried = tokio::select! {
        () = launched.flush(flush) => is_hurried,
        () = signals.leave() => true,
    };
    launched.close(if is_hurried { AT_ONCE } else { close });
}

async fn next_shutdown(launched: &mut Launched) -> Command {
    loop {
        match launched.commands.recv().await {
            Some(Command::Drain) => {}
            Some(Command::Shutdown) | None => return Command::Shutdown,
        }
    }
}
