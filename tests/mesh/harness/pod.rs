//! One pod: its interception, its sidecar, and what the apps in it do.
//!
//! The sidecar runs as the user that the rules exempt, with the capability NET_ADMIN or without.
//! Apps are threads of the test, or processes, of other users; whatever they connect to goes where
//! the rules say.

use serde_json::Value;
use std::fs::{self, File};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::{MetadataExt, chown};
use std::path::{Path, PathBuf};

use super::host::{Host, Process};
use super::{Family, Message, Pods, SOON, Wire, within};

/// Whom the interception rules exempt.
const UID: u32 = 2102;
const PROXY: &str = env!("CARGO_BIN_EXE_outrigger-proxy");
const ADMIN: &str = "127.0.0.1:15000";

/// What a pod is to be.
pub struct Plan<'p> {
    pods: &'p Pods,
    name: String,
    unknown: &'static str,
    drain: &'static str,
    may_mark: bool,
    init: String,
    rules: Option<String>,
    has_ipv6: bool,
    tproxy: bool,
}

pub struct Pod {
    pub name: String,
    pub host: Host,
    pub ip: IpAddr,
    may_mark: bool,
    sidecar: Option<Process>,
}

impl<'p> Plan<'p> {
    pub(super) fn new(pods: &'p Pods, name: &str) -> Self {
        Self {
            pods,
            name: name.to_owned(),
            unknown: "pass",
            drain: "{minimum: 500ms, deadline: 10s}",
            may_mark: false,
            init: String::new(),
            rules: None,
            has_ipv6: true,
            tproxy: false,
        }
    }

    /// What becomes of destinations that the mesh doesn't know.
    pub fn unknown(mut self, what: &'static str) -> Self {
        self.unknown = what;
        self
    }

    /// As in YAML.
    pub fn drain(mut self, drain: &'static str) -> Self {
        self.drain = drain;
        self
    }

    /// The sidecar has CAP_NET_ADMIN.
    pub fn may_mark(mut self) -> Self {
        self.may_mark = true;
        self
    }

    /// Connections come in by TPROXY, for which the sidecar has CAP_NET_ADMIN.
    pub fn tproxy(mut self) -> Self {
        self.tproxy = true;
        self.may_mark = true;
        self
    }

    /// Further arguments of `outrigger-proxy init`.
    pub fn init(mut self, arguments: &str) -> Self {
        self.init = arguments.to_owned();
        self
    }

    /// The pod has IPv4 alone, as with many a network plugin.
    pub fn without_ipv6(mut self) -> Self {
        self.has_ipv6 = false;
        self
    }

    /// Rules of nftables in place of those of `init`.
    pub fn rules(mut self, rules: &str) -> Self {
        self.rules = Some(rules.to_owned());
        self
    }

    /// Starts it, and waits until its sidecar is ready.
    #[track_caller]
    pub fn start(self) -> Pod {
        let (host, ip) = self.pods.host(&self.name);
        let account = self.name.rsplit_once('-').map_or(&*self.name, |(account, _)| account);
        let token = format!(
            "token create -n default -s {account} --label app={account} --uses 100 -o json"
        );
        let token: Value = serde_json::from_str(&self.pods.outrigger(&token)).expect("JSON");
        host.folder.write("token", token["token"].as_str().expect("a token"));
        host.folder.write("ca.pem", &self.pods.anchors_pem());
        host.folder.write("config.yaml", &self.config(account));
        // It keeps the newest bundle beside its trust anchors.
        chown(host.folder.as_ref(), Some(UID), Some(UID)).expect("root may");
        self.intercept(&host);
        let may_mark = self.may_mark;
        let mut pod = Pod { name: self.name, host, ip, may_mark, sidecar: None };
        pod.start();
        pod
    }

    /// As the injector writes it.
    fn config(&self, account: &str) -> String {
        let Plan { name, unknown, drain, .. } = self;
        format!(
            "workload: {{namespace: default, name: {name}, serviceAccount: {account}, \
             labels: {{app: {account}}}}}\n\
             controlPlane: {{address: \"{}\", trustAnchors: ca.pem, tokenFile: token}}\n\
             inbound: {{listen: \"[::]:15006\", mode: {}}}\n\
             outbound: {{listen: [\"127.0.0.1:15001\", \"[::1]:15001\"], unknown: {unknown}}}\n\
             admin: {{listen: \"[::]:15000\"}}\ndrain: {drain}\n\
             workers: 1\nlog: {{level: debug}}\n",
            self.pods.address(),
            self.mode(),
        )
    }

    fn mode(&self) -> &'static str {
        if self.tproxy { "tproxy" } else { "redirect" }
    }

    #[track_caller]
    fn intercept(&self, host: &Host) {
        if !self.has_ipv6 {
            let off = "echo 1 > /proc/sys/net/ipv6/conf";
            host.shell(&format!("{off}/all/disable_ipv6\n{off}/lo/disable_ipv6"));
        }
        let Some(rules) = &self.rules else {
            host.shell(&format!("outrigger-proxy init --mode {} {}", self.mode(), self.init));
            return;
        };
        host.folder.write("rules.nft", rules);
        host.shell("nft -f rules.nft; ip address add ::6/128 dev lo nodad");
    }
}

impl Pod {
    pub(super) fn unmeshed(name: &str, host: Host, ip: IpAddr) -> Self {
        Pod { name: name.to_owned(), host, ip, may_mark: false, sidecar: None }
    }

    /// Starts the sidecar, anew if there was one, and waits until it is ready.
    #[track_caller]
    pub fn start(&mut self) {
        self.launch();
        within(SOON, "the pod is ready", || self.is_ready());
    }

    pub fn is_ready(&self) -> bool {
        self.page("/ready").is_some_and(|answer| answer.status() == 200)
    }

    /// Starts the sidecar, anew if there was one.
    #[track_caller]
    pub fn launch(&mut self) {
        let mut command = self.host.command("setpriv");
        command.args(["--reuid=2102", "--regid=2102", "--clear-groups", "--pdeathsig=SIGKILL"]);
        if self.may_mark {
            command.args(["--inh-caps=+net_admin", "--ambient-caps=+net_admin"]);
        }
        let access_log = self.host.folder.path("access.log");
        let access_log = File::options().create(true).append(true).open(access_log);
        command.arg(program(&self.host)).args(["run", "--config", "config.yaml"]).env_clear();
        command.stdout(access_log.expect("the folder is writable"));
        command.env("PATH", "/usr/bin:/bin");
        self.sidecar = Some(self.host.start_command(command, "sidecar.log"));
    }

    #[track_caller]
    pub fn sidecar(&self) -> &Process {
        self.sidecar.as_ref().expect("it has a sidecar")
    }

    #[track_caller]
    pub fn sidecar_mut(&mut self) -> &mut Process {
        self.sidecar.as_mut().expect("it has a sidecar")
    }

    /// One of its ports, as others reach it.
    pub fn at(&self, port: u16) -> SocketAddr {
        SocketAddr::new(self.ip, port)
    }

    /// The last part of its addresses.
    pub fn last(&self) -> u8 {
        match self.ip {
            IpAddr::V4(ip) => ip.octets()[3],
            IpAddr::V6(ip) => ip.octets()[15],
        }
    }

    /// Does something as an app of the pod.
    pub fn on<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        self.host.on(work)
    }

    /// Starts a program of another user, as a line of a shell in the pod's folder. It finds the
    /// hosts file that Kubernetes writes for a pod.
    #[track_caller]
    pub fn start_as(&self, user: &str, line: &str, log: &'static str) -> Process {
        let (v4, v6) = (Family::V4.ip(self.last()), Family::V6.ip(self.last()));
        let hosts = format!("127.0.0.1 localhost\n::1 localhost\n{v4} {0}\n{v6} {0}\n", self.name);
        self.host.folder.write("hosts", &hosts);
        let line = format!(
            "mount --bind hosts /etc/hosts\nexec setpriv --reuid={user} --regid={user} \
             --init-groups --pdeathsig=SIGKILL {line}"
        );
        let mut command = self.host.command("unshare");
        command.args(["--mount", "sh", "-euc", &line]).env_clear();
        command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        let output = self.host.folder.path(&format!("{log}.out"));
        command.stdout(File::create(output).expect("the folder is writable"));
        self.host.start_command(command, log)
    }

    /// Starts an app that listens to all of the pod's addresses.
    pub fn app<T: Send>(&self, port: u16, start: impl FnOnce(SocketAddr) -> T + Send) -> T {
        self.on(|| start((Ipv6Addr::UNSPECIFIED, port).into()))
    }

    /// One request of an app, on a connection of its own.
    #[track_caller]
    pub fn ask(&self, to: SocketAddr, request: &str) -> Message {
        self.host.ask(to, request)
    }

    #[track_caller]
    pub fn connect(&self, to: SocketAddr) -> Wire {
        self.on(|| Wire::connect(to))
    }

    /// A page of the sidecar; `None` when nobody answers.
    pub fn page(&self, path: &str) -> Option<Message> {
        let request = format!("GET {path} HTTP/1.1\r\nHost: {ADMIN}\r\nConnection: close\r\n\r\n");
        self.on(|| {
            let mut wire = Wire::of(std::net::TcpStream::connect(ADMIN).ok()?);
            wire.try_send(request).ok()?;
            wire.message(false).ok()
        })
    }

    /// The sum of a metric's series that have these labels.
    #[track_caller]
    pub fn metric(&self, family: &str, labels: &[&str]) -> f64 {
        let page = self.page("/metrics").expect("the sidecar answers").text();
        super::sidecar::series(&page, family, labels)
    }

    /// Connections that came in with mutual TLS, of any protocol.
    #[track_caller]
    pub fn meshed_in(&self) -> f64 {
        let labels = ["direction=\"inbound\"", "tls=\"mtls\""];
        self.metric("outrigger_connections_total", &labels)
    }

    /// Connections of any kind that the sidecar took.
    #[track_caller]
    pub fn taken(&self) -> f64 {
        self.metric("outrigger_connections_total", &[])
    }
}

/// The sidecar's program, where its user may run it: a checkout may lie in a folder of root's own.
fn program(host: &Host) -> PathBuf {
    let is_open = |folder: &Path| folder.metadata().is_ok_and(|of| of.mode() & 0o001 != 0);
    if Path::new(PROXY).ancestors().all(is_open) {
        return PROXY.into();
    }
    let reachable = host.folder.path("outrigger-proxy");
    if !reachable.exists() && fs::hard_link(PROXY, &reachable).is_err() {
        fs::copy(PROXY, &reachable).expect("the folder is writable");
    }
    reachable
}

/// Somebody else's idea of what `outrigger-proxy init` does, to leave something out of it.
pub const RULES: &str = "
table inet outrigger {
  chain output { type nat hook output priority -100; policy accept;
    meta l4proto != tcp accept
    meta mark 0x6f72 accept
    ip saddr 127.0.0.6 accept
    ip6 saddr ::6 accept
    ip daddr 127.0.0.0/8 accept
    ip6 daddr ::1 accept
    meta skuid 2102 fib daddr type local meta l4proto tcp redirect to :15006
    meta skuid 2102 accept
    meta l4proto tcp redirect to :15001
  }
  chain prerouting { type nat hook prerouting priority -100; policy accept;
    meta l4proto != tcp accept
    iif lo accept
    tcp dport { 15000, 15001, 15006, 15020 } accept
    fib daddr type local meta l4proto tcp redirect to :15006
  }
}
";
