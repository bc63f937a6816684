//! Processes that a bench starts, each with its files in a folder of its own, and their ports.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

const START: Duration = Duration::from_secs(10);

/// A process that gets a signal when this one ends.
pub fn spawn_ended_by(command: &mut Command, signal: libc::c_int) -> Child {
    // SAFETY: the call is allowed between fork and exec, and touches nothing of ours.
    unsafe {
        command.pre_exec(move || {
            libc::prctl(libc::PR_SET_PDEATHSIG, signal);
            Ok(())
        });
    }
    command.spawn().expect("the binary starts")
}

/// Waits until somebody listens there.
pub fn await_port(address: SocketAddr) {
    let begun = Instant::now();
    while TcpStream::connect(address).is_err() {
        assert!(begun.elapsed() < START, "{address} does not answer: see above");
        sleep(Duration::from_millis(5));
    }
}

pub fn folder() -> PathBuf {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let name = format!("outrigger-bench-{}-{count}", std::process::id());
    let path = std::env::temp_dir().join(name);
    fs::create_dir(&path).expect("a temporary folder");
    path
}

/// An address that nobody listens on right now.
pub fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("it is bound")
}
