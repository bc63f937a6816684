//! The page `deploy/vm/README.md`, done: its commands and its two configurations, on two hosts.
//!
//! Blocks of the page that a comment marks `tried: …` are run as they stand. Only addresses of apps
//! and folders differ, and what belongs to the machine (users, units, packages) is left out.

use std::fs;
use std::net::SocketAddr;

use super::harness::host::{Host, Process};
use super::harness::{App, Message, eventually, get_with, spiffe};

const PAGE: &str = include_str!("../../deploy/vm/README.md");
const A: &str = "10.77.0.1";
const B: &str = "10.77.0.2";
const SECRET: &str = "/what-nobody-else-reads";
const OUTRIGGER: &str = env!("CARGO_BIN_EXE_outrigger");
const PROXY: &str = env!("CARGO_BIN_EXE_outrigger-proxy");

/// The commands of the block that follows a mark.
fn block(name: &str) -> &'static str {
    let mark = format!("<!-- tried: {name} -->\n```sh\n");
    let (_, rest) = PAGE.split_once(&mark).unwrap_or_else(|| panic!("no block {name:?}"));
    rest.split_once("```").expect("a block ends").0
}

/// A text of the page's, with folders of the host in place of the machine's.
fn placed(host: &Host, text: &str) -> String {
    let folder = host.folder.as_ref().display();
    text.replace("/var/lib/outrigger-control-plane", &format!("{folder}/data"))
        .replace("/var/lib/outrigger", &folder.to_string())
        .replace("/etc/outrigger", &folder.to_string())
        .replace("deploy/vm/", concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/vm/"))
}

/// The hosts, after everything that the page does up to the first request.
struct Page {
    a: Host,
    b: Host,
    app: App,
    control_plane: Process,
    web: Process,
    client: Process,
}

impl Page {
    fn follow() -> Option<Page> {
        let [a, b] = Host::pair([A, B])?;
        let app = a.on(App::ok);
        let control_plane = control_plane(&a);
        for name in ["context", "apply", "tokens"] {
            a.shell(&placed(&a, block(name)));
        }
        copy(&a, "web.token", &a);
        copy(&a, "client.token", &b);
        let app_address = app.address.to_string();
        let config =
            include_str!("../../deploy/vm/web.yaml").replace("127.0.0.1:8080", &app_address);
        a.folder.write("sidecar.yaml", &placed(&a, &config));
        let config = include_str!("../../deploy/vm/client.yaml");
        b.folder.write("sidecar.yaml", &placed(&b, config));
        let (web, client) = (sidecar(&a), sidecar(&b));
        web.await_log("registered");
        client.await_log("connected to the control plane");
        Some(Page { a, b, app, control_plane, web, client })
    }

    /// A request of the caller on host B.
    #[track_caller]
    fn ask_for(&self, path: &str) -> Message {
        self.b.ask(at("127.0.0.1:15080"), &get_with(path, "connection: close\r\n"))
    }

    /// The status and reason of one.
    #[track_caller]
    fn ask(&self) -> (u16, Option<String>) {
        let answer = self.ask_for("/");
        (answer.status(), answer.reason().map(str::to_owned))
    }

    /// Whether a request for [`SECRET`] that ends in a status can be read between the hosts.
    fn overheard(&self, ask: impl Fn() -> u16, status: u16) -> bool {
        let heard = self.b.overheard(|| assert_eq!(ask(), status));
        assert!(heard.len() > SECRET.len(), "nothing passed the link");
        heard.windows(SECRET.len()).any(|bytes| bytes == SECRET.as_bytes())
    }

    #[track_caller]
    fn await_answers(&self) {
        eventually("an answer across the hosts", || self.ask() == (200, None));
    }

    fn page(&self, name: &str) -> String {
        let host = if name.starts_with("b ") { &self.b } else { &self.a };
        host.shell(&placed(host, block(name)))
    }
}

fn at(address: &str) -> SocketAddr {
    address.parse().expect("an address")
}

/// With a short lease, so that nobody waits.
fn control_plane(host: &Host) -> Process {
    let data = host.folder.path("data").display().to_string();
    let arguments = ["control-plane", "--data", &data, "--lease", "2s"];
    let process = host.start(OUTRIGGER, &arguments, "control-plane.log");
    process.await_log("ready");
    process
}

fn sidecar(host: &Host) -> Process {
    let config = host.folder.path("sidecar.yaml").display().to_string();
    host.start(PROXY, &["run", "--config", &config], "sidecar.log")
}

/// Takes a token, and the trust anchors, from host A to where a sidecar looks for them.
fn copy(a: &Host, token: &str, to: &Host) {
    for (from, name) in [(token, "join.token"), ("data/ca.pem", "ca.pem")] {
        let text = fs::read_to_string(a.folder.path(from)).expect("it was made");
        to.folder.write(name, &text);
    }
}

#[test]
fn the_page_leads_to_mutual_tls_between_two_hosts() {
    let Some(page) = Page::follow() else { return };
    page.await_answers();
    let request = page.app.requests().pop().expect("it came");
    assert_eq!(request.header("x-outrigger-peer"), Some(spiffe("client").as_str()));
    let endpoints = page.page("b endpoints");
    for part in [&spiffe("web"), "10.77.0.1:18080", "web-1.default"] {
        assert!(endpoints.contains(part), "{part}: {endpoints}");
    }
    let through = page.overheard(|| page.ask_for(SECRET).status(), 200);
    assert!(!through, "what is asked through the mesh can be read on the link");
    let around = || {
        let answer = page.b.ask(at("10.77.0.1:18080"), &get_with(SECRET, ""));
        assert_eq!(answer.reason(), Some("mtls-required"));
        answer.status()
    };
    assert!(page.overheard(around, 403), "the ear is deaf");
    let held = page.page("look");
    for part in ["Service   web", "Workload  web-1", "registered", A] {
        assert!(held.contains(part), "{part}: {held}");
    }
}

#[test]
fn hosts_come_back_and_go_as_the_page_says() {
    let Some(mut page) = Page::follow() else { return };
    page.await_answers();

    // The control plane is away: nobody notices, and all are back when it is.
    page.control_plane.kill();
    for _ in 0..20 {
        assert_eq!(page.ask(), (200, None));
    }
    page.control_plane = control_plane(&page.a);
    eventually("both sidecars are back", || {
        let connected = |sidecar: &Process| sidecar.log().matches("connected to the").count() == 2;
        connected(&page.web) && connected(&page.client)
    });
    page.await_answers();

    // Host A lost its power. It comes back with the token that it has, as long as that has uses.
    page.web.kill();
    eventually("its registration ends with the lease", || {
        page.ask() == (503, Some("no-endpoints".into()))
    });
    page.web = sidecar(&page.a);
    page.await_answers();

    // With a revoked one it waits, and joins as soon as there is another.
    page.web.kill();
    page.page("revoke");
    page.web = sidecar(&page.a);
    page.web.await_log("the token was revoked");
    page.page("another token");
    copy(&page.a, "web.token", &page.a);
    page.web.await_log("registered");
    page.await_answers();

    // A host that is told to leave is out at once.
    page.web.terminate();
    eventually("nobody sends there", || page.ask() == (503, Some("no-endpoints".into())));
    assert_eq!(
        page.page("workloads"),
        "namespace default was asked for; -A shows all of them\nno resources\n"
    );
}
