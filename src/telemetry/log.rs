//! The program's own log, to standard error: text for people or JSON, at a level that can be
//! changed while running. Dependencies stay a step quieter than we are, so that `debug` shows what
//! the mesh does and not what HTTP/2 frames look like. A broken standard error is ignored.
//! `app` calls [`init`] once; the admin port holds the [`LogHandle`]; whoever may meet the same
//! error in a loop asks [`Repeats`] first.

mod failures;
mod repeats;
#[cfg(test)]
mod tests;

use std::io::{self, IsTerminal};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::SystemTime;

use tracing::Dispatch;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;
use tracing_subscriber::fmt::{self, MakeWriter};
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::{Registry, reload};

use super::{Error, Timestamps};

pub use failures::Failures;
pub use repeats::Repeats;

/// The levels' names, from quiet to talkative. Release builds leave `trace` events out.
pub const LEVELS: [&str; 5] = ["error", "warn", "info", "debug", "trace"];

/// What each level shows of us, and of everyone else.
const FILTERS: [(LevelFilter, LevelFilter); 5] = [
    (LevelFilter::ERROR, LevelFilter::ERROR),
    (LevelFilter::WARN, LevelFilter::WARN),
    (LevelFilter::INFO, LevelFilter::WARN),
    (LevelFilter::DEBUG, LevelFilter::INFO),
    (LevelFilter::TRACE, LevelFilter::TRACE),
];

/// How a line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// `2026-11-21T22:00:00.123Z  INFO outrigger::inbound: message key=value`
    Text,
    /// One object a line: `timestamp level target message` and the event's own fields.
    Json,
}

/// Changes the level of a running log. Clones change the same one.
#[derive(Clone)]
pub struct LogHandle {
    filter: reload::Handle<Targets, Registry>,
    /// Index into [`LEVELS`].
    level: Arc<AtomicUsize>,
}

/// Starts the process's log on standard error.
///
/// # Errors
/// When `level` is none of [`LEVELS`], or the process has a log already.
pub fn init(level: &str, style: Style) -> Result<LogHandle, Error> {
    let colour = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let (dispatch, handle) = build(level, style, colour, io::stderr)?;
    tracing::dispatcher::set_global_default(dispatch).map_err(Error::LogTaken)?;
    Ok(handle)
}

/// A log that nobody reads, for tests of whoever holds a handle; it works while the dispatch lives.
#[cfg(test)]
pub(crate) fn unheard() -> (Dispatch, LogHandle) {
    build("info", Style::Text, false, io::sink).expect("a known level")
}

fn build<W>(level: &str, style: Style, colour: bool, out: W) -> Result<(Dispatch, LogHandle), Error>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let level = index(level)?;
    let (filter, handle) = reload::Layer::new(targets(level));
    let layer = fmt::layer()
        .with_writer(out)
        .with_timer(Clock)
        .with_ansi(colour)
        // Its complaints about a failed write go through eprintln!, which panics when that fails.
        .log_internal_errors(false);
    let layer = match style {
        Style::Text => layer.boxed(),
        Style::Json => layer.json().flatten_event(true).boxed(),
    };
    let dispatch = Dispatch::new(tracing_subscriber::registry().with(layer.with_filter(filter)));
    Ok((dispatch, LogHandle { filter: handle, level: Arc::new(AtomicUsize::new(level)) }))
}

impl LogHandle {
    /// The present level, one of [`LEVELS`].
    pub fn level(&self) -> &'static str {
        LEVELS[self.level.load(Relaxed)]
    }

    /// Changes the level at once, for all threads.
    ///
    /// # Errors
    /// When `level` is none of [`LEVELS`], or the log is gone.
    pub fn set_level(&self, level: &str) -> Result<(), Error> {
        let level = index(level)?;
        self.filter.reload(targets(level)).map_err(Error::LogGone)?;
        self.level.store(level, Relaxed);
        Ok(())
    }
}

fn index(level: &str) -> Result<usize, Error> {
    let known = LEVELS.iter().position(|name| level.eq_ignore_ascii_case(name));
    known.ok_or_else(|| Error::UnknownLevel(level.to_owned()))
}

/// Answers depend on a callsite alone, so tracing caches them: a silent event costs one load.
fn targets(level: usize) -> Targets {
    let (ours, others) = FILTERS[level];
    // It calls each failed call an error and gives no cause: whoever made the call says both.
    Targets::new()
        .with_default(others)
        .with_target("kube_client", LevelFilter::OFF)
        .with_target("outrigger", ours)
}

struct Clock;

impl FormatTime for Clock {
    fn format_time(&self, out: &mut Writer<'_>) -> std::fmt::Result {
        out.write_str(Timestamps::default().rfc3339(SystemTime::now()))
    }
}
