//! The sidecar as a process, with its files in a folder of its own; both end with the value.
//!
//! The kernel ends the process, too, when this one dies. What it writes goes to `/dev/null`, but
//! for its errors.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::scenario::Configuration;

const START: Duration = Duration::from_secs(10);

pub struct Sidecar {
    pub address: SocketAddr,
    process: Child,
    folder: PathBuf,
}

impl Sidecar {
    /// Starts a build of it, and waits until its port answers.
    ///
    /// # Panics
    /// When it doesn't start.
    pub fn start(build: &Path, configuration: Configuration, app: &[SocketAddr]) -> Self {
        let (address, admin, folder) = (free_address(), free_address(), folder());
        let file = folder.join("sidecar.yaml");
        fs::write(&file, configuration.config(address, admin)).expect("the folder is ours");
        fs::write(folder.join("mesh.yaml"), configuration.resources(app)).expect("so it is");
        let mut command = Command::new(build);
        command.arg("--config").arg(file).args(["--set", "log.level=warn"]);
        command.env_clear().stdin(Stdio::null()).stdout(Stdio::null());
        // SAFETY: the call is allowed between fork and exec, and touches nothing of ours.
        unsafe {
            command.pre_exec(|| {
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
                Ok(())
            });
        }
        let process = command.spawn().expect("the binary starts");
        let sidecar = Self { address, process, folder };
        let begun = Instant::now();
        while TcpStream::connect(address).is_err() {
            assert!(begun.elapsed() < START, "{address} does not answer: see above");
            sleep(Duration::from_millis(5));
        }
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

fn folder() -> PathBuf {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let name = format!("outrigger-hop-{}-{count}", std::process::id());
    let path = std::env::temp_dir().join(name);
    fs::create_dir(&path).expect("a temporary folder");
    path
}

/// An address that nobody listens on right now.
fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("it is bound")
}
