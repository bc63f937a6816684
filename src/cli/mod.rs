//! From arguments to an exit code: what the two binaries understand, and how they answer.
//!
//! Invariant: 0 done, 1 failed, 2 wrong usage or invalid input; invalid input shows every fault at
//! once. Data goes to standard output, everything said to a person to standard error, and a reader
//! that leaves early is no failure. Nothing is decided here that a room below could decide.

use std::error::Error;
use std::fmt::Display;
use std::io::{self, ErrorKind, Write};
use std::process::ExitCode;
use std::time::Duration;

use crate::resources::scalar;
#[cfg(feature = "control")]
use crate::resources::{Node, Origin, decode::Decoder};

mod effective;
mod init;
pub mod proxy;
mod sources;
mod wait;

#[cfg(feature = "control")]
mod ask;
#[cfg(feature = "control")]
mod check;
#[cfg(feature = "control")]
mod control;
#[cfg(feature = "control")]
mod control_plane;
#[cfg(feature = "control")]
mod explain;
#[cfg(feature = "control")]
mod inject;
#[cfg(feature = "control")]
mod install;
#[cfg(feature = "control")]
mod output;
#[cfg(feature = "control")]
pub mod outrigger;
#[cfg(feature = "control")]
mod read;
#[cfg(feature = "control")]
mod rows;
#[cfg(feature = "control")]
mod tapping;
#[cfg(feature = "control")]
mod traces;

/// It was understood and didn't work.
const FAILED: u8 = 1;
/// Wrong usage or invalid input; clap leaves with it too.
const INVALID: u8 = 2;

/// Writes to standard output.
fn emit(text: &str) -> ExitCode {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            complain(&format!("error: standard output can't be written: {error}"));
            ExitCode::from(FAILED)
        }
        _ => ExitCode::SUCCESS,
    }
}

/// Writes a line to standard error; there is nobody to tell when that fails.
fn complain(line: &dyn Display) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// Shows every fault.
fn refuse(faults: &[impl Display]) -> ExitCode {
    faults.iter().for_each(|fault| complain(fault));
    ExitCode::from(INVALID)
}

/// An error and what it stems from, on one line.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(&format!(": {error}"));
        source = error.source();
    }
    text
}

/// A duration as the configuration writes it.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    scalar::read_duration(text)
}

/// A number of bytes as the configuration writes it.
#[cfg(feature = "control")]
fn bytes(text: &str) -> Result<usize, String> {
    let mut decoder = Decoder::new();
    let node = Node::text(text, Origin::Default);
    let size = scalar::size(&node, &mut decoder).and_then(|size| usize::try_from(size).ok());
    size.ok_or_else(|| {
        let messages = decoder.finish().into_iter().map(|fault| fault.message);
        messages.collect::<Vec<_>>().join("; ")
    })
}

/// What both binaries say when asked for their version.
fn version(binary: &str) -> ExitCode {
    emit(&format!("{binary} {}\n", env!("CARGO_PKG_VERSION")))
}
