//! One process beside the demo's own, started from this very executable.
//!
//! Invariant: it does not outlive its [`Process`]. Dropping that ends it (panics included), and the
//! kernel ends it when this process dies without a drop. It has a process group of its own, so that
//! a Ctrl-C reaches the demo first, which then ends everything in order.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use super::{Error, doing};

/// How much of a log is shown.
const TAIL_LINES: usize = 12;

/// Running, or gone and not yet forgotten.
pub(super) struct Process {
    /// Such as `the sidecar of web-1`.
    what: String,
    log: PathBuf,
    child: Child,
    status: Option<ExitStatus>,
    /// Its end is wanted, or known already.
    is_expected: bool,
}

impl Process {
    /// Must be called on the main thread: the kernel ends a child with the thread that started it.
    /// What it says is added to `log`.
    ///
    /// # Errors
    /// When it can't be started, or the log not be written.
    pub(super) fn start(
        what: String,
        log: PathBuf,
        arguments: impl IntoIterator<Item = OsString>,
    ) -> Result<Process, Error> {
        let file = || File::options().create(true).append(true).open(&log);
        let open = |_| file().map_err(|error| Error::Write(log.clone(), error));
        let (out, err) = (open(())?, open(())?);
        let program = std::env::current_exe().map_err(doing("find its own executable"))?;
        let mut command = Command::new(program);
        command.args(arguments);
        for (variable, _) in std::env::vars_os() {
            // They would go over what it is told.
            if variable.as_encoded_bytes().starts_with(b"OUTRIGGER_") {
                command.env_remove(variable);
            }
        }
        command.stdin(Stdio::null()).stdout(out).stderr(err).process_group(0);
        end_with_us(&mut command).map_err(doing("start a process"))?;
        let child = command.spawn().map_err(doing("start a process"))?;
        Ok(Process { what, log, child, status: None, is_expected: false })
    }

    /// How it ended, if it has.
    pub(super) fn poll(&mut self) -> Option<ExitStatus> {
        if self.status.is_none() {
            // An error means that nobody knows; it is then forced to end like the others.
            self.status = self.child.try_wait().ok().flatten();
        }
        self.status
    }

    /// Sends a signal, unless it has ended.
    pub(super) fn signal(&mut self, signal: libc::c_int) {
        if self.poll().is_some() {
            return;
        }
        if let Ok(pid) = libc::pid_t::try_from(self.child.id()) {
            // SAFETY: no memory is involved, and the process has not been waited for, so that its
            // id can't have become another's.
            unsafe { libc::kill(pid, signal) };
        }
    }

    /// Asks it to leave in its own time; one that is stopped hears it too.
    pub(super) fn ask_to_leave(&mut self) {
        if self.poll().is_some() {
            return;
        }
        self.is_expected = true;
        self.signal(libc::SIGTERM);
        self.signal(libc::SIGCONT);
    }

    /// Ends it at once, even when it is stopped.
    pub(super) fn kill(&mut self) {
        self.is_expected = true;
        // Both fail only for a process that is gone already.
        let _ = self.child.kill();
        if let Ok(status) = self.child.wait() {
            self.status = Some(status);
        }
    }

    /// What it is, how it ended and the end of its log, if it left without being asked; said once.
    pub(super) fn newly_lost(&mut self) -> Option<(String, ExitStatus, String)> {
        let status = self.poll()?;
        let is_news = !std::mem::replace(&mut self.is_expected, true);
        is_news.then(|| (self.what.clone(), status, tail(&self.log)))
    }

    /// It left before it was ready.
    pub(super) fn left(&self, status: ExitStatus) -> Error {
        let (what, log) = (self.what.clone(), tail(&self.log));
        Error::Left { what, status: status.to_string(), log }
    }

    /// It takes too long.
    pub(super) fn late(&self, waited: Duration, missing: String) -> Error {
        Error::Late { what: self.what.clone(), waited, missing, log: tail(&self.log) }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Has the kernel end the child when we end, in whatever way. Not by a request: one that is stopped
/// would never hear it.
fn end_with_us(command: &mut Command) -> io::Result<()> {
    let parent = libc::pid_t::try_from(std::process::id()).map_err(io::Error::other)?;
    let prepare = move || {
        // SAFETY: two system calls that take and give numbers.
        let (set, now) =
            unsafe { (libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL), libc::getppid()) };
        match (set, now == parent) {
            (0, true) => Ok(()),
            // It died before the kernel was told.
            (0, false) => Err(io::Error::from_raw_os_error(libc::ESRCH)),
            _ => Err(io::Error::last_os_error()),
        }
    };
    // SAFETY: between fork and exec `prepare` makes system calls only; it neither allocates nor
    // locks.
    unsafe { command.pre_exec(prepare) };
    Ok(())
}

fn tail(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    let last = &lines[lines.len().saturating_sub(TAIL_LINES)..];
    if last.is_empty() { "(nothing)".into() } else { last.join("\n") }
}
