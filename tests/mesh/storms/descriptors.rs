//! Descriptors run out: more connections than a sidecar may hold, and more than it may make.
//!
//! It may have 128. What it has goes on, what is too much waits in the system's queue or is told why,
//! its admin port answers, and when there is room again, all do.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use http::Request;
use tokio::task::JoinSet;

use crate::harness::grpc::{H2Client, reply};
use crate::harness::{App, Mesh, Pair, Sidecar, Wire, eventually, get};

const FILES: u64 = 128;
/// Far more than fit, and fewer than the system's queue holds.
const MANY: usize = 400;
/// How long it is looked at while it is full.
const FULL: Duration = Duration::from_secs(2);
/// Of one core: a loop that spins takes all of it.
const MOST_CPU: f64 = 0.2;

/// The share of a core that is used in [`FULL`].
fn cpu_while_full(sidecar: &Sidecar) -> f64 {
    let (cpu, begun) = (sidecar.cpu(), Instant::now());
    thread::sleep(FULL);
    (sidecar.cpu() - cpu).as_secs_f64() / begun.elapsed().as_secs_f64()
}

/// Many connections, each with a request.
fn crowd(to: SocketAddr) -> Vec<Wire> {
    let come = |_| {
        let mut wire = Wire::connect(to);
        wire.send(get("/crowd"));
        wire
    };
    (0..MANY).map(come).collect()
}

/// How the answers begin that came by now.
fn answers(wires: &[Wire]) -> Vec<[u8; 12]> {
    let answer = |wire: &Wire| {
        let mut begins = [0; 12];
        wire.stream.set_nonblocking(true).expect("a socket");
        let read = wire.stream.peek(&mut begins);
        wire.stream.set_nonblocking(false).expect("a socket");
        read.is_ok_and(|read| read == begins.len()).then_some(begins)
    };
    wires.iter().filter_map(answer).collect()
}

#[track_caller]
fn serves_again(to: SocketAddr) {
    eventually("it serves whoever comes", || {
        let mut wire = Wire::connect(to);
        wire.patience(Duration::from_secs(1)).send(get("/after"));
        wire.message(false).is_ok_and(|answer| answer.status() == 200)
    });
}

/// A crowd comes to one of the sidecars, which has few descriptors; others were there before.
#[track_caller]
fn crowded(name: &str, mesh: &mut Mesh, sidecar: fn(&mut Mesh) -> &mut Sidecar, to: SocketAddr) {
    let mut before: Vec<Wire> = (0..8).map(|_| Wire::connect(to)).collect();
    for wire in &mut before {
        assert_eq!(wire.ask(get("/before")).status(), 200);
    }
    let crowd = crowd(to);
    eventually("it is full", || sidecar(mesh).log().contains("further connections wait"));
    // Longer than an idle connection to the app is kept: a new one is needed.
    let used = cpu_while_full(sidecar(mesh));
    for _ in 0..3 {
        for wire in &mut before {
            let answer = wire.ask(get("/meanwhile"));
            assert_eq!(answer.status(), 200, "{}", answer.text());
        }
    }
    let open = sidecar(mesh).open_files();
    let answers = answers(&crowd);
    let served = answers.len();
    assert_eq!(sidecar(mesh).get("/ready").status(), 200, "while it is full");
    let complaints = sidecar(mesh).log().matches("further connections wait").count();
    drop(crowd);
    let left = Instant::now();
    serves_again(to);
    let back = left.elapsed();
    eprintln!(
        "| {name}: {MANY} connections, {FILES} descriptors | {open} in use, {served} of the crowd \
         served, {complaints} lines in the log | CPU {:.1} % | served again after {back:.1?} |",
        used * 100.0
    );
    assert!(used < MOST_CPU, "{:.0} % of a CPU while it is full", used * 100.0);
    assert!(served > 0, "nobody of the crowd was served");
    assert!(answers.iter().all(|begins| begins == b"HTTP/1.1 200"), "{answers:?}");
    assert!(complaints == 1, "{complaints} lines say the same");
    for wire in &mut before {
        assert_eq!(wire.ask(get("/later")).status(), 200);
    }
    assert!(sidecar(mesh).is_running());
}

#[test]
fn more_callers_than_descriptors_wait_and_those_who_are_in_are_served() {
    let app = App::ok();
    let mut mesh = Pair::bare(app.address).declared("http").outbound_files(FILES).start();
    let to = mesh.service;
    crowded("the caller's sidecar", &mut mesh, |mesh| &mut mesh.outbound, to);
    let mut mesh =
        Pair::of(&app).declared("http").inbound_resources(PERMISSIVE).inbound_files(FILES).start();
    let to = mesh.mesh_ports[0];
    crowded("the app's sidecar", &mut mesh, |mesh| mesh.inbound_mut(0), to);
}

/// Anybody may call.
const PERMISSIVE: &str = "apiVersion: outrigger.dev/v1alpha1\nkind: AccessPolicy\n\
                          metadata: {name: all, namespace: default}\nspec: {mtls: permissive}\n";

/// Requests on one connection, with a connection to the app for each.
const STREAMS: usize = 120;

/// An app that answers when it may.
fn hold(may: &Arc<AtomicBool>) -> App {
    let may = Arc::clone(may);
    App::http(move |_| {
        while !may.load(Ordering::SeqCst) {
            thread::sleep(Duration::from_millis(10));
        }
        App::answer("held")
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn requests_that_find_no_descriptor_are_told_so_and_no_endpoint_is_blamed() {
    let may = Arc::new(AtomicBool::new(false));
    let apps = [hold(&may), hold(&may)];
    let pair = Pair::bare(apps[0].address).and_bare(apps[1].address);
    let mesh = pair.declared("http").outbound_files(FILES).start();
    let client = H2Client::connect(mesh.service).await;
    let told = Arc::new(AtomicUsize::new(0));
    let request = |path: &str| {
        let uri = format!("http://app.default/{path}");
        Request::builder().uri(uri).body(()).expect("a request")
    };
    let mut asked = JoinSet::new();
    for _ in 0..STREAMS {
        let (answer, _) = client.open(request("held"), true).await;
        let told = Arc::clone(&told);
        asked.spawn(async move {
            let answer = reply(answer).await;
            told.fetch_add(1, Ordering::SeqCst);
            answer
        });
    }
    let begun = || apps.iter().map(App::begun).sum::<usize>();
    let refused = || told.load(Ordering::SeqCst);
    eventually("each is either held or refused", || begun() + refused() == STREAMS);
    let (held, refused) = (begun(), refused());
    let open = mesh.outbound.open_files();
    let used = cpu_while_full(&mesh.outbound);
    assert_eq!(mesh.outbound.get("/ready").status(), 200, "while it is full");
    let endpoints = mesh.outbound.json("/endpoints");
    may.store(true, Ordering::SeqCst);
    let mut well = 0;
    while let Some(answer) = asked.join_next().await {
        let answer = answer.expect("it is answered");
        if answer.status == 200 {
            well += 1;
            continue;
        }
        let reason = answer.header("x-outrigger-reason");
        assert_eq!((answer.status, reason), (503, Some("connect-failure")));
        let text = String::from_utf8_lossy(&answer.body);
        assert!(text.contains("Too many open files"), "{text}");
    }
    eprintln!(
        "| no descriptor for the app: {STREAMS} requests, {FILES} descriptors | {open} in use, \
         {well} held and served, {refused} answered 503 | CPU {:.1} % |",
        used * 100.0
    );
    assert!(held > 0 && refused > 0 && well == held, "{held} held, {refused} refused, {well} well");
    assert!(used < MOST_CPU, "{:.0} % of a CPU while it is full", used * 100.0);
    let states = endpoints["endpoints"].as_array().expect("a list");
    assert_eq!(states.len(), 2);
    assert!(states.iter().all(|one| one["state"] == "ready"), "{endpoints}");
    assert_eq!(client.ask(request("later"), b"").await.status, 200);
}
