//! One sidecar process: its folder, its logs, its admin port.
//!
//! It is killed with its value, or with the thread that started it. When the scenario fails, the
//! end of its log is shown.

use std::fs::{self, File};
use std::io;
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::mounts::Mount;
use super::{Folder, Message, SOON, Wire, eventually, within};

pub struct Sidecar {
    pub admin: SocketAddr,
    pub folder: Folder,
    child: Child,
}

/// The program under test, not started.
pub fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_outrigger-proxy"));
    command.env_clear();
    // Fewer than anyone's hard limit, to see that it is raised.
    // SAFETY: the call is allowed between fork and exec, and touches nothing of ours.
    unsafe {
        command.pre_exec(lower_open_files);
    }
    command
}

impl Sidecar {
    /// Starts with `config.yaml` and whatever else lies in the folder. Where there is a folder
    /// `cgroup`, the sidecar takes it for its container's.
    pub fn start(folder: Folder, admin: SocketAddr, open_files: Option<u64>) -> Self {
        let output = |name| File::create(folder.path(name)).expect("the folder is writable");
        let mut command = program();
        command
            .args(["run", "--config"])
            .arg(folder.path("config.yaml"))
            .stdin(Stdio::null())
            .stdout(output("access.log"))
            .stderr(output("log"));
        // SAFETY: both calls are allowed between fork and exec, and touch nothing of ours.
        unsafe {
            command.pre_exec(move || prepare(open_files));
        }
        let cgroup = folder.path("cgroup");
        if cgroup.is_dir() {
            let seen = Mount::folder(&cgroup, "/sys/fs/cgroup");
            // SAFETY: the call is allowed between fork and exec, and touches nothing of ours.
            unsafe {
                command.pre_exec(move || seen.alone());
            }
        }
        let child = command.spawn().expect("the sidecar's binary starts");
        Self { admin, folder, child }
    }

    /// Waits for `/ready` to say 200.
    #[track_caller]
    pub fn wait_ready(&mut self) {
        let until = Instant::now() + SOON;
        loop {
            if let Ok(Some(status)) = self.child.try_wait() {
                panic!("the sidecar left with {status}:\n{}", self.log());
            }
            match self.try_admin("GET", "/ready", "") {
                Some(answer) if answer.status() == 200 => return,
                _ if Instant::now() > until => panic!("not ready:\n{}", self.log()),
                _ => std::thread::sleep(Duration::from_millis(10)),
            }
        }
    }

    #[track_caller]
    pub fn get(&self, path: &str) -> Message {
        self.try_admin("GET", path, "").unwrap_or_else(|| panic!("admin {path} does not answer"))
    }

    /// The JSON that an admin path answers.
    #[track_caller]
    pub fn json(&self, path: &str) -> Value {
        let answer = self.get(path);
        assert_eq!(answer.status(), 200, "{path}: {}", answer.text());
        serde_json::from_slice(&answer.body)
            .unwrap_or_else(|error| panic!("{path} is no JSON ({error}): {}", answer.text()))
    }

    #[track_caller]
    pub fn post(&self, path: &str) -> Message {
        self.try_admin("POST", path, "content-length: 0\r\n")
            .unwrap_or_else(|| panic!("admin {path} does not answer"))
    }

    /// One request to the admin port, with header lines; `None` when nobody answers.
    pub fn try_admin(&self, method: &str, path: &str, lines: &str) -> Option<Message> {
        let stream = std::net::TcpStream::connect(self.admin).ok()?;
        let host = if lines.to_ascii_lowercase().contains("host:") {
            String::new()
        } else {
            format!("Host: {}\r\n", self.admin)
        };
        let mut wire = Wire::of(stream);
        let request = format!("{method} {path} HTTP/1.1\r\n{host}Connection: close\r\n{lines}\r\n");
        wire.try_send(request).ok()?;
        wire.message(false).ok()
    }

    /// The value of a metric whose line begins with `series`; 0 without it. Sums what matches.
    pub fn metric(&self, family: &str, labels: &[&str]) -> f64 {
        series(&self.get("/metrics").text(), family, labels)
    }

    /// What it wrote to standard error.
    pub fn log(&self) -> String {
        self.folder.read("log")
    }

    #[track_caller]
    pub fn await_log(&self, words: &str) {
        let until = Instant::now() + SOON;
        while !self.log().contains(words) {
            assert!(Instant::now() < until, "no {words:?} in the log:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// The whole lines of the access log.
    pub fn access_log(&self) -> Vec<Value> {
        let text = self.folder.read("access.log");
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        let line = |line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e} in {line}"));
        whole.lines().map(line).collect()
    }

    /// Waits for an access log entry with this path.
    #[track_caller]
    pub fn await_entry(&self, path: &str) -> Value {
        let mut found = None;
        eventually(&format!("an access log entry for {path}"), || {
            found = self.access_log().into_iter().find(|entry| entry["path"] == path);
            found.is_some()
        });
        found.expect("it was waited for")
    }

    pub fn signal(&self, signal: libc::c_int) {
        let pid = libc::pid_t::try_from(self.child.id()).expect("a process id");
        // SAFETY: the child has not been waited for, so that the id is still its own.
        let sent = unsafe { libc::kill(pid, signal) };
        assert_eq!(sent, 0, "{}", io::Error::last_os_error());
    }

    pub fn sigterm(&self) {
        self.signal(libc::SIGTERM);
    }

    /// How it left, when it leaves within `limit`.
    #[track_caller]
    pub fn exit(&mut self, limit: Duration) -> ExitStatus {
        let mut status = None;
        within(limit, "the sidecar leaves", || {
            status = self.child.try_wait().expect("it is our child");
            status.is_some()
        });
        status.expect("it was waited for")
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("it is our child").is_none()
    }

    /// Resident memory in KiB.
    pub fn rss_kib(&self) -> u64 {
        let status = self.proc("status");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        line.and_then(|line| line.split_whitespace().next()?.parse().ok()).expect("VmRSS in KiB")
    }

    /// CPU time used so far.
    pub fn cpu(&self) -> Duration {
        let stat = self.proc("stat");
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or("").split_whitespace().collect();
        let ticks: u64 =
            fields[11].parse::<u64>().unwrap_or(0) + fields[12].parse::<u64>().unwrap_or(0);
        // USER_HZ is 100 on every Linux that matters.
        Duration::from_millis(ticks * 10)
    }

    /// Open descriptors.
    pub fn open_files(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.child.id())).map_or(0, Iterator::count)
    }

    /// How many descriptors it may open: the soft and the hard limit.
    pub fn open_files_limit(&self) -> (u64, u64) {
        let limits = self.proc("limits");
        let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
        let mut numbers = line.unwrap_or_default().split_whitespace().map(|n| n.parse().ok());
        let mut next = || numbers.next().flatten().expect("two numbers");
        (next(), next())
    }

    fn proc(&self, file: &str) -> String {
        fs::read_to_string(format!("/proc/{}/{file}", self.child.id())).expect("it runs")
    }

    /// Runs another subcommand on this configuration text, to its end.
    pub fn once(args: &[&str], config: &str) -> Output {
        let folder = Folder::new("once");
        folder.write("config.yaml", config);
        program()
            .args(args)
            .arg("--config")
            .arg(folder.path("config.yaml"))
            .output()
            .expect("it starts")
    }
}

/// The sum of the series of a family that have these labels, in a page of metrics.
pub(super) fn series(page: &str, family: &str, labels: &[&str]) -> f64 {
    page.lines()
        .filter(|line| line.strip_prefix(family).is_some_and(|rest| rest.starts_with(['{', ' '])))
        .filter(|line| labels.iter().all(|label| line.contains(label)))
        .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
        .sum()
}

impl Drop for Sidecar {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            let tail = &lines[lines.len().saturating_sub(25)..];
            eprintln!("--- {}\n{}", self.folder.as_ref().display(), tail.join("\n"));
        }
    }
}

/// In the child: dies with us; may have fewer descriptors.
fn prepare(open_files: Option<u64>) -> io::Result<()> {
    // SAFETY: plain system calls with valid arguments.
    unsafe {
        if libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) != 0 {
            return Err(io::Error::last_os_error());
        }
        if let Some(limit) = open_files {
            let limit = libc::rlimit { rlim_cur: limit, rlim_max: limit };
            if libc::setrlimit(libc::RLIMIT_NOFILE, &limit) != 0 {
                return Err(io::Error::last_os_error());
            }
        }
    }
    Ok(())
}

fn lower_open_files() -> io::Result<()> {
    // SAFETY: plain system calls with valid arguments.
    unsafe {
        let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        if libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) != 0 {
            return Err(io::Error::last_os_error());
        }
        limit.rlim_cur = limit.rlim_max.min(256);
        if libc::setrlimit(libc::RLIMIT_NOFILE, &limit) != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}
