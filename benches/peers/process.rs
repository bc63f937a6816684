//! A proxy as a process, with whatever children it has; all end with the value.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::processes::{folder, spawn_ended_by};

const LEAVING: Duration = Duration::from_secs(3);

pub struct Process {
    child: Child,
    folder: PathBuf,
}

impl Process {
    /// Starts what `command` makes of a folder for its files.
    pub fn start(command: impl FnOnce(&Path) -> Command) -> Self {
        let folder = folder();
        let mut command = command(&folder);
        let log = File::create(folder.join("log")).expect("the folder is ours");
        let errors = log.try_clone().expect("a descriptor");
        command.stdin(Stdio::null()).stdout(log).stderr(errors);
        Self { child: spawn_ended_by(&mut command, libc::SIGTERM), folder }
    }

    /// CPU time so far of every thread of all its processes, to the nanosecond.
    pub fn cpu(&self) -> Duration {
        let tasks = self.pids().into_iter().flat_map(tasks);
        let nanos = tasks.filter_map(|task| {
            let text = fs::read_to_string(task.join("schedstat")).ok()?;
            text.split_whitespace().next()?.parse::<u64>().ok()
        });
        Duration::from_nanos(nanos.sum())
    }

    /// `VmRSS` of all its processes.
    pub fn resident_bytes(&self) -> f64 {
        let resident = |pid| {
            let text = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
            let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
            line.split_whitespace().next()?.parse::<f64>().ok()
        };
        self.pids().into_iter().filter_map(resident).sum::<f64>() * 1024.0
    }

    /// What it runs, once whatever launched it has made way.
    pub fn program(&self) -> PathBuf {
        fs::read_link(format!("/proc/{}/exe", self.child.id())).expect("it runs")
    }

    /// What it wrote, for whoever wonders why it did not start.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }

    fn pids(&self) -> Vec<u32> {
        let mut pids = vec![self.child.id()];
        let mut next = 0;
        while let Some(pid) = pids.get(next) {
            let children = tasks(*pid).into_iter().filter_map(|task| {
                let text = fs::read_to_string(task.join("children")).ok()?;
                Some(text.split_whitespace().filter_map(|pid| pid.parse().ok()).collect())
            });
            let children: Vec<Vec<u32>> = children.collect();
            pids.extend(children.concat());
            next += 1;
        }
        pids
    }

    fn signal(pid: u32, signal: libc::c_int) {
        // SAFETY: it takes two numbers; the process is ours, and nobody has waited for it.
        unsafe { libc::kill(pid.cast_signed(), signal) };
    }
}

fn tasks(pid: u32) -> Vec<PathBuf> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task"));
    tasks.into_iter().flatten().flatten().map(|task| task.path()).collect()
}

impl Drop for Process {
    /// Asks it to leave, because who is killed leaves children behind and writes no profile, and
    /// kills it when it stays.
    fn drop(&mut self) {
        let begun = Instant::now();
        let pids = self.pids();
        Self::signal(self.child.id(), libc::SIGTERM);
        while matches!(self.child.try_wait(), Ok(None)) && begun.elapsed() < LEAVING {
            sleep(Duration::from_millis(5));
        }
        if matches!(self.child.try_wait(), Ok(None)) {
            pids.into_iter().for_each(|pid| Self::signal(pid, libc::SIGKILL));
            let _ = self.child.wait();
        }
        let _ = fs::remove_dir_all(&self.folder);
    }
}
