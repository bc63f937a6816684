//! A sidecar as a process, with its files in a folder of its own; both end with the value.
//!
//! The kernel ends the process, too, when this one dies. What it writes to standard output, its
//! access log, goes to a file of that folder.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::processes::spawn_ended_by;
pub use super::processes::{await_port, folder, free_address};

pub struct Sidecar {
    pub address: SocketAddr,
    process: Child,
    folder: PathBuf,
}

impl Sidecar {
    /// Starts a build of it with these files, `sidecar.yaml` its own, and waits until `address`, one
    /// of its ports, answers.
    ///
    /// # Panics
    /// When it doesn't start.
    pub fn start(build: &Path, address: SocketAddr, files: &[(&str, String)]) -> Self {
        let folder = folder();
        for (name, text) in files {
            fs::write(folder.join(name), text).expect("the folder is ours");
        }
        let mut command = Command::new(build);
        command.arg("--config").arg(folder.join("sidecar.yaml")).args(["--set", "log.level=warn"]);
        let log = File::create(folder.join("access.log")).expect("the folder is ours");
        command.env_clear().stdin(Stdio::null()).stdout(log);
        let process = spawn(&mut command);
        let sidecar = Self { address, process, folder };
        await_port(address);
        sidecar
    }

    /// CPU time of all its threads so far, to the nanosecond.
    pub fn cpu(&self) -> Duration {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.process.id())).expect("it runs");
        let nanos = tasks.flatten().filter_map(|task| {
            let text = fs::read_to_string(task.path().join("schedstat")).ok()?;
            text.split_whitespace().next()?.parse::<u64>().ok()
        });
        Duration::from_nanos(nanos.sum())
    }
}

impl Drop for Sidecar {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// A process that ends when this one does.
pub fn spawn(command: &mut Command) -> Child {
    spawn_ended_by(command, libc::SIGKILL)
}
