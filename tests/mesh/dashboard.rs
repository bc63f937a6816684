//! The dashboard and the sidecar's page as people meet them: in a real browser, over a real mesh
//! under load, and through `outrigger dashboard` with its link.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use outrigger::model::Reason;
use outrigger::telemetry::span::has_failed;

use crate::harness::browser::Browser;
use crate::harness::{
    App, ControlPlane, Folder, Member, Message, Wire, eventually, get, get_with, outrigger,
    service, spiffe,
};

/// The page promises that a service that fails looks so within 10 s; a busy machine adds to it.
const TURNS_BAD: Duration = Duration::from_secs(15);

const THEMES: [&str; 2] = ["light", "dark"];
const SIZES: [(u32, u32); 2] = [(1280, 800), (390, 844)];

const FAULT: &str = "apiVersion: outrigger.dev/v1alpha1\nkind: TrafficPolicy\n\
                     metadata: {name: api, namespace: default}\n\
                     spec: {targetRefs: [{kind: Service, name: api}], \
                     fault: {abort: {percent: 100, httpStatus: 503}}}\n";

/// A client that calls `web`, which calls `api`; `api` fails when told to.
struct Shop {
    /// They leave first, so that nobody is cut off.
    _visitors: Visitors,
    plane: ControlPlane,
    fails: Arc<AtomicBool>,
    web: Member,
    _api: [Member; 2],
    _client: Member,
    _apps: [App; 2],
}

impl Shop {
    fn open() -> Self {
        let plane = ControlPlane::start(&[]);
        plane.apply(&service("api"));
        plane.apply(&service("web"));
        let fails = Arc::new(AtomicBool::new(false));
        let failing = Arc::clone(&fails);
        let api_app = App::http(move |_| match failing.load(Ordering::SeqCst) {
            true => b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n".to_vec(),
            false => App::answer("ok"),
        });
        let api = ["api-1", "api-2"].map(|name| plane.instance(name, api_app.address));
        let onward = Arc::new(OnceLock::new());
        let way = Arc::clone(&onward);
        let web_app = App::http(move |request| ask_on(&way, request));
        let web = plane.plan("web-1").app(web_app.address).calls("api.default:80").start();
        onward.set(web.upstreams[0]).expect("the first");
        let client = plane.caller("client-1", &["web.default:80"]);
        eventually("web answers", || {
            Wire::connect(client.upstreams[0]).ask(get("/")).status() == 200
        });
        let visitors = Visitors::of(client.upstreams[0]);
        let apps = [api_app, web_app];
        Self { plane, fails, web, _api: api, _client: client, _apps: apps, _visitors: visitors }
    }

    fn url(&self, place: &str) -> String {
        format!("http://{}/{place}", self.plane.admin)
    }
}

/// What the app of `web` does: asks `api`, keeping the trace together.
fn ask_on(way: &OnceLock<SocketAddr>, request: &Message) -> Vec<u8> {
    let parent = request.header("traceparent").map(|parent| format!("traceparent: {parent}\r\n"));
    let Some(&way) = way.get() else { return App::answer("not yet") };
    let answer = Wire::connect(way).ask(get_with("/orders/7", &parent.unwrap_or_default()));
    match answer.status() {
        200 => App::answer("ok"),
        _ => b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n".to_vec(),
    }
}

/// Steady visits, whatever is answered.
struct Visitors {
    stop: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Visitors {
    fn of(to: SocketAddr) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            while !stopped.load(Ordering::SeqCst) {
                // Sampled, so that traces of what goes well are kept too.
                let sampled = format!("traceparent: 00-{:032x}-00000000000000aa-01\r\n", nanos());
                Wire::connect(to).ask(get_with("/checkout/rope", &sampled));
                thread::sleep(Duration::from_millis(20));
            }
        });
        Self { stop, thread: Some(thread) }
    }
}

fn nanos() -> u128 {
    let since = std::time::SystemTime::UNIX_EPOCH.elapsed();
    since.expect("after 1970").as_nanos()
}

impl Drop for Visitors {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        let _ = self.thread.take().map(thread::JoinHandle::join);
    }
}

/// A page at each size in each theme, none wider than its window.
fn photograph(browser: &mut Browser, name: &str, ready: &str) {
    for (width, height) in SIZES {
        for theme in THEMES {
            browser.look(width, height, theme);
            browser.shows(ready);
            browser.shows("document.documentElement.scrollWidth <= innerWidth");
            browser.photograph(&format!("{name}-{width}-{theme}"));
        }
    }
    browser.look(1280, 800, "light");
}

#[test]
fn the_mesh_is_seen_in_a_browser_and_what_fails_is_seen_soon() {
    let Some(mut browser) = Browser::start() else { return };
    let shop = Shop::open();
    browser.look(1280, 800, "light");
    browser.open(&shop.url("#/map"));
    let node = |name: &str, class: &str| {
        format!("document.querySelector('#graph a.node.{class}[data-key=\"node {name}\"]')")
    };
    for name in ["web.default", "api.default"] {
        browser.shows(&node(name, "ok"));
    }
    let rate = "document.querySelector('[data-key=\"figures web.default api.default\"]')";
    browser.shows(&format!("/\\d\\/s/.test({rate}?.textContent)"));
    assert_eq!(browser.read("document.querySelectorAll('.node.bad').length"), 0);
    photograph(&mut browser, "map", &node("web.default", "ok"));

    shop.fails.store(true, Ordering::SeqCst);
    let began = Instant::now();
    let bad = node("api.default", "bad");
    browser.shows_within(TURNS_BAD, &bad);
    eprintln!("the map showed it after {:?}", began.elapsed());
    // Not by colour alone: a number, and a mark of another shape.
    browser.shows(&format!("/\\d+ % fail/.test({bad}?.textContent)"));
    browser.shows(&format!("{bad}.querySelector('.mark.bad .in')"));
    browser.shows(&node("web.default", "bad"));
    photograph(&mut browser, "map-failing", &bad);

    // `/`, a part of the name, Enter: by keyboard to the service that fails.
    browser.press("/");
    browser.shows("document.activeElement.id === 'search'");
    for letter in ["a", "p", "i"] {
        browser.press(letter);
    }
    browser.shows(
        "document.querySelector('#found [aria-selected=true]')?.textContent.includes('api')",
    );
    browser.press("Enter");
    browser.shows("location.hash === '#/service/api.default'");
    let failure = "document.querySelector('[data-key=\"failures\"] a[href^=\"#/trace/\"]')";
    browser.shows(failure);
    browser.shows(
        "document.querySelector('.chart path.line.first')?.getAttribute('d').startsWith('M')",
    );
    browser.shows("document.querySelectorAll('[data-key=\"endpoints\"] tbody tr').length === 2");
    photograph(&mut browser, "service", failure);

    browser.read(&format!("{failure}.click()"));
    browser.shows("document.querySelectorAll('.waterfall details.bad').length >= 2");
    browser.read("document.querySelector('.waterfall details.bad summary').click()");
    browser.shows(
        "document.querySelector('.waterfall details[open] .known')?.textContent.includes('Status')",
    );
    photograph(&mut browser, "trace", "document.querySelector('.waterfall details[open]')");

    for (place, ready) in [
        ("services", "document.querySelectorAll('tr.bad').length >= 2"),
        ("traces", "document.querySelectorAll('tbody tr').length >= 2"),
        ("certificates", "document.body.textContent.includes('ns/default/sa/api')"),
        ("health", "document.body.textContent.includes('What it remembers')"),
    ] {
        browser.read(&format!("location.hash = '#/{place}'"));
        browser.shows(ready);
        photograph(&mut browser, place, ready);
    }
    browser.read("import('/assets/certificates.js').then((module) => { window.certs = module; })");
    browser.shows("window.certs");
    for (minutes, left, state) in [
        (1440, 480, "ok"),
        (1440, 300, "warn"),
        (1440, 120, "bad"),
        (10, 4, "ok"),
        (10, 2, "warn"),
        (60, -1, "bad"),
    ] {
        let life = format!("{{notBeforeMs: {}, notAfterMs: {left}}}", left - minutes);
        assert_eq!(browser.read(&format!("certs.state({life}, 0)")), state, "{minutes} {left}");
    }
    browser.read("location.hash = '#/service/nobody.default'");
    browser.shows("document.querySelector('h1')?.textContent === 'Nothing here'");
    assert_eq!(browser.complaints().iter().filter(|text| !text.contains("404")).count(), 0);

    shop.plane.apply(FAULT);
    browser.read("location.hash = '#/service/api.default'");
    let reason =
        "document.querySelector('[data-key=\"failures\"] a[href=\"/reasons/fault-injected\"]')";
    browser.shows(reason);
    browser.read(&format!("{reason}.click()"));
    browser.shows("location.pathname === '/reasons/fault-injected'");
    browser.shows("document.body.textContent.includes('happened')");

    browser.open(&shop.url("#/map"));
    browser.shows(&bad);
    shop.plane.freeze();
    browser.shows_within(Duration::from_secs(30), "document.body.classList.contains('stale')");
    browser.shows("/not updated for \\d+ s/.test(document.getElementById('fresh').textContent)");
    assert_eq!(browser.read(&format!("!!{bad}")), true, "the last picture stays");
    shop.plane.thaw();
    browser.shows("!document.body.classList.contains('stale')");
}

#[test]
fn a_sidecar_shows_itself() {
    let Some(mut browser) = Browser::start() else { return };
    let shop = Shop::open();
    browser.look(1280, 800, "light");
    browser.open(&format!("http://{}/", shop.web.sidecar.admin));
    browser.shows("document.querySelector('h1')?.textContent === 'web-1.default'");
    let flow = "document.querySelector('[data-key=\"outbound api.default:80\"]')";
    browser.shows(&format!("/\\d\\/s/.test({flow}?.textContent)"));
    browser.shows("document.querySelectorAll('[data-key=\"endpoints\"] tbody tr').length === 2");
    photograph(&mut browser, "sidecar", flow);
    shop.fails.store(true, Ordering::SeqCst);
    browser.shows_within(TURNS_BAD, &format!("{flow}.classList.contains('bad')"));
    browser.read("import('/assets/metrics.js').then((module) => { window.rules = module; })");
    browser.shows("window.rules");
    for status in [0, 101, 200, 404, 499, 503, 504] {
        for grpc in [None, Some(0), Some(7), Some(14)] {
            for reason in [None].into_iter().chain(Reason::ALL.iter().copied().map(Some)) {
                let labels = serde_json::json!({
                    "code": status.to_string(),
                    "grpc_status": grpc.map_or(String::new(), |grpc| grpc.to_string()),
                    "reason": reason.map_or("", Reason::as_str),
                });
                let shown = browser.read(&format!("rules.failed({labels})"));
                assert_eq!(shown, has_failed(status, grpc, reason), "{labels}");
            }
        }
    }
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

#[test]
fn the_link_leads_a_browser_to_the_pages_and_nobody_else() {
    let plane = ControlPlane::start(&[]);
    let admin = plane.admin.to_string();
    let mut command = plane.command(&["dashboard", "--no-open", "--admin", &admin]);
    let mut running = Ended(command.stdout(Stdio::piped()).spawn().expect("the program starts"));
    let output = running.0.stdout.take().expect("a pipe");
    let (host, key) = parts(output);
    let at = SocketAddr::from(([127, 0, 0, 1], port(&host)));
    let ask_as = |host: &str, method: &str, path: &str, lines: &str| {
        let head = format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\n{lines}\r\n");
        Wire::connect(at).ask(head)
    };
    let ask = |method: &str, path: &str, lines: &str| ask_as(&host, method, path, lines);
    assert_eq!(ask("GET", "/", "").status(), 403);
    let elsewhere = ask_as(&at.to_string(), "GET", &format!("/?{key}"), "");
    assert_eq!(elsewhere.status(), 403);
    assert!(elsewhere.text().contains("open the link"), "{}", elsewhere.text());
    let answer = ask("GET", &format!("/?{key}"), "");
    assert_eq!((answer.status(), answer.header("refresh")), (200, Some("0; url=/")));
    let cookie = answer.header("set-cookie").expect("a cookie");
    assert!(cookie.contains("; HttpOnly; SameSite=Strict"), "{cookie}");
    let cookie = format!("Cookie: {}\r\n", cookie.split(';').next().expect("a pair"));
    assert_eq!(ask_as(&at.to_string(), "GET", "/", &cookie).status(), 403);
    let page = ask("GET", "/", &cookie);
    assert_eq!(
        (page.status(), page.header("content-type")),
        (200, Some("text/html; charset=utf-8"))
    );
    let script = ask("GET", "/assets/main.js", &cookie);
    assert_eq!(script.header("content-type"), Some("text/javascript; charset=utf-8"));
    let tag = format!("{cookie}If-None-Match: {}\r\n", script.header("etag").expect("a tag"));
    assert_eq!(ask("GET", "/assets/main.js", &tag).status(), 304);
    assert!(ask("GET", "/sessions", &cookie).text().contains("sessions"));
    assert!(ask("GET", "/reasons/circuit-open", &cookie).text().contains("happened"));
    assert_eq!(ask("POST", "/log?level=trace", &cookie).status(), 405);
    let again = ask("GET", &format!("/?{key}"), "");
    assert_eq!(again.status(), 403, "a link works once");
    assert!(again.text().contains("somebody else"), "{}", again.text());
    assert_eq!(ask("GET", "/", &cookie).status(), 403, "whoever was first is out");
}

#[test]
fn an_operators_certificate_does_in_place_of_the_token() {
    let plane = ControlPlane::start(&["--operator", &spiffe("boss")]);
    let start = |account: &str| {
        let (folder, issued) = (Folder::new(account), plane.joined_in_pem(account));
        folder.write("svid.pem", &issued.cert_pem);
        folder.write("svid.key", &issued.key_pem);
        let mut command = outrigger();
        command.args(["dashboard", "--no-open", "--admin", &plane.admin.to_string()]);
        command.args(["--control-plane", &plane.address.to_string(), "--trust-anchors"]);
        command.arg(plane.data().join("ca.pem"));
        command.arg("--certificate").arg(folder.path("svid.pem"));
        command.arg("--key").arg(folder.path("svid.key"));
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        (command.spawn().expect("the program starts"), folder)
    };
    let (running, _boss) = start("boss");
    let mut running = Ended(running);
    let (host, key) = parts(running.0.stdout.take().expect("a pipe"));
    let at = SocketAddr::from(([127, 0, 0, 1], port(&host)));
    let ask = |path: &str, lines: &str| {
        Wire::connect(at).ask(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n{lines}\r\n"))
    };
    let answer = ask(&format!("/?{key}"), "");
    let cookie = answer.header("set-cookie").and_then(|line| line.split(';').next());
    let answer = ask("/config", &format!("Cookie: {}\r\n", cookie.expect("a cookie")));
    assert!(answer.status() == 200 && answer.text().contains("operators"), "{}", answer.text());
    let (other, _web) = start("web");
    let said = other.wait_with_output().expect("it leaves");
    let sentence = String::from_utf8_lossy(&said.stderr);
    assert!(!said.status.success() && sentence.contains("is no operator's"), "{sentence}");
}

/// The host and the key of the link that is printed.
fn parts(output: impl Read) -> (String, String) {
    let mut link = String::new();
    BufReader::new(output).read_line(&mut link).expect("a link");
    let link = link.trim().strip_prefix("http://").expect("a URL");
    let (host, key) = link.split_once("/?").expect("a key");
    assert!(host.contains(".localhost:"), "{host}");
    (host.to_owned(), key.to_owned())
}

fn port(host: &str) -> u16 {
    host.rsplit_once(':').and_then(|(_, port)| port.parse().ok()).expect("a port")
}

#[test]
fn a_browser_is_shown_the_dashboard_and_no_list_of_processes_the_key() {
    let Some(mut browser) = Browser::start() else { return };
    let plane = ControlPlane::start(&[]);
    let folder = Folder::new("opening");
    let told = folder.path("told");
    let tool = folder.path("xdg-open");
    let script =
        format!("#!/bin/sh\nprintf %s \"$*\" >{0}.part\nmv {0}.part {0}\n", told.display());
    fs::write(&tool, script).expect("the folder is writable");
    fs::set_permissions(&tool, fs::Permissions::from_mode(0o755)).expect("it is ours");
    let admin = plane.admin.to_string();
    let mut command = plane.command(&["dashboard", "--admin", &admin]);
    command.env("DISPLAY", ":4711").env("XDG_RUNTIME_DIR", folder.as_ref());
    command.env("PATH", format!("{}:/usr/bin:/bin", folder.as_ref().display()));
    let mut running = Ended(command.stdout(Stdio::piped()).spawn().expect("the program starts"));
    let (host, key) = parts(running.0.stdout.take().expect("a pipe"));
    eventually("a browser is opened", || told.exists());
    let arguments = fs::read_to_string(&told).expect("what it was told");
    assert!(!arguments.contains(&key) && arguments.ends_with(".html"), "{arguments}");
    let page = Path::new(&arguments);
    let mode = page.metadata().expect("a file").permissions().mode();
    assert_eq!((mode & 0o777, page.parent()), (0o600, Some(folder.as_ref())));
    browser.look(1280, 800, "light");
    browser.open(&format!("file://{arguments}"));
    browser.shows(&format!("location.href.startsWith('http://{host}/') && !location.search"));
    browser.shows("document.querySelector('#graph') || document.querySelector('main h1')");
    assert!(!page.exists(), "the file is gone when the link was used");
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

/// Ends with its value.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
