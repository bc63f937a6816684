//! The sidecars: one process for each instance, started from this executable.
//!
//! Invariant: a process of a [`Fleet`] does not outlive it. Dropping the fleet ends them (panics
//! included), and the kernel tells each of them to end when this process dies without a drop.
//! Each has a process group of its own, so that a Ctrl-C reaches the demo first, which then ends
//! them in order.

use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use http::StatusCode;
use tokio::time::sleep;

use super::client::Client;
use super::folder::Folder;
use super::shop::{Instance, Shop};
use super::{Error, doing};

/// A sidecar reads a few files; one that takes this long won't make it. Arbitrary.
const READY_WITHIN: Duration = Duration::from_secs(15);
/// The drain's deadline in the sidecars' configuration, and as much again.
const LEAVE_WITHIN: Duration = Duration::from_secs(4);
/// How much of a log is shown.
const TAIL_LINES: usize = 12;

/// All sidecars, and the folder they read.
#[derive(Default)]
pub(super) struct Fleet {
    sidecars: Vec<Sidecar>,
    /// After the processes: they may still write into it.
    pub(super) folder: Option<Folder>,
}

struct Sidecar {
    name: String,
    admin: SocketAddr,
    log: PathBuf,
    child: Child,
    status: Option<ExitStatus>,
}

impl Fleet {
    /// Starts a sidecar for each instance. Must run on the main thread: the kernel ends a child
    /// with the thread that started it.
    ///
    /// # Errors
    /// When a process can't be started; those that were are still the fleet's.
    pub(super) fn launch(&mut self, shop: &Shop) -> Result<(), Error> {
        let Some(folder) = &self.folder else {
            return Ok(());
        };
        for instance in &shop.instances {
            self.sidecars.push(Sidecar::start(instance, folder.path())?);
        }
        Ok(())
    }

    /// Waits until each of them says that it is ready.
    ///
    /// # Errors
    /// When one leaves, or takes too long: with the end of its log.
    pub(super) async fn ready(&mut self) -> Result<(), Error> {
        let begun = Instant::now();
        for sidecar in &mut self.sidecars {
            sidecar.ready(begun).await?;
        }
        Ok(())
    }

    pub(super) fn len(&self) -> usize {
        self.sidecars.len()
    }

    /// Each instance's name and admin address.
    pub(super) fn admins(&self) -> impl Iterator<Item = (&str, SocketAddr)> {
        self.sidecars.iter().map(|sidecar| (sidecar.name.as_str(), sidecar.admin))
    }

    /// Those that left since the last time it was asked.
    pub(super) fn newly_lost(&mut self) -> Vec<String> {
        let running = self.sidecars.iter_mut().filter(|sidecar| sidecar.status.is_none());
        running
            .filter_map(|sidecar| {
                let status = sidecar.poll()?;
                Some(format!("the sidecar of {} left ({status})", sidecar.name))
            })
            .collect()
    }

    /// The end of the log of each that left by itself.
    pub(super) fn logs_of_lost(&self) -> impl Iterator<Item = (&str, String)> {
        let lost = self.sidecars.iter().filter(|sidecar| sidecar.status.is_some());
        lost.map(|sidecar| (sidecar.name.as_str(), tail(&sidecar.log)))
    }

    /// Ends every process: asks, waits, forces. Blocks for as long as that takes.
    pub(super) fn stop(&mut self) {
        self.sidecars.iter_mut().for_each(Sidecar::ask_to_leave);
        let deadline = Instant::now() + LEAVE_WITHIN;
        while Instant::now() < deadline && self.sidecars.iter_mut().any(|s| s.poll().is_none()) {
            thread::sleep(Duration::from_millis(20));
        }
        for sidecar in &mut self.sidecars {
            // Both fail only for a process that is gone already.
            let _ = sidecar.child.kill();
            let _ = sidecar.child.wait();
        }
        self.sidecars.clear();
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Sidecar {
    fn start(instance: &Instance, folder: &Path) -> Result<Sidecar, Error> {
        let name = instance.name.clone();
        let log = folder.join(format!("{name}.log"));
        let file = || File::options().create(true).append(true).open(&log);
        let open = |_| file().map_err(|error| Error::Write(log.clone(), error));
        let (out, err) = (open(())?, open(())?);
        let program = std::env::current_exe().map_err(doing("find its own executable"))?;
        let mut command = Command::new(program);
        command.arg("sidecar").arg("--config").arg(folder.join(format!("{name}.yaml")));
        for (variable, _) in std::env::vars_os() {
            // They would go over the file.
            if variable.as_encoded_bytes().starts_with(b"OUTRIGGER_") {
                command.env_remove(variable);
            }
        }
        command.stdin(Stdio::null()).stdout(out).stderr(err).process_group(0);
        end_with_us(&mut command).map_err(doing("start a sidecar"))?;
        let child = command.spawn().map_err(doing("start a sidecar"))?;
        Ok(Sidecar { name, admin: instance.admin, log, child, status: None })
    }

    async fn ready(&mut self, begun: Instant) -> Result<(), Error> {
        let client = Client::new(self.admin, &self.admin.to_string());
        loop {
            let missing = match client.get("/ready").await {
                Ok((StatusCode::OK, _)) => return Ok(()),
                Ok((_, body)) => String::from_utf8_lossy(&body).trim().to_owned(),
                Err(error) => super::explain(&error),
            };
            let (name, log) = (self.name.clone(), tail(&self.log));
            if let Some(status) = self.poll() {
                return Err(Error::Left { name, status: status.to_string(), log });
            }
            if begun.elapsed() > READY_WITHIN {
                return Err(Error::NotReady { name, waited: READY_WITHIN, missing, log });
            }
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// How it ended, if it has.
    fn poll(&mut self) -> Option<ExitStatus> {
        if self.status.is_none() {
            // An error means that nobody knows; it is then forced to end like the others.
            self.status = self.child.try_wait().ok().flatten();
        }
        self.status
    }

    fn ask_to_leave(&mut self) {
        if self.poll().is_some() {
            return;
        }
        if let Ok(pid) = libc::pid_t::try_from(self.child.id()) {
            // SAFETY: no memory is involved, and the process has not been waited for, so that its
            // id can't have become another's.
            unsafe { libc::kill(pid, libc::SIGTERM) };
        }
    }
}

/// Has the kernel end the child when we end, in whatever way.
fn end_with_us(command: &mut Command) -> io::Result<()> {
    let parent = libc::pid_t::try_from(std::process::id()).map_err(io::Error::other)?;
    let prepare = move || {
        // SAFETY: two system calls that take and give numbers.
        let (set, now) =
            unsafe { (libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM), libc::getppid()) };
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

/// The last lines of a log.
fn tail(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    let last = &lines[lines.len().saturating_sub(TAIL_LINES)..];
    if last.is_empty() { "(nothing)".into() } else { last.join("\n") }
}
