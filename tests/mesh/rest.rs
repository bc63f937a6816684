//! Connections on which nothing happens hold little, come back to life whole, and leave nothing
//! behind when they end. What is under way, however slowly, is never taken for rest.

use std::thread::sleep;
use std::time::Duration;

use crate::harness::{App, Pair, Wire, eventually, get, post};

/// Longer than it takes to be found at rest.
const A_WHILE: Duration = Duration::from_millis(1200);
const MANY: usize = 400;
/// What so many may take at rest, and what may be left of them afterwards, in KiB.
const AT_REST: u64 = 8 * 1024;
const LEFT: u64 = 3 * 1024;

#[test]
fn idle_connections_serve_on_and_their_memory_goes_back() {
    let app = App::ok();
    let mesh = Pair::of(&app).start();
    assert_eq!(mesh.ask(get("/")).status(), 200);
    let before = mesh.outbound.rss_kib();
    let mut wires: Vec<Wire> = (0..MANY).map(|_| mesh.connect()).collect();
    for turn in 0..3 {
        for (number, wire) in wires.iter_mut().enumerate() {
            let answer = wire.ask(get(&format!("/{turn}/{number}")));
            assert_eq!((answer.status(), answer.text()), (200, "ok".into()), "{turn} {number}");
        }
        sleep(A_WHILE);
    }
    let resting = mesh.outbound.rss_kib();
    assert!(resting < before + AT_REST, "{before} KiB became {resting}");
    drop(wires);
    eventually("the memory of connections that ended goes back", || {
        mesh.outbound.rss_kib() < before + LEFT
    });
    let after = mesh.outbound.rss_kib();
    println!("resident KiB: {before}, {resting} with {MANY} that rest, {after} without them");
}

/// An app, or a caller, that takes its time in the middle of everything.
#[test]
fn what_is_under_way_is_no_rest() {
    let app = App::raw(|mut wire| {
        while wire.head().is_ok() {
            sleep(A_WHILE);
            let halves = ["HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\nfirst", "end"];
            for half in halves {
                if wire.try_send(half).is_err() {
                    return;
                }
                sleep(A_WHILE);
            }
        }
    });
    let mesh = Pair::of(&app).start();
    let mut wire = mesh.connect();
    for _ in 0..2 {
        let request = get("/slow");
        let (begun, rest) = request.split_at(request.len() / 2);
        wire.send(begun);
        sleep(A_WHILE);
        let answer = wire.ask(rest);
        assert_eq!((answer.status(), answer.text()), (200, "firstend".into()));
        sleep(A_WHILE);
    }
}

#[test]
fn a_body_that_comes_slowly_is_no_rest() {
    let app = App::http(|request| App::answer(&request.body));
    let mesh = Pair::of(&app).start();
    let mut wire = mesh.connect();
    for _ in 0..2 {
        let request = post("/", b"0123456789");
        let (begun, rest) = request.split_at(request.len() - 5);
        wire.send(begun);
        sleep(A_WHILE);
        let answer = wire.ask(rest);
        assert_eq!((answer.status(), answer.text()), (200, "0123456789".into()));
        sleep(A_WHILE);
    }
}

/// The sidecar answers before anybody reads the body, and the connection rests.
#[test]
fn a_body_that_nobody_read_becomes_no_request() {
    let app = App::ok();
    let mesh = Pair::of(&app).start();
    let hidden = get("/hidden");
    let late = format!(
        "POST / HTTP/1.1\r\nHost: app.default\r\nX-Outrigger-Deadline-Ms: 0\r\n\
         Content-Length: {}\r\n\r\n{hidden}",
        hidden.len()
    );
    let mut wire = mesh.connect();
    assert_eq!(wire.ask(late).status(), 504);
    sleep(A_WHILE);
    // It may have been closed, which is as good.
    if wire.try_send(get("/next")).is_ok() && wire.message(false).is_ok() {
        app.await_requests(1);
    }
    assert!(app.requests().iter().all(|request| request.target() == "/next"));
}
