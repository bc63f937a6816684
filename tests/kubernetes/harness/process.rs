//! A process that ends with its value, or with the thread that started it; its log is shown when the
//! scenario fails.

use std::fs::File;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

pub struct Process {
    name: &'static str,
    log: PathBuf,
    child: Child,
}

impl Process {
    /// Starts it; whatever it says is added to the log.
    pub fn start(name: &'static str, mut command: Command, log: PathBuf) -> Self {
        let file = || File::options().create(true).append(true).open(&log).expect("writable");
        command.stdin(Stdio::null()).stdout(file()).stderr(file());
        // SAFETY: the call is allowed between fork and exec, and touches nothing of ours.
        unsafe {
            command.pre_exec(die_with_us);
        }
        let child = command.spawn().unwrap_or_else(|error| panic!("{name}: {error}"));
        Self { name, log, child }
    }

    pub fn has_left(&mut self) -> bool {
        self.child.try_wait().ok().flatten().is_some()
    }

    /// Stops it in the middle of whatever it does, or lets it go on.
    pub fn signal(&self, signal: libc::c_int) {
        let pid = libc::pid_t::try_from(self.child.id()).expect("a process id");
        // SAFETY: the child has not been waited for, so that the id is still its own.
        let sent = unsafe { libc::kill(pid, signal) };
        assert_eq!(sent, 0, "{}", io::Error::last_os_error());
    }

    pub fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            let tail = &lines[lines.len().saturating_sub(25)..];
            eprintln!("--- {} ({})\n{}", self.name, self.log.display(), tail.join("\n"));
        }
    }
}

fn die_with_us() -> io::Result<()> {
    // SAFETY: a plain system call with valid arguments.
    match unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
