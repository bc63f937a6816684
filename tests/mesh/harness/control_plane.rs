//! One control plane: its process, which may be killed, frozen and begun again, and its folder.
//!
//! The folder outlives the process. People's commands are run as they would run them, by the
//! program itself; what sidecars say is said by `caller`. The process is killed with its value.

use std::fs::{self, File};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::Instant;

use serde_json::Value;

use super::host::or_skip;
use super::mounts::{self, Mount};
use super::{Folder, Message, SOON, Wire, free_address};

pub struct ControlPlane {
    /// Where sidecars and people reach it.
    pub address: SocketAddr,
    /// Its pages.
    pub admin: SocketAddr,
    pub folder: Folder,
    arguments: Vec<String>,
    /// The size of the disk of its own that its data lies on, in MiB.
    disk: Option<u32>,
    child: Option<Child>,
}

/// The program of people, not started.
pub fn outrigger() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_outrigger"));
    command.env_clear().stdin(Stdio::null());
    command
}

impl ControlPlane {
    /// Starts one with an empty folder, and these arguments besides the places.
    #[track_caller]
    pub fn start(arguments: &[&str]) -> Self {
        Self::begin(arguments, None)
    }

    /// The same on a disk of so many MiB, which is gone with the process; `None`, with a line that
    /// says so, where this process may not make one, unless `TESTS_MUST_NOT_SKIP` is set.
    #[track_caller]
    pub fn on_a_small_disk(mib: u32, arguments: &[&str]) -> Option<Self> {
        or_skip(mounts::are_allowed(), "a small disk needs root")?;
        Some(Self::begin(arguments, Some(mib)))
    }

    #[track_caller]
    fn begin(arguments: &[&str], disk: Option<u32>) -> Self {
        let mut plane = Self {
            address: free_address(),
            admin: free_address(),
            folder: Folder::new("control"),
            arguments: arguments.iter().map(|&argument| argument.to_owned()).collect(),
            disk,
            child: None,
        };
        plane.restart();
        plane
    }

    /// Starts it, after its end if it runs, and waits until it is ready.
    #[track_caller]
    pub fn restart(&mut self) {
        self.kill();
        self.spawn();
        self.wait_ready();
    }

    /// Ends it without a word.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Ends it, and removes everything that it knew: what starts next is another mesh.
    pub fn forget(&mut self) {
        self.kill();
        fs::remove_dir_all(self.data()).expect("it is ours");
    }

    fn spawn(&mut self) {
        let log = File::options().create(true).append(true).open(self.folder.path("log"));
        let mut command = outrigger();
        command
            .args(["control-plane", "--listen", &self.address.to_string()])
            .args(["--admin-listen", &self.admin.to_string()])
            .args(["--log-level", "debug", "--data"])
            .arg(self.folder.path("data"))
            .args(&self.arguments)
            .stdout(Stdio::null())
            .stderr(log.expect("the folder is writable"));
        let disk = self.disk.map(|mib| {
            let at = self.folder.path("data");
            fs::create_dir_all(&at).expect("the folder is writable");
            Mount::memory(&at, mib)
        });
        // SAFETY: the calls are allowed between fork and exec, and touch nothing of ours.
        unsafe {
            command.pre_exec(die_with_us);
            if let Some(disk) = disk {
                command.pre_exec(move || disk.alone());
            }
        }
        self.child = Some(command.spawn().expect("the program starts"));
    }

    #[track_caller]
    fn wait_ready(&mut self) {
        let until = Instant::now() + SOON;
        while self.page("/ready").is_none_or(|answer| answer.status() != 200) {
            let left = self.child.as_mut().and_then(|child| child.try_wait().ok().flatten());
            assert!(left.is_none(), "the control plane left:\n{}", self.log());
            assert!(Instant::now() < until, "the control plane is not ready:\n{}", self.log());
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    }

    /// Stops it in the middle of whatever it does; connections stay.
    pub fn freeze(&self) {
        self.signal(libc::SIGSTOP);
        // Its threads stop one by one, and one that still runs may answer.
        let child = self.child.as_ref().expect("it runs");
        let threads = format!("/proc/{}/task", child.id());
        super::eventually("all of its threads stand still", || {
            let threads = std::fs::read_dir(&threads).expect("it is there").flatten();
            let stat =
                |thread: std::fs::DirEntry| std::fs::read_to_string(thread.path().join("stat"));
            threads.map(stat).all(|stat| stat.is_ok_and(|stat| stat.contains(") T ")))
        });
    }

    /// Lets it go on.
    pub fn thaw(&self) {
        self.signal(libc::SIGCONT);
    }

    fn signal(&self, signal: libc::c_int) {
        let child = self.child.as_ref().expect("it runs");
        let pid = libc::pid_t::try_from(child.id()).expect("a process id");
        // SAFETY: the child has not been waited for, so that the id is still its own.
        let sent = unsafe { libc::kill(pid, signal) };
        assert_eq!(sent, 0, "{}", io::Error::last_os_error());
    }

    pub fn data(&self) -> PathBuf {
        let path = self.folder.path("data");
        match (self.disk, &self.child) {
            // Its mounts are its own.
            (Some(_), Some(child)) => format!("/proc/{}/root{}", child.id(), path.display()).into(),
            _ => path,
        }
    }

    /// The roots of its mesh.
    pub fn anchors_pem(&self) -> String {
        fs::read_to_string(self.data().join("ca.pem")).expect("it was made")
    }

    /// The operators' token.
    pub fn operator_token(&self) -> String {
        let token = fs::read_to_string(self.data().join("operator.token")).expect("it was made");
        token.trim().to_owned()
    }

    /// What it wrote to standard error, in all its lives.
    pub fn log(&self) -> String {
        self.folder.read("log")
    }

    #[track_caller]
    pub fn await_log(&self, words: &str) {
        let until = Instant::now() + SOON;
        while !self.log().contains(words) {
            assert!(Instant::now() < until, "no {words:?} in the log:\n{}", self.log());
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    }

    /// An admin page; `None` when nobody answers.
    pub fn page(&self, path: &str) -> Option<Message> {
        let mut wire = Wire::of(std::net::TcpStream::connect(self.admin).ok()?);
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", self.admin);
        wire.try_send(request).ok()?;
        wire.message(false).ok()
    }

    /// The JSON of an admin page.
    #[track_caller]
    pub fn json(&self, path: &str) -> Value {
        let answer = self.page(path).unwrap_or_else(|| panic!("{path} does not answer"));
        assert_eq!(answer.status(), 200, "{path}: {}", answer.text());
        serde_json::from_slice(&answer.body).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    /// The sum of a metric's series that have these labels; 0 without one.
    pub fn metric(&self, family: &str, labels: &[&str]) -> f64 {
        let text = self.page("/metrics").map(|answer| answer.text()).unwrap_or_default();
        super::sidecar::series(&text, family, labels)
    }

    /// Certificates given to those who joined.
    pub fn enrolled(&self) -> f64 {
        self.metric("outrigger_control_certificates_issued_total", &["enrolled"])
    }

    /// Signing requests that got none.
    pub fn refused(&self) -> f64 {
        self.metric("outrigger_control_certificates_issued_total", &["refused"])
    }

    /// The names of the registered workloads, as `name.namespace`.
    #[track_caller]
    pub fn registrations(&self) -> Vec<String> {
        let page = self.json("/registrations");
        let list = page["registrations"].as_array().expect("a list");
        list.iter().filter_map(|one| one["workload"].as_str().map(str::to_owned)).collect()
    }

    /// A command of people, as an operator.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = outrigger();
        command
            .args(arguments)
            .args(["--control-plane", &self.address.to_string(), "--trust-anchors"])
            .arg(self.data().join("ca.pem"))
            .arg("--token-file")
            .arg(self.data().join("operator.token"));
        command
    }

    /// Runs a command to its end.
    pub fn run(&self, arguments: &[&str]) -> Said {
        Said::of(self.command(arguments).output().expect("the program starts"))
    }

    /// Runs a command that must succeed; what it printed.
    #[track_caller]
    pub fn done(&self, arguments: &[&str]) -> String {
        let said = self.run(arguments);
        assert_eq!(said.code, Some(0), "{arguments:?}: {said:?}");
        said.out
    }

    /// Applies documents that may be wrong.
    pub fn try_apply(&self, yaml: &str) -> Said {
        let mut command = self.command(&["apply", "-f", "-"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the program starts");
        let written = child.stdin.take().map(|mut input| input.write_all(yaml.as_bytes()));
        let output = child.wait_with_output().expect("it is our child");
        let said = Said::of(output);
        assert!(written.is_some_and(|written| written.is_ok()), "{said:?}");
        said
    }

    /// Applies documents that are right.
    #[track_caller]
    pub fn apply(&self, yaml: &str) {
        let said = self.try_apply(yaml);
        assert_eq!(said.code, Some(0), "{said:?}");
    }

    /// A token for a service account of the namespace `default`, with further arguments.
    #[track_caller]
    pub fn token(&self, account: &str, arguments: &[&str]) -> String {
        self.named_token(account, arguments).1
    }

    /// The same, after what it goes by.
    #[track_caller]
    pub fn named_token(&self, account: &str, arguments: &[&str]) -> (String, String) {
        let fixed = ["token", "create", "-n", "default", "-s", account, "-o", "json"];
        let facts: Value =
            serde_json::from_str(&self.done(&[&fixed, arguments].concat())).expect("JSON");
        let text = |name: &str| facts[name].as_str().expect("a text").to_owned();
        (text("id"), text("token"))
    }
}

/// What a command of people said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Said {
    fn of(output: Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self { code: output.status.code(), out: text(&output.stdout), err: text(&output.stderr) }
    }
}

/// A Service of the namespace `default` at port 80, for workloads labelled `app: name`.
pub fn service(name: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: {name}, namespace: default}}\n\
         spec: {{selector: {{app: {name}}}, ports: [{{port: 80, targetPort: app}}]}}\n"
    )
}

impl Drop for ControlPlane {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            let tail = &lines[lines.len().saturating_sub(25)..];
            eprintln!("--- {}\n{}", self.folder.as_ref().display(), tail.join("\n"));
        }
    }
}

pub(super) fn die_with_us() -> io::Result<()> {
    // SAFETY: a plain system call with valid arguments.
    match unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
