//! A pod with rules and without a sidecar: what listens says which of the two it is, and where a
//! connection was going, so that a scenario is a table of who called what and who answered.

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

use crate::harness::host::Host;

/// The app, and the sidecar.
pub const APP: u32 = 1000;
pub const SIDECAR: u32 = 2102;
pub const MARK: u32 = 0x6f72;
pub const LOCALHOST: [&str; 2] = ["127.0.0.1", "::1"];
pub const APP_LEG: [&str; 2] = ["127.0.0.6", "::6"];
/// Addresses of the pod and of another host, in IPv4 and IPv6, and one where nobody is.
pub const POD: [&str; 2] = ["10.81.1.1", "fd81:1::1"];
pub const OUTSIDE: [&str; 2] = ["10.81.1.2", "fd81:1::2"];
pub const NOWHERE: [&str; 2] = ["10.81.99.9", "fd81:99::9"];

pub struct Pod {
    pub host: Host,
    pub outside: Host,
}

/// Who calls.
#[derive(Clone, Copy, Default)]
pub struct Caller<'a> {
    pub uid: u32,
    /// Without it, what the kernel chooses.
    pub from: Option<&'a str>,
    pub mark: Option<u32>,
}

/// A listener that says who it is, until it is dropped.
pub struct Voice {
    socket: Socket,
    thread: Option<JoinHandle<()>>,
}

impl Pod {
    /// On a link with another host, which is its way to everywhere.
    pub fn new() -> Option<Pod> {
        let [host, outside] = Host::pair([POD[0], OUTSIDE[0]])?;
        host.shell(&format!(
            "ip -6 address add {}/64 dev mesh0 nodad\n\
             ip route add default via {}\nip -6 route add default via {}",
            POD[1],
            OUTSIDE[0],
            // Before the link is up for long enough, the router can't be known to be there.
            format_args!("{} dev mesh0 onlink", OUTSIDE[1])
        ));
        outside.shell(&format!("ip -6 address add {}/64 dev mesh0 nodad", OUTSIDE[1]));
        Some(Pod { host, outside })
    }

    /// Runs `outrigger-proxy init` and returns what it says.
    #[track_caller]
    pub fn init(&self, arguments: &str) -> String {
        self.host.shell(&format!("outrigger-proxy init {arguments}"))
    }

    /// The sidecar's two ports and its probes', and an app.
    pub fn voices(&self) -> [Voice; 4] {
        [(15001, "outbound"), (15006, "inbound"), (15020, "probes"), (8080, "app")]
            .map(|(port, name)| Voice::new(&self.host, port, name, false))
    }

    /// Everything in the kernel that `init` may touch. Counts of packets are no difference.
    pub fn state(&self) -> String {
        let mut text = self.host.shell(
            "nft list ruleset\nip address show dev lo\nip rule\nip -6 rule\n\
             ip route show table all\nip -6 route show table all",
        );
        // Addresses of the link come when the kernel has asked whether anybody else has them.
        let is_late = |line: &&str| line.contains("fe80:") && !line.contains("daddr");
        text = text.lines().filter(|line| !is_late(line)).collect::<Vec<_>>().join("\n");
        while let Some((before, rest)) = text.split_once("counter packets ") {
            let after = rest.splitn(4, ' ').nth(3).unwrap_or_default();
            text = format!("{before}counter {after}");
        }
        text
    }
}

/// Whether a program is there that a scenario needs; it must be where nothing may be skipped.
pub fn has(program: &str) -> bool {
    let folders = ["/usr/sbin", "/usr/bin", "/sbin", "/bin"];
    let found = folders.iter().any(|folder| std::path::Path::new(folder).join(program).exists());
    let promised = std::env::var_os("TESTS_MUST_NOT_SKIP").is_some();
    assert!(found || !promised, "{program} is not installed");
    if !found {
        eprintln!("skipped: {program} is not installed");
    }
    found
}

/// An address with a port, of either family.
pub fn at(ip: &str, port: u16) -> SocketAddr {
    SocketAddr::new(ip.parse().expect("an address"), port)
}

impl Voice {
    /// On every address of the host. One that is transparent takes what TPROXY hands it.
    pub fn new(host: &Host, port: u16, name: &'static str, is_transparent: bool) -> Voice {
        let socket = host.on(|| {
            let socket = Socket::new(Domain::IPV6, Type::STREAM, None)?;
            socket.set_only_v6(false)?;
            socket.set_reuse_address(true)?;
            if is_transparent {
                // Either is enough for both families; socket2 has the one of IPv4.
                socket.set_ip_transparent_v4(true)?;
            }
            socket.bind(&at("::", port).into())?;
            socket.listen(64)?;
            Ok::<_, std::io::Error>(socket)
        });
        let socket = socket.expect("the port is free");
        let listener = socket.try_clone().expect("a descriptor");
        let serve = move || {
            while let Ok((stream, from)) = listener.accept() {
                let from = plain(from.as_socket().expect("an address"));
                let mut said = name.to_owned();
                let to = going_to(&stream, is_transparent);
                let _ = write!(said, " {}", to.map_or("direct".into(), |to| to.to_string()));
                let _ = write!(said, " from {}", from.ip());
                let _ = (&stream).write_all(said.as_bytes());
            }
        };
        Voice { socket, thread: Some(thread::spawn(serve)) }
    }
}

impl Drop for Voice {
    fn drop(&mut self) {
        let _ = self.socket.shutdown(std::net::Shutdown::Both);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Where a connection was going, if it was elsewhere; or by its local address.
fn going_to(stream: &Socket, is_transparent: bool) -> Option<SocketAddr> {
    let local = plain(stream.local_addr().ok()?.as_socket()?);
    let original = match local {
        SocketAddr::V4(_) => stream.original_dst_v4(),
        SocketAddr::V6(_) => stream.original_dst_v6(),
    };
    let original = original.ok().and_then(|address| address.as_socket()).map(plain);
    original.filter(|to| *to != local).or(is_transparent.then_some(local))
}

fn plain(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

impl Caller<'_> {
    /// What is said at the other end, or why nobody is there.
    pub fn call(self, host: &Host, to: SocketAddr) -> String {
        host.on(|| self.connect(to)).unwrap_or_else(|error| format!("{:?}", error.kind()))
    }

    fn connect(self, to: SocketAddr) -> std::io::Result<String> {
        // SAFETY: it concerns this thread alone, which ends.
        unsafe { libc::setfsuid(self.uid) };
        let socket = Socket::new(Domain::for_address(to), Type::STREAM, Some(Protocol::TCP))?;
        if let Some(mark) = self.mark {
            socket.set_mark(mark)?;
        }
        if let Some(from) = self.from {
            let from: IpAddr = from.parse().expect("an address");
            // Also one that is another host's.
            socket.set_ip_transparent_v4(true)?;
            socket.bind(&SocketAddr::new(from, 0).into())?;
        }
        socket.connect_timeout(&to.into(), Duration::from_secs(3))?;
        let mut stream = TcpStream::from(socket);
        stream.set_read_timeout(Some(Duration::from_secs(3)))?;
        let mut said = String::new();
        stream.read_to_string(&mut said)?;
        Ok(said)
    }
}
