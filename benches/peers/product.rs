//! The proxies that are compared, and how each is started in each place.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::certificates::Certificates;
use super::process::Process;
use super::processes::{await_port, free_address};
use super::{envoy, haproxy, nginx, outrigger_sidecar};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Outrigger,
    /// The same with a mesh's work on top.
    Mesh,
    /// And a line for each request.
    Logged,
    Haproxy,
    Nginx,
    Envoy,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speaks {
    Http1,
    Grpc,
    Tcp,
}

/// Where a process stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Alone, plaintext on both sides.
    Hop,
    /// Plaintext in, mutual TLS out.
    Caller,
    /// Mutual TLS in, plaintext out.
    Called,
}

/// What one process does.
pub struct Part {
    pub speaks: Speaks,
    pub place: Place,
    pub listen: SocketAddr,
    pub to: SocketAddr,
}

pub struct Product {
    pub kind: Kind,
    pub name: String,
    program: PathBuf,
}

impl Product {
    /// Ours, peers as far as they are installed, and the names of those that aren't.
    pub fn all(build: &Path) -> (Vec<Self>, Vec<&'static str>) {
        let ours = |kind, name: &str| Self { kind, name: name.into(), program: build.into() };
        let mut all = vec![
            ours(Kind::Outrigger, "Outrigger"),
            ours(Kind::Mesh, "with a mesh's work"),
            ours(Kind::Logged, "and an access log"),
        ];
        let mut missing = Vec::new();
        for (kind, name, program, flag) in [
            (Kind::Haproxy, "HAProxy", "haproxy", "-v"),
            (Kind::Nginx, "nginx", "nginx", "-v"),
            (Kind::Envoy, "Envoy", "envoy", "--version"),
        ] {
            match installed(program, flag) {
                Some((program, version)) => {
                    all.push(Self { kind, name: format!("{name} {version}"), program });
                }
                None => missing.push(name),
            }
        }
        (all, missing)
    }

    pub fn is_ours(&self) -> bool {
        matches!(self.kind, Kind::Outrigger | Kind::Mesh | Kind::Logged)
    }

    /// What a caller offers for HTTP/1, or HTTP/2.
    pub fn alpn(&self, is_http2: bool) -> &'static str {
        match (self.is_ours(), is_http2) {
            (true, false) => "outrigger-h1",
            (true, true) => "outrigger-h2",
            (false, false) => "http/1.1",
            (false, true) => "h2",
        }
    }

    /// The same, started without whatever launches it.
    pub fn at(&self, program: PathBuf) -> Self {
        Self { kind: self.kind, name: self.name.clone(), program }
    }

    /// Starts one process, and does not wait for it.
    pub fn start(&self, part: &Part, certificates: &Certificates) -> Process {
        Process::start(|folder| {
            let mut command = Command::new(&self.program);
            match self.kind {
                kind @ (Kind::Outrigger | Kind::Mesh | Kind::Logged) => {
                    outrigger_sidecar::files(&mut command, folder, part, certificates, kind);
                }
                Kind::Haproxy => haproxy::files(&mut command, folder, part, certificates),
                Kind::Nginx => nginx::files(&mut command, folder, part, certificates),
                Kind::Envoy => envoy::files(&mut command, folder, part, certificates),
            }
            command
        })
    }
}

/// Where a program of this name is, and `1.2` of its version 1.2.3.
fn installed(program: &str, flag: &str) -> Option<(PathBuf, String)> {
    let path = std::env::var_os("PATH")?;
    // Debian has servers where only root looks for them.
    let folders =
        std::env::split_paths(&path).chain(["/usr/sbin".into(), "/usr/local/sbin".into()]);
    let found = folders.map(|folder| folder.join(program)).find(|path| path.is_file())?;
    let output = Command::new(&found).arg(flag).output().ok()?;
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    let after = text.lines().find_map(|line| Some(line.rsplit_once("version")?.1))?;
    let dot = after.find('.')?;
    let start = after[..dot].rfind(|c: char| !c.is_ascii_digit()).map_or(0, |at| at + 1);
    let end = after[dot + 1..].find(|c: char| !c.is_ascii_digit())?;
    Some((found, after[start..=dot + end].to_owned()))
}

/// The processes between a caller and the app.
pub struct Chain {
    pub entrance: SocketAddr,
    pub processes: Vec<Process>,
}

impl Chain {
    /// From the caller's end, and waits until all listen.
    pub fn start(
        product: &Product,
        speaks: Speaks,
        places: &[Place],
        app: SocketAddr,
        certificates: &Certificates,
    ) -> Self {
        let (mut to, mut processes) = (app, Vec::new());
        for place in places.iter().rev() {
            let listen = free_address();
            let part = Part { speaks, place: *place, listen, to };
            let process = product.start(&part, certificates);
            let begun = std::panic::catch_unwind(|| await_port(listen));
            assert!(begun.is_ok(), "{} did not start: {}", product.name, process.log());
            processes.push(process);
            to = listen;
        }
        Self { entrance: to, processes }
    }

    pub fn cpu(&self) -> Duration {
        self.processes.iter().map(Process::cpu).sum()
    }
}
