//! Memory: what the hungriest connections take, and that a sidecar near its container's limit lets
//! callers wait instead of being killed.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Request;

use crate::harness::grpc::H2Client;
use crate::harness::host::or_skip;
use crate::harness::{App, Mesh, Pair, Sidecar, Wire, eventually, get, mounts, within};

const MIB: u64 = 1 << 20;
/// What the injector gives a sidecar unless told otherwise.
const LIMIT: u64 = 128 * MIB;

/// What the documentation says that each takes at most, in KiB.
const HEAD_KIB: u64 = 80;
const HTTP1_BODY_KIB: u64 = 640;
const HTTP2_BODY_KIB: u64 = 160;

/// An app that reads a head and no body.
fn sated() -> App {
    App::raw(|mut wire| {
        while wire.head().is_ok_and(|asked| asked.method() == "GET") {
            let _ = wire.try_send(App::answer("ok"));
        }
        thread::sleep(Duration::from_secs(20));
    })
}

/// A head that lacks its end.
fn half_head() -> Vec<u8> {
    format!("GET / HTTP/1.1\r\nHost: app.default\r\nx: {}", "v".repeat(60_000)).into_bytes()
}

/// A request with more of a body than anybody holds.
fn body() -> Vec<u8> {
    let head = "POST / HTTP/1.1\r\nHost: app.default\r\ncontent-length: 99999999\r\n\r\n";
    [head.as_bytes(), &vec![b'x'; 4 << 20]].concat()
}

/// Connections on each of which as much of this is said as is taken.
fn say(mesh: &Mesh, count: usize, bytes: &[u8]) -> Vec<(Wire, usize)> {
    let begin = |_| {
        let wire = mesh.connect();
        wire.stream.set_nonblocking(true).expect("a socket");
        let mut line = (wire, 0);
        go_on(&mut line, bytes);
        line
    };
    (0..count).map(begin).collect()
}

fn go_on((wire, said): &mut (Wire, usize), bytes: &[u8]) {
    use std::io::Write;
    while let Ok(written @ 1..) = wire.stream.write(&bytes[*said..]) {
        *said += written;
    }
}

/// How much more it holds while `work` is done, at most, in KiB.
fn grows(sidecar: &Sidecar, work: impl FnOnce()) -> u64 {
    let (before, over, most) = (sidecar.rss_kib(), AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::SeqCst) {
                most.fetch_max(sidecar.rss_kib(), Ordering::SeqCst);
                thread::sleep(Duration::from_millis(5));
            }
        });
        work();
        over.store(true, Ordering::SeqCst);
    });
    most.into_inner().saturating_sub(before)
}

fn mesh() -> (App, Mesh) {
    let app = sated();
    let mesh = Pair::bare(app.address).declared("http").start();
    assert_eq!(mesh.ask(get("/warm")).status(), 200);
    (app, mesh)
}

/// Says all of it on so many connections; what each takes must not be more.
#[track_caller]
fn each_takes(name: &str, count: u64, bytes: &[u8], most: u64) {
    let (_app, mesh) = mesh();
    let grown = grows(&mesh.outbound, || {
        let mut lines = say(&mesh, count as usize, bytes);
        for _ in 0..20 {
            thread::sleep(Duration::from_millis(50));
            lines.iter_mut().for_each(|line| go_on(line, bytes));
        }
    });
    let each = grown / count;
    eprintln!("| {count} {name} | {each} KiB each, {most} at most |");
    assert!(each <= most, "{each} KiB each");
    assert!(each >= most / 8, "{each} KiB each: they were no trouble");
}

#[test]
fn a_half_sent_head_takes_little() {
    each_takes("heads of 60 KB without an end", 500, &half_head(), HEAD_KIB);
}

#[test]
fn a_body_that_nobody_reads_takes_little_over_http_1() {
    each_takes("bodies that nobody reads, HTTP/1", 200, &body(), HTTP1_BODY_KIB);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_body_that_nobody_reads_takes_little_over_http_2() {
    const CONNECTIONS: u64 = 2;
    const STREAMS: u64 = 200;
    let (_app, mesh) = mesh();
    let before = mesh.outbound.rss_kib();
    let mut held = Vec::new();
    for _ in 0..CONNECTIONS {
        let client = H2Client::connect(mesh.service).await;
        for _ in 0..STREAMS {
            let request = Request::post("http://app.default/").body(()).expect("a request");
            let (answer, mut body) = client.open(request, false).await;
            body.send_data(Bytes::from(vec![b'x'; 1 << 20]), false).expect("it is open");
            held.push((answer, body, client.0.clone()));
        }
    }
    let (mut each, until) = (0, Instant::now() + Duration::from_secs(3));
    while Instant::now() < until {
        let grown = mesh.outbound.rss_kib().saturating_sub(before);
        each = each.max(grown / (CONNECTIONS * STREAMS));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let count = held.len();
    eprintln!(
        "| {count} bodies that nobody reads, HTTP/2 | {each} KiB each, {HTTP2_BODY_KIB} at most |"
    );
    assert!((HTTP2_BODY_KIB / 8..=HTTP2_BODY_KIB).contains(&each), "{each} KiB each");
}

/// Heads that would take twice the limit.
#[test]
fn near_its_limit_it_lets_callers_wait() {
    if or_skip(mounts::are_allowed(), "a container's limit needs root").is_none() {
        return;
    }
    let (count, bytes) = ((2 * LIMIT / 1024 / HEAD_KIB) as usize, half_head());
    let app = App::ok();
    let mut mesh = Pair::bare(app.address).declared("http").outbound_memory(LIMIT).start();
    let mut before: Vec<Wire> = (0..8).map(|_| mesh.connect()).collect();
    let rest = mesh.outbound.rss_kib();
    let mut crowd = Vec::new();
    let grown = grows(&mesh.outbound, || {
        crowd = say(&mesh, count, &bytes);
        for _ in 0..20 {
            thread::sleep(Duration::from_millis(100));
            crowd.iter_mut().for_each(|line| go_on(line, &bytes));
            for wire in &mut before {
                assert_eq!(wire.ask(get("/meanwhile")).status(), 200);
            }
        }
    });
    let most = rest + grown;
    mesh.outbound.await_log("three quarters of the memory");
    assert_eq!(mesh.outbound.get("/ready").status(), 200);
    drop(crowd);
    let left = Instant::now();
    let again = || {
        let mut wire = mesh.connect();
        wire.patience(Duration::from_secs(1)).send(get("/after"));
        wire.message(false).is_ok_and(|answer| answer.status() == 200)
    };
    eventually("it serves whoever comes", again);
    let back = left.elapsed();
    let half = LIMIT / 1024 / 2;
    within(Duration::from_secs(15), "memory comes back", || {
        again() && mesh.outbound.rss_kib() < half
    });
    eprintln!(
        "| {count} heads of 60 KB without an end, {} MiB allowed | {} MiB at rest, {} at most | \
         served again after {back:.1?} |",
        LIMIT / MIB,
        rest / 1024,
        most / 1024
    );
    assert!(most < LIMIT / 1024, "{most} KiB: it would have been killed");
    assert!(most > half, "it was never near: {most} KiB");
    assert!(mesh.outbound.is_running());
}
