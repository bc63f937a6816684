//! `outrigger apply`, `get`, `delete`, `token` and `context`: people's end of the control plane.
//!
//! `place` (flags, environment and context to one place) → `session` (a connection to it) → `calls`
//! (what can be asked, in the house's nouns) → one file for each command. Invariant: what the
//! control plane finds wrong is shown exactly as `validate` shows it, and nothing is half done.

mod apply;
mod ca;
mod calls;
mod contexts;
mod convert;
mod dashboard;
mod delete;
mod diff;
mod documents;
mod error;
mod facts;
mod file;
mod get;
mod kinds;
mod picture;
mod place;
mod plaintext;
mod refusal;
mod seeing;
mod session;
mod shown;
#[cfg(test)]
mod tests;
mod token;
mod watch;

use std::future::Future;
use std::io;
use std::process::ExitCode;

pub(super) use apply::Apply;
pub(super) use ca::Ca;
pub(super) use contexts::Contexts;
pub(super) use dashboard::Dashboard;
pub(super) use delete::Delete;
pub(super) use get::Get;
pub(super) use place::Connection;
pub(super) use plaintext::strict_ready;
pub(super) use seeing::{Edges, Stat, Tap, Top, Traces};
pub(super) use token::Token;

use super::{FAILED, complain, emit};
use crate::runtime::workers::local_runtime;
use error::Error;

/// What a command has to say.
#[derive(Debug, Default, PartialEq, Eq)]
struct Answer {
    /// Data, for standard output.
    data: String,
    /// For people, on standard error; may be empty.
    remark: String,
}

impl From<String> for Answer {
    fn from(data: String) -> Self {
        Answer { data, remark: String::new() }
    }
}

/// Does it, and says what came of it.
fn conclude(work: impl Future<Output = Result<Answer, Error>>) -> ExitCode {
    judge(async { work.await.map(|answer| (answer, true)) })
}

/// The same of a question whose answer may be bad: then the exit code is 1.
fn judge(work: impl Future<Output = Result<(Answer, bool), Error>>) -> ExitCode {
    let answer = local_runtime().map_err(Error::Runtime);
    match answer.and_then(|runtime| runtime.block_on(work)) {
        Ok((Answer { data, remark }, is_good)) => {
            if !remark.is_empty() {
                complain(&remark);
            }
            let emitted = emit(&data);
            if is_good { emitted } else { ExitCode::from(FAILED) }
        }
        Err(error) => error.report(),
    }
}

/// Whether colours reach somebody who sees them.
fn colour(stream: &impl io::IsTerminal) -> bool {
    stream.is_terminal() && std::env::var_os("NO_COLOR").is_none()
}
