//! How often a request allocates, counted over real sockets through real sidecars.
//!
//! The sidecars run in this process, and only their threads are counted. A bound that is passed is
//! either a mistake or a price: then raise it, and say here for what.

#[path = "mesh/harness/ports.rs"]
mod ports;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use outrigger::access::{Ask, Policy, Request, What};
use outrigger::app::{self, Options};
use outrigger::identity::issue::Authority;
use outrigger::intercept::OriginalDst;
use outrigger::limit::rate::{Ask as Taking, Rates};
use outrigger::model::{
    Cors, Filter, HeaderMatch, Hostname, Match, PathMatch, QueryMatch, RouteKind, Rule, SpiffeId,
    TrustDomain, ValueMatch,
};
use outrigger::resources::{Origin, Resource, parse_documents};
use outrigger::route::{Filters, Head, Table, Turn, Weights};
use outrigger::runtime::workers;
use outrigger::telemetry::log::{self, LogHandle, Style};
use outrigger::telemetry::metrics::Registry;
use outrigger::telemetry::traffic::TrafficMetrics;

/// Plaintext HTTP/1.1 through one sidecar: measured 19.0; 19.1 where it traces.
const HOP: f64 = 20.0;
/// The same through two, with HTTP/2 over mutual TLS between them: measured 38.0.
const PAIR: f64 = 40.0;
/// The hop behind routes and with policies: measured 19.0.
const POLICIES: f64 = 20.0;
const REQUESTS: u64 = 2000;

struct Counting;

static COUNT: AtomicU64 = AtomicU64::new(0);

thread_local! {
    static MINE: Cell<bool> = const { Cell::new(false) };
    /// Of this thread alone.
    static OWN: Cell<u64> = const { Cell::new(0) };
}

fn count() {
    OWN.with(|own| own.set(own.get() + 1));
    if !MINE.with(Cell::get) {
        COUNT.fetch_add(1, Ordering::Relaxed);
    }
}

// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: the caller keeps the contract of `realloc`.
        unsafe { System.realloc(at, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The count is the process's: one measurement at a time.
static ONE: Mutex<()> = Mutex::new(());

static LOG: Mutex<Option<LogHandle>> = Mutex::new(None);

/// The log is the process's: all sidecars share it.
fn shared_log() -> LogHandle {
    let mut log = LOG.lock().expect("no test panicked with it");
    log.get_or_insert_with(|| log::init("error", Style::Text).expect("the first log")).clone()
}

/// Starts a sidecar on threads of its own and waits until its port answers.
fn sidecar(config: &Path, port: u16) {
    let options = Options { config: Some(config.to_owned()), flags: Vec::new() };
    let loaded = options.load().unwrap_or_else(|faults| panic!("{faults:?}"));
    let log = shared_log();
    thread::spawn(move || {
        workers::local_runtime().expect("a runtime").block_on(async move {
            let launched = app::launch(options, loaded, log, OriginalDst::Kernel).await;
            let _launched = launched.unwrap_or_else(|faults| panic!("{faults:?}"));
            std::future::pending::<()>().await;
        });
    });
    let begun = Instant::now();
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(begun.elapsed() < Duration::from_secs(10), "port {port} does not answer");
        thread::sleep(Duration::from_millis(10));
    }
}

fn free_port() -> u16 {
    ports::free_address().port()
}

/// An app that answers every request with the same 100 bytes.
fn app() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    thread::spawn(move || {
        MINE.with(|mine| mine.set(true));
        for stream in listener.incoming() {
            let mut stream = stream.expect("a connection");
            thread::spawn(move || {
                MINE.with(|mine| mine.set(true));
                let answer =
                    format!("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{}", "x".repeat(100));
                let mut buf = [0; 4096];
                while stream.read(&mut buf).is_ok_and(|n| n > 0) {
                    stream.write_all(answer.as_bytes()).expect("written");
                }
            });
        }
    });
    address
}

/// Allocations a request on one connection, after a warm-up.
fn measure(port: u16) -> f64 {
    measure_answers(port, "HTTP/1.1 200")
}

/// The same of answers that have a text in their head.
fn measure_answers(port: u16, with: &str) -> f64 {
    MINE.with(|mine| mine.set(true));
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("a connection");
    let mut ask = |times: u64| {
        for _ in 0..times {
            stream.write_all(b"GET / HTTP/1.1\r\nHost: app.default\r\n\r\n").expect("written");
            let (mut buf, mut have) = ([0; 4096], 0);
            while !buf[..have].ends_with(&[b'x'; 100]) {
                let n = stream.read(&mut buf[have..]).expect("an answer");
                assert!(n > 0, "closed after {:?}", String::from_utf8_lossy(&buf[..have]));
                have += n;
            }
            let answer = String::from_utf8_lossy(&buf[..have]);
            assert!(answer.starts_with("HTTP/1.1 200") && answer.contains(with), "{answer:?}");
        }
    };
    ask(200);
    let before = COUNT.load(Ordering::Relaxed);
    ask(REQUESTS);
    (COUNT.load(Ordering::Relaxed) - before) as f64 / REQUESTS as f64
}

/// A folder with the files of a scenario.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("outrigger-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).expect("a folder");
        Self(path)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, text).expect("written");
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn resources(port: u16, account: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: app}}\n\
         spec: {{selector: {{app: app}}, ports: [{{name: app, port: 80, targetPort: app}}]}}\n---\n\
         apiVersion: outrigger.dev/v1alpha1\nkind: Workload\n\
         metadata: {{name: app-1, labels: {{app: app}}}}\n\
         spec: {{address: 127.0.0.1, {account} ports: [{{name: app, port: {port}}}]}}\n"
    )
}

fn outbound(identity: &str, port: u16, resources: &str) -> String {
    outbound_with(identity, port, resources, "")
}

/// `traces` is what the configuration says about traces.
fn outbound_with(identity: &str, port: u16, resources: &str, traces: &str) -> String {
    format!(
        "workload: {{name: client, serviceAccount: client}}\n{identity}\nresources: [{resources}]\n\
         outbound: {{upstreams: [{{listen: \"127.0.0.1:{port}\", service: \"app.default:80\"}}]}}\n\
         admin: {{listen: \"127.0.0.1:{}\"}}\nworkers: 1\n\
         telemetry: {{accessLog: {{format: off}}, traces: {{{traces}}}}}\n",
        free_port()
    )
}

/// A collector that takes connections and never answers.
fn collector() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    thread::spawn(move || {
        MINE.with(|mine| mine.set(true));
        let kept: Vec<_> = listener.incoming().collect();
        drop(kept);
    });
    address
}

#[test]
fn a_hop_allocates_no_more_than_it_did() {
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = Folder::new("hop");
    folder.write("mesh.yaml", &resources(app().port(), ""));
    let port = free_port();
    sidecar(&folder.write("client.yaml", &outbound("", port, "mesh.yaml")), port);
    let counted = measure(port);
    println!("allocations a request, plaintext hop: {counted:.1} (bound {HOP})");
    assert!(counted <= HOP, "{counted:.1} allocations a request");
}

#[test]
fn a_hop_that_traces_and_does_not_sample_allocates_no_more() {
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = Folder::new("traced");
    folder.write("mesh.yaml", &resources(app().port(), ""));
    let port = free_port();
    let traces = format!("otlpEndpoint: \"http://{}\", sampleRatio: 0.0", collector());
    sidecar(&folder.write("client.yaml", &outbound_with("", port, "mesh.yaml", &traces)), port);
    let counted = measure(port);
    println!("allocations a request, traced and not sampled: {counted:.1} (bound {HOP})");
    assert!(counted <= HOP, "{counted:.1} allocations a request");
}

/// Begins to watch requests that nobody makes; it ends with the connection.
fn tap(admin: &str) -> TcpStream {
    MINE.with(|mine| mine.set(true));
    let mut stream = TcpStream::connect(admin).expect("the admin port is open");
    let asked = format!("GET /tap?path=/nothing HTTP/1.1\r\nHost: {admin}\r\n\r\n");
    stream.write_all(asked.as_bytes()).expect("written");
    let mut head = [0; 12];
    stream.read_exact(&mut head).expect("an answer");
    assert_eq!(&head, b"HTTP/1.1 200");
    stream
}

#[test]
fn a_hop_that_is_watched_for_something_else_allocates_no_more() {
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = Folder::new("tapped");
    folder.write("mesh.yaml", &resources(app().port(), ""));
    let port = free_port();
    let config = outbound("", port, "mesh.yaml");
    let admin = config.split("admin: {listen: \"").nth(1).and_then(|rest| rest.split('"').next());
    let admin = admin.expect("the configuration names it").to_owned();
    sidecar(&folder.write("client.yaml", &config), port);
    let tapped = tap(&admin);
    let counted = measure(port);
    println!("allocations a request, watched for another path: {counted:.1} (bound {HOP})");
    assert!(counted <= HOP, "{counted:.1} allocations a request");
    drop(tapped);
    let counted = measure(port);
    println!("allocations a request, watched no more: {counted:.1} (bound {HOP})");
    assert!(counted <= HOP, "{counted:.1} allocations a request");
}

/// Ten routes above the one that the request falls under, and a policy that has every part.
fn policies() -> String {
    let route = |name: &str, path: &str, filters: &str| {
        format!(
            "---\napiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {{name: {name}}}\n\
             spec: {{parentRefs: [{{kind: Service, name: app}}], rules: [{{matches: [{{path: {path}}}], \
             filters: [{filters}], backendRefs: [{{name: app, port: 80}}]}}]}}\n"
        )
    };
    let others = (0..10).map(|nth| match nth % 2 {
        0 => route(&format!("app-{nth}"), &format!("{{type: Exact, value: /exact-{nth}}}"), ""),
        _ => {
            let path = format!("{{type: RegularExpression, value: \"/[a-z]+-{nth}/.*\"}}");
            route(&format!("app-{nth}"), &path, "")
        }
    });
    let filters = "{type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: x-tenant, value: shop}]}}, \
                   {type: ResponseHeaderModifier, responseHeaderModifier: {add: [{name: x-served-by, value: mesh}]}}";
    others.collect::<String>()
        + &route("app", "{value: /}", filters)
        + "---\napiVersion: outrigger.dev/v1alpha1\nkind: TrafficPolicy\nmetadata: {name: app}\nspec:\n  \
           targetRefs: [{kind: Service, name: app}]\n  limits: {maxConnections: 100, maxRequests: 100}\n  \
           circuitBreaker: {failureRate: {threshold: 50}, slowCalls: {threshold: 80, slowerThan: 2s}}\n  \
           retry: {statusCodes: [503], grpcCodes: [unavailable], budget: {ratio: 20, minPerSecond: 10}}\n  \
           timeouts: {request: 15s, responseHeaders: 5s}\n"
}

#[test]
fn a_hop_with_routes_and_policies_allocates_little_more() {
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = Folder::new("policies");
    folder.write("mesh.yaml", &(resources(app().port(), "") + &policies()));
    let port = free_port();
    sidecar(&folder.write("client.yaml", &outbound("", port, "mesh.yaml")), port);
    let counted = measure_answers(port, "x-served-by: mesh");
    println!("allocations a request, routes and policies: {counted:.1} (bound {POLICIES})");
    assert!(counted <= POLICIES, "{counted:.1} allocations a request");
}

#[test]
fn a_pair_allocates_no_more_than_it_did() {
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = Folder::new("pair");
    let authority = Authority::new(&TrustDomain::default()).expect("a root");
    folder.write("ca.pem", authority.root_pem());
    let hour = Duration::from_secs(3600);
    for name in ["client", "server"] {
        let id = SpiffeId::new(&TrustDomain::default(), "default", name).expect("an id");
        let now = SystemTime::now();
        let issued = authority.issue(&id, now - hour, now + hour).expect("a certificate");
        folder.write(&format!("{name}.pem"), &issued.cert_pem);
        folder.write(&format!("{name}.key"), &issued.key_pem);
    }
    let identity = |name: &str| {
        format!("identity: {{certificate: {name}.pem, key: {name}.key, trustBundle: ca.pem}}")
    };
    let (inbound_port, port) = (free_port(), free_port());
    let inbound = format!(
        "workload: {{name: server, serviceAccount: server}}\n{}\n\
         inbound: {{ports: [{{name: app, listen: \"127.0.0.1:{inbound_port}\", app: \"{}\"}}]}}\n\
         admin: {{listen: \"127.0.0.1:{}\"}}\nworkers: 1\n\
         telemetry: {{accessLog: {{format: off}}}}\n",
        identity("server"),
        app(),
        free_port()
    );
    sidecar(&folder.write("server.yaml", &inbound), inbound_port);
    folder.write("mesh.yaml", &resources(inbound_port, "serviceAccount: server,"));
    sidecar(&folder.write("client.yaml", &outbound(&identity("client"), port, "mesh.yaml")), port);
    let counted = measure(port);
    println!("allocations a request, pair: {counted:.1} (bound {PAIR})");
    assert!(counted <= PAIR, "{counted:.1} allocations a request");
}

/// A rule for one path of a host, with a header and a query parameter.
fn rule(host: Hostname, path: PathMatch) -> Arc<Rule> {
    let name = http::HeaderName::from_static("x-version");
    let of = Match {
        path: Some(path),
        headers: vec![HeaderMatch { name, value: ValueMatch::Regex("[0-9]+".into()) }],
        query: vec![QueryMatch { name: "q".into(), value: ValueMatch::Exact("a b".into()) }],
        method: Some(http::Method::GET),
    };
    Arc::new(Rule {
        kind: RouteKind::Http,
        name: "rule".into(),
        hostnames: vec![host],
        matches: vec![of],
        filters: Vec::new(),
        backends: Vec::new(),
        policy: Arc::default(),
    })
}

#[test]
fn routing_allocates_nothing() {
    // It may run beside a measurement, and is no part of that.
    MINE.with(|mine| mine.set(true));
    let host = Hostname::Exact("a.example.com".into());
    let rules: Vec<Arc<Rule>> = (0..300)
        .map(|nth| match nth % 3 {
            0 => rule(host.clone(), PathMatch::Exact(format!("/exact-{nth}").into())),
            1 => rule(host.clone(), PathMatch::Regex(format!("/[a-z]+-{nth}/.*").into())),
            _ => {
                let below = Hostname::Below(".example.com".into());
                rule(below, PathMatch::Prefix(format!("/prefix-{nth}").into()))
            }
        })
        .collect();
    let (table, weights) = (Table::compile(&rules), Weights::new(&[70, 20, 10]));
    let cors = Cors { allow_origins: vec!["https://*.example.com".into()], ..Cors::default() };
    let filters = Filters::compile(&[Filter::Cors(cors)]);
    let paths = ["/exact-297?x&q=a+b", "/pattern-298/x?q=a%20b", "/prefix-299/x?q=a%20b", "/none"];
    let ask = |turn: &mut Turn, parts: &http::request::Parts| {
        let found = table.find(&Head::of(parts, false)).map(|found| found.rule);
        let granted = filters.cors(parts).is_some() && filters.answer(parts, 0, "http").is_none();
        (found, granted, weights.next(turn).is_some())
    };
    for (path, expected) in paths.into_iter().zip([Some(297), Some(298), Some(299), None]) {
        let request = http::Request::get(path).header("host", "A.example.com:80");
        let request = request.header("x-version", "12").header("origin", "https://b.example.com");
        let (parts, mut turn) =
            (request.body(()).expect("a request").into_parts().0, Turn::default());
        assert_eq!(ask(&mut turn, &parts), (expected, true, true));
        let before = OWN.with(Cell::get);
        (0..100).for_each(|_| assert_eq!(ask(&mut turn, &parts), (expected, true, true)));
        assert_eq!(OWN.with(Cell::get) - before, 0, "{path}");
    }
}

/// Of keys that were seen before. The fields of the answer are two: their text, and that several
/// share it.
#[test]
fn taking_from_limits_allocates_nothing_and_telling_of_it_little() {
    MINE.with(|mine| mine.set(true));
    let rates = Rates::new(TrafficMetrics::register(&Registry::default()));
    let text = "{apiVersion: outrigger.dev/v1alpha1, kind: RateLimitPolicy, metadata: {name: a}, \
                spec: {limits: [{key: 'header:x-user', requests: 1000, per: 1s, match: {paths: ['/*']}}, \
                {key: total, requests: 1000000, per: 1s}, {key: ip, requests: 1000, per: 1s}]}}";
    let read = parse_documents(text, &Origin::file("test"), "default").expect("sound");
    let [Resource::RateLimitPolicy(policy)] = &read[..] else { panic!("{read:?}") };
    rates.publish(&[Arc::clone(policy)]);
    let parts = http::Request::get("/a/b").header("x-user", "ann").body(()).expect("a request");
    let parts = parts.into_parts().0;
    let source = [10, 0, 0, 1].into();
    let ask = Taking { port: 80, source, id: None, claims: None, api_key: None, parts: &parts };
    let mut headers = http::HeaderMap::with_capacity(16);
    let mut take = |writes: bool| {
        let quota = rates.take(&ask, 1).expect("there is room").expect("three are about it");
        headers.clear();
        if writes {
            quota.write(&mut headers);
        }
    };
    take(true);
    let mut count = |writes: bool| {
        let before = OWN.with(Cell::get);
        (0..100).for_each(|_| take(writes));
        OWN.with(Cell::get) - before
    };
    let (silent, told) = (count(false), count(true));
    println!("allocations a request, three limits: {}; with fields {}", silent / 100, told / 100);
    assert_eq!((silent, told), (0, 200));
}

#[test]
fn deciding_on_access_allocates_nothing() {
    let rule = |nth: usize| {
        let id = format!("spiffe://cluster.local/ns/team/sa/service-{nth}");
        match nth % 3 {
            0 => format!("{{action: deny, to: [{{paths: ['/internal-{nth}/*']}}]}}"),
            1 => format!("{{action: allow, from: [{{identities: ['{id}']}}]}}"),
            _ => format!(
                "{{action: allow, to: [{{methods: [GET], hosts: ['*.example'], \
                 headers: {{x-a: 'b*'}}, paths: ['/users-{nth}/{{id}}']}}]}}"
            ),
        }
    };
    let rules: Vec<String> = (0..300).map(rule).collect();
    let text = format!(
        "{{apiVersion: outrigger.dev/v1alpha1, kind: AccessPolicy, metadata: {{name: all}}, \
         spec: {{rules: [{}]}}}}",
        rules.join(", ")
    );
    let read = parse_documents(&text, &Origin::file("test"), "shop").expect("sound");
    let [Resource::AccessPolicy(policy)] = &read[..] else { panic!("{read:?}") };
    let metrics = TrafficMetrics::register(&Registry::default());
    let policy = Policy::of(&[Arc::clone(policy)], TrustDomain::default(), &metrics);
    let rows = [
        ("service-298", "/else", true),
        ("service-0", "/internal-297/x", false),
        ("service-0", "/users-299/7", true),
        ("service-0", "/a%20b/else", false),
    ];
    for (account, path, expected) in rows {
        let id = SpiffeId::new(&TrustDomain::default(), "team", account).expect("an id");
        let request = http::Request::get(path).header("host", "API.example:80").header("x-a", "bc");
        let parts = request.body(()).expect("a request").into_parts().0;
        let decide = || {
            let request = Request::of(&parts, policy.at(80).has_paths());
            let what = What::Request(&request);
            let ask = Ask { port: 80, source: [10, 0, 0, 1].into(), id: Some(&id), what };
            policy.admit(&ask).is_ok()
        };
        assert_eq!(decide(), expected, "{account} {path}");
        let before = OWN.with(Cell::get);
        (0..100).for_each(|_| assert_eq!(decide(), expected));
        assert_eq!(OWN.with(Cell::get) - before, 0, "{account} {path}");
    }
}
