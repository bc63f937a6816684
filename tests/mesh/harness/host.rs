//! Machines in one: each host is a network namespace of its own, and pairs of virtual cards join
//! them.
//!
//! The namespaces have no names: a descriptor and the processes in them hold them, and they are
//! gone with the last of these, also when the test is killed. So are the cards.

use std::fs::{self, File};
use std::io::{self, Read};
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

use super::{Folder, Message, Wire, eventually, within};

/// What makes a host that can't be made a failure.
pub const NO_SKIP: &str = "TESTS_MUST_NOT_SKIP";

pub struct Host {
    network: File,
    pub folder: Folder,
}

impl Host {
    /// Hosts with these addresses, on one link; `None`, with a line that says so, where this
    /// process may not make them, unless `TESTS_MUST_NOT_SKIP` is set.
    pub fn pair(addresses: [&str; 2]) -> Option<[Host; 2]> {
        or_skip(Self::try_pair(addresses), "two hosts need root and the command `ip` (iproute2)")
    }

    fn try_pair(addresses: [&str; 2]) -> io::Result<[Host; 2]> {
        let [a, b] = [Self::new("host-a")?, Self::new("host-b")?];
        a.ip(&format!("link add mesh0 type veth peer name mesh0 netns {}", b.namespace()))?;
        for (host, address) in [&a, &b].into_iter().zip(addresses) {
            host.ip("link set lo up")?;
            host.ip(&format!("address add {address}/24 dev mesh0"))?;
            host.ip("link set mesh0 up")?;
        }
        Ok([a, b])
    }

    /// A host without a link.
    pub fn new(name: &str) -> io::Result<Host> {
        let made = thread::spawn(|| {
            // SAFETY: a plain system call; it concerns this thread alone, which ends.
            if unsafe { libc::unshare(libc::CLONE_NEWNET) } != 0 {
                return Err(io::Error::last_os_error());
            }
            File::open("/proc/thread-self/ns/net")
        });
        let network = made.join().expect("it does not panic")?;
        Ok(Host { network, folder: Folder::new(name) })
    }

    /// Its network namespace, as other programs of this process's children may name it.
    pub fn namespace(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.network.as_raw_fd())
    }

    pub fn ip(&self, arguments: &str) -> io::Result<()> {
        let output = self.command("ip").args(arguments.split(' ')).output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        let failed = || io::Error::other(format!("ip {arguments}: {said}"));
        output.status.success().then_some(()).ok_or_else(failed)
    }

    /// A program on this host, not started; it dies with the thread that starts it.
    pub fn command(&self, program: &str) -> Command {
        let network = self.network.as_raw_fd();
        let mut command = Command::new(program);
        // SAFETY: the calls are allowed between fork and exec, and touch nothing of ours.
        unsafe {
            command.pre_exec(move || {
                enter(network)?;
                match libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) {
                    0 => Ok(()),
                    _ => Err(io::Error::last_os_error()),
                }
            });
        }
        command.stdin(Stdio::null()).current_dir(&self.folder);
        command
    }

    /// Does something whose sockets are this host's.
    pub fn on<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let network = self.network.as_raw_fd();
        let done = thread::scope(|scope| {
            let thread = scope.spawn(move || {
                enter(network).expect("the namespace is held");
                work()
            });
            thread.join()
        });
        done.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    /// Runs lines of a shell in the host's folder, with the programs under test in the path, and
    /// returns everything that they print.
    #[track_caller]
    pub fn shell(&self, lines: &str) -> String {
        let programs = PathBuf::from(env!("CARGO_BIN_EXE_outrigger"));
        let programs = programs.parent().expect("a folder").display().to_string();
        let mut command = self.command("sh");
        command.args(["-euc", &format!("exec 2>&1\n{lines}")]).env_clear();
        command.env("PATH", format!("{programs}:/usr/sbin:/usr/bin:/sbin:/bin"));
        let output = command.env("HOME", self.folder.as_ref()).output().expect("sh starts");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{lines}\n{said}");
        said
    }

    /// Starts a program that stays. Its log is `log` in the host's folder, begun anew.
    #[track_caller]
    pub fn start(&self, program: &str, arguments: &[&str], log: &'static str) -> Process {
        let mut command = self.command(program);
        command.args(arguments).env_clear().stdout(Stdio::null());
        self.start_command(command, log)
    }

    /// The same, for a command that has everything but its log.
    #[track_caller]
    pub fn start_command(&self, mut command: Command, log: &'static str) -> Process {
        let log = self.folder.path(log);
        command.stderr(File::create(&log).expect("the folder is writable"));
        Process { child: command.spawn().expect("the program starts"), log }
    }

    /// Does something, and returns all that passed the link meanwhile, both ways.
    pub fn overheard(&self, work: impl FnOnce()) -> Vec<u8> {
        let every = Protocol::from(i32::from((libc::ETH_P_ALL as u16).to_be()));
        let socket = self.on(|| Socket::new(Domain::PACKET, Type::RAW, Some(every)));
        let mut socket = socket.expect("root may listen to everything");
        socket.set_nonblocking(true).expect("a socket can");
        work();
        let (mut heard, mut frame) = (Vec::new(), vec![0; 128 << 10]);
        while let Ok(length) = socket.read(&mut frame) {
            let is_across = length > HEADERS && frame[SENDER] != 127;
            heard.extend_from_slice(if is_across { &frame[..length] } else { &[] });
        }
        heard
    }

    /// One request on a connection of its own.
    #[track_caller]
    pub fn ask(&self, to: SocketAddr, request: &str) -> Message {
        self.on(|| Wire::connect(to).ask(request))
    }
}

/// `None`, with a line that says why, where this process can't, unless it must.
pub fn or_skip<T>(tried: io::Result<T>, needs: &str) -> Option<T> {
    match tried {
        Ok(done) => Some(done),
        Err(error) if std::env::var_os(NO_SKIP).is_some() => panic!("{needs}: {error}"),
        Err(error) => {
            eprintln!("skipped: {needs}: {error}");
            None
        }
    }
}

/// Bytes of an Ethernet and an IPv4 header, and where the latter says who sends.
const HEADERS: usize = 34;
const SENDER: usize = 26;

/// This thread is on another host from now on.
fn enter(network: RawFd) -> io::Result<()> {
    // SAFETY: a plain system call with a descriptor that is open.
    match unsafe { libc::setns(network, libc::CLONE_NEWNET) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// A process of a host; killed with its value, and then the end of its log is shown if the scenario
/// fails.
pub struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    #[track_caller]
    pub fn await_log(&self, words: &str) {
        eventually(&format!("{words:?} in {}", self.log.display()), || self.log().contains(words));
    }

    /// Ends it as a crash or a power cut does.
    pub fn kill(&mut self) {
        self.child.kill().expect("it is our child");
        self.child.wait().expect("it is our child");
    }

    /// Asks it to leave, without waiting for it.
    pub fn terminate(&self) {
        self.signal(libc::SIGTERM);
    }

    pub fn signal(&self, signal: libc::c_int) {
        let pid = libc::pid_t::try_from(self.child.id()).expect("a process id");
        // SAFETY: the child has not been waited for, so that the id is still its own.
        let sent = unsafe { libc::kill(pid, signal) };
        assert_eq!(sent, 0, "{}", io::Error::last_os_error());
    }

    /// How it left, when it leaves within `limit`.
    #[track_caller]
    pub fn exit(&mut self, limit: Duration) -> ExitStatus {
        let mut status = None;
        within(limit, "the process leaves", || {
            status = self.child.try_wait().expect("it is our child");
            status.is_some()
        });
        status.expect("it was waited for")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            let tail = &lines[lines.len().saturating_sub(25)..];
            eprintln!("--- {}\n{}", self.log.display(), tail.join("\n"));
        }
    }
}
