//! What it costs to see: a caller's sidecar and an app's, with mutual TLS between them.
//!
//! `off` knows the mesh from files, tells nobody and writes nothing. `joined` has a control plane,
//! reports to it, and is scraped every second; `logged` writes its access log to a file, too. `all on`
//! samples 1 % of the traces besides, for a collector that takes them; `hanging`, for one that
//! accepts connections and never reads.

use std::cell::Cell;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, SystemTime};

use outrigger::identity::issue::Authority;
use outrigger::model::{SpiffeId, TrustDomain};

use super::collector::{self, Collector};
use super::rows::{self, Row};
use super::sidecar::{Sidecar, await_port, folder, free_address, spawn};
use super::{REPETITIONS, load};

/// As long as a report is about.
const MEASURED: Duration = Duration::from_secs(5);
const SCRAPED: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(86_400);

const SERVICE: &str = "apiVersion: v1\nkind: Service\nmetadata: {name: app}\nspec: {selector: {app: \
                       app}, ports: [{name: app, port: 80, targetPort: app}]}\n";

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd)]
enum Seeing {
    Off,
    Joined,
    Logged,
    AllOn,
    Hanging,
}

impl Seeing {
    const ALL: [Self; 5] = [Self::Off, Self::Joined, Self::Logged, Self::AllOn, Self::Hanging];

    fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Joined => "joined, scraped",
            Self::Logged => "… and logged",
            Self::AllOn => "… and traced: all on",
            Self::Hanging => "the same, collector hangs",
        }
    }
}

/// Prints the table.
pub fn measure() {
    let app = load::app(1)[0];
    let mesh = Mesh::start();
    let (collector, hanging) = (Collector::start(), collector::hanging());
    let mut turns = Seeing::ALL.map(|seeing| (seeing, Row::new(seeing.name().to_owned())));
    for _ in 0..REPETITIONS {
        for (seeing, row) in &mut turns {
            let traces = match seeing {
                Seeing::AllOn => format!("http://{}", collector.address),
                Seeing::Hanging => format!("http://{hanging}"),
                _ => String::new(),
            };
            let pair = Pair::start(*seeing, &mesh, app, &traces);
            let scraper = (*seeing != Seeing::Off).then(|| Scraper::start(pair.admins));
            row.take_turn(pair.caller.address, MEASURED, || pair.caller.cpu() + pair.called.cpu());
            drop(scraper);
        }
    }
    rows::show(&turns.map(|(_, row)| row), 1);
    let kib = collector.taken() / 1024;
    rows::say(&format!("The collector took {kib} KiB of spans."));
    assert!(kib > 0, "no span came: what was measured is not what it says");
}

/// A control plane for those who join one, and certificates for those who don't.
struct Mesh {
    address: SocketAddr,
    folder: PathBuf,
    process: Child,
    authority: Authority,
    tokens: Cell<u32>,
}

impl Mesh {
    fn start() -> Self {
        let (address, admin, folder) = (free_address(), free_address(), folder());
        let mut command = outrigger();
        command.args(["control-plane", "--log-level", "warn", "--listen", &address.to_string()]);
        command.args(["--admin-listen", &admin.to_string(), "--data"]).arg(folder.join("data"));
        let process = spawn(command.stdout(Stdio::null()));
        await_port(address);
        let authority = Authority::new(&TrustDomain::default()).expect("a root");
        let mesh = Self { address, folder, process, authority, tokens: Cell::new(0) };
        fs::write(mesh.folder.join("service.yaml"), SERVICE).expect("the folder is ours");
        let file = mesh.folder.join("service.yaml").display().to_string();
        mesh.done(&["apply", "-f", &file]);
        mesh
    }

    /// What an operator's command says.
    fn done(&self, arguments: &[&str]) -> String {
        let mut command = outrigger();
        command.args(arguments).args(["--control-plane", &self.address.to_string()]);
        command.arg("--trust-anchors").arg(self.folder.join("data/ca.pem"));
        command.arg("--token-file").arg(self.folder.join("data/operator.token"));
        let output = command.output().expect("the program starts");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {errors}");
        String::from_utf8(output.stdout).expect("text")
    }

    /// The lines that give a sidecar of `account` its identity, and the files that they name.
    fn identity(&self, seeing: Seeing, account: &str) -> (String, Vec<(&'static str, String)>) {
        if seeing == Seeing::Off {
            let id = format!("spiffe://cluster.local/ns/default/sa/{account}");
            let id = SpiffeId::parse(&id).expect("an id");
            let now = SystemTime::now();
            let issued = self.authority.issue(&id, now - DAY, now + DAY).expect("a certificate");
            let lines = "identity: {certificate: svid.pem, key: svid.key, trustBundle: ca.pem}\n\
                         resources: [mesh.yaml]\n";
            let root = self.authority.root_pem().to_owned();
            let files =
                vec![("svid.pem", issued.cert_pem), ("svid.key", issued.key_pem), ("ca.pem", root)];
            return (lines.to_owned(), files);
        }
        self.tokens.set(self.tokens.get() + 1);
        let label = format!("app={account}");
        let created = ["token", "create", "-n", "default", "-s", account, "--label", &label];
        let facts = self.done(&[&created[..], &["-o", "json"]].concat());
        let facts: serde_json::Value = serde_json::from_str(&facts).expect("JSON");
        let token = facts["token"].as_str().expect("a token").to_owned();
        let root = fs::read_to_string(self.folder.join("data/ca.pem")).expect("it is there");
        let lines = format!(
            "controlPlane: {{address: \"{}\", trustAnchors: ca.pem, tokenFile: token}}\n",
            self.address
        );
        (lines, vec![("ca.pem", root), ("token", token)])
    }
}

impl Drop for Mesh {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn outrigger() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_outrigger"));
    command.env_clear().stdin(Stdio::null());
    command
}

struct Pair {
    caller: Sidecar,
    called: Sidecar,
    admins: [SocketAddr; 2],
}

impl Pair {
    fn start(seeing: Seeing, mesh: &Mesh, app: SocketAddr, traces: &str) -> Self {
        let [entrance, inbound, calling, called] = [(); 4].map(|()| free_address());
        let (ip, port) = (app.ip(), app.port());
        let workload = format!(
            "---\napiVersion: outrigger.dev/v1alpha1\nkind: Workload\nmetadata: {{name: app-1, \
             labels: {{app: app}}}}\nspec: {{address: {ip}, serviceAccount: app, ports: [{{name: \
             app, port: {port}, meshPort: {}}}]}}\n",
            inbound.port()
        );
        let start = |account: &str, address, admin, port: &str| {
            let (identity, mut files) = mesh.identity(seeing, account);
            let log = if seeing >= Seeing::Logged { "json" } else { "off" };
            let traces = match traces {
                "" => String::new(),
                to => {
                    let protocol = if seeing == Seeing::Hanging { "grpc" } else { "http" };
                    format!(
                        ", traces: {{otlpEndpoint: \"{to}\", protocol: {protocol}, sampleRatio: 0.01}}"
                    )
                }
            };
            let own = format!(
                "workload: {{namespace: default, name: {account}-1, serviceAccount: {account}, \
                 labels: {{app: {account}}}}}\n{identity}{port}\nadmin: {{listen: \"{admin}\"}}\n\
                 workers: 1\ntelemetry: {{accessLog: {{format: {log}}}{traces}}}\n"
            );
            files.push(("sidecar.yaml", own));
            files.push(("mesh.yaml", SERVICE.to_owned() + &workload));
            let build = PathBuf::from(env!("CARGO_BIN_EXE_outrigger-proxy"));
            let sidecar = Sidecar::start(&build, address, &files);
            await_ready(admin);
            sidecar
        };
        let listens =
            format!("inbound: {{ports: [{{name: app, listen: \"{inbound}\", app: \"{app}\"}}]}}");
        let called_sidecar = start("app", inbound, called, &listens);
        let upstream = format!(
            "outbound: {{upstreams: [{{listen: \"{entrance}\", service: \"app.default:80\"}}]}}"
        );
        let caller = start("client", entrance, calling, &upstream);
        Self { caller, called: called_sidecar, admins: [calling, called] }
    }
}

/// Waits until a sidecar has all that it needs.
fn await_ready(admin: SocketAddr) {
    for _ in 0..1_000 {
        if page(admin, "/ready").starts_with("HTTP/1.1 200") {
            return;
        }
        thread::sleep(Duration::from_millis(10));
    }
    panic!("the sidecar is not ready: {}", page(admin, "/ready"));
}

fn page(admin: SocketAddr, path: &str) -> String {
    let mut text = String::new();
    if let Ok(mut stream) = TcpStream::connect(admin) {
        let request = format!("GET {path} HTTP/1.1\r\nHost: {admin}\r\nConnection: close\r\n\r\n");
        let _ = stream.write_all(request.as_bytes());
        let _ = stream.read_to_string(&mut text);
    }
    text
}

/// Reads the metrics of both, again and again, until it is let go.
struct Scraper {
    is_over: Arc<AtomicBool>,
}

impl Scraper {
    fn start(admins: [SocketAddr; 2]) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let over = Arc::clone(&is_over);
        thread::spawn(move || {
            while !over.load(Ordering::Relaxed) {
                for admin in admins {
                    page(admin, "/metrics");
                }
                thread::sleep(SCRAPED);
            }
        });
        Self { is_over }
    }
}

impl Drop for Scraper {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
    }
}
