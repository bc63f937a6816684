//! Clients that take their time: heads and bodies that trickle in, and beginnings without an end.
//!
//! Slow by nature: a head and a hello have 10 s. All of a scenario wait at once.

use std::io::Read;
use std::thread;
use std::time::{Duration, Instant};

use super::Bounds;
use super::doors::{Door, Line, Scene};
use crate::harness::{App, Broken, Wire, get};

const BOUNDS: Bounds = Bounds { grows: 32.0, keeps: 16.0, cpu: Duration::from_secs(8) };

/// Time limits of 10 s, on a busy machine.
const LATEST: Duration = Duration::from_secs(18);

/// Whether somebody was told something, or the connection has ended.
fn is_quiet((_, twin): &Line) -> bool {
    twin.set_nonblocking(true).expect("a socket");
    let peeked = twin.peek(&mut [0]);
    twin.set_nonblocking(false).expect("a socket");
    peeked.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock)
}

/// Heads that get a line each half second, until their time is up.
fn trickle(scene: &Scene, door: Door, count: usize) -> String {
    let begun = Instant::now();
    let mut lines: Vec<Line> = (0..count).map(|_| scene.http1(door)).collect();
    let first = Instant::now();
    for (wire, _) in &mut lines {
        wire.send("GET /slow HTTP/1.1\r\nhost: app.default\r\n");
    }
    let until = first + Duration::from_secs(8);
    while Instant::now() < until {
        thread::sleep(Duration::from_millis(500));
        for (wire, _) in &mut lines {
            let _ = wire.try_send("x: y\r\n");
        }
    }
    // Handshakes answer with a ticket or two, which is no answer.
    let early = match door {
        Door::Mesh => 0,
        _ => lines.iter().filter(|line| !is_quiet(line)).count(),
    };
    assert!(early == 0 || begun.elapsed() > Duration::from_secs(10), "{early} were cut off early");
    for (wire, _) in &mut lines {
        let answer = wire.message(false).expect("an answer");
        assert_eq!((answer.status(), answer.reason()), (408, Some("header-timeout")));
        assert!(wire.is_over());
    }
    assert!(begun.elapsed() < LATEST, "{:?}", begun.elapsed());
    format!("408 for {count} heads")
}

#[test]
fn slow_headers_are_cut_off_after_10_s() {
    let scene = Scene::of(App::ok());
    thread::scope(|scope| {
        for (door, count) in [(Door::Plaintext, 300), (Door::Mesh, 50), (Door::Proxy, 300)] {
            let scene = &scene;
            scope.spawn(move || {
                scene.attack("slow headers", door, BOUNDS, || trickle(scene, door, count));
            });
        }
    });
    assert!(scene.app.requests().iter().all(|seen| seen.target() != "/slow"));
}

/// What somebody begins with who then says no more.
const BEGINNINGS: [(&str, &[u8]); 9] = [
    ("a byte of a method", b"G"),
    ("a method", b"GET"),
    ("a byte of a preface", b"P"),
    ("half a preface", b"PRI * HT"),
    ("a preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    ("a byte of a hello", b"\x16"),
    ("the head of a hello", b"\x16\x03\x01\x02\x00\x01"),
    ("a zero", b"\0"),
    ("an empty line", b"\r\n"),
];

#[test]
fn who_sends_a_byte_and_stays_is_shown_out() {
    const EACH: usize = 80;
    let scene = Scene::of(App::ok());
    for door in [Door::Plaintext, Door::Proxy] {
        let open = scene.victim(door).open_files();
        scene.attack("one byte", door, BOUNDS, || {
            let begun = Instant::now();
            let begin = |bytes: &[u8]| {
                let mut wire = Wire::connect(scene.neighbour_of(door));
                wire.send(bytes);
                wire.patience(LATEST);
                wire
            };
            let mut lines: Vec<(&str, Wire)> = BEGINNINGS
                .iter()
                .flat_map(|(what, bytes)| (0..EACH).map(move |_| (*what, begin(bytes))))
                .collect();
            let mut longest = ("", Duration::ZERO);
            for (what, wire) in &mut lines {
                let end = loop {
                    match wire.stream.read(&mut [0; 1024]).map_err(Broken::from) {
                        Ok(0) | Err(Broken::Reset) => break begun.elapsed(),
                        Ok(_) => {}
                        Err(other) => panic!("{what}: {other:?}"),
                    }
                    assert!(begun.elapsed() < LATEST, "{what}: it stays");
                };
                if end > longest.1 {
                    longest = (what, end);
                }
            }
            let (what, took) = longest;
            format!("{} connections ended, the last, {what}, after {took:.1?}", lines.len())
        });
        let left = scene.victim(door).open_files();
        assert!(left < open + 20, "{left} descriptors, and {open} before");
    }
}

#[test]
fn slow_bodies_are_cut_off_when_nothing_comes() {
    let policy = "apiVersion: outrigger.dev/v1alpha1\nkind: TrafficPolicy\n\
                  metadata: {name: app, namespace: default}\n\
                  spec: {targetRefs: [{kind: Service, name: app}], timeouts: {idle: 1s, request: 4s}}";
    let scene = Scene::under(App::ok(), "mtls: permissive", policy);
    let begin = |count: usize| -> Vec<Wire> {
        let begin = |_| {
            let mut wire = Wire::connect(scene.mesh.by_host);
            wire.send("POST /slow HTTP/1.1\r\nhost: app.default\r\ncontent-length: 99\r\n\r\nx");
            wire
        };
        (0..count).map(begin).collect()
    };
    scene.attack("slow body, silent", Door::Proxy, BOUNDS, || {
        let mut lines = begin(200);
        for wire in &mut lines {
            let answer = wire.response();
            assert_eq!((answer.status(), answer.reason()), (408, Some("body-timeout")));
            assert!(wire.is_over());
        }
        format!("408 for {} bodies", lines.len())
    });
    scene.attack("slow body, trickling", Door::Proxy, BOUNDS, || {
        let (mut lines, begun) = (begin(200), Instant::now());
        while begun.elapsed() < Duration::from_secs(4) {
            thread::sleep(Duration::from_millis(300));
            for wire in &mut lines {
                let _ = wire.try_send("x");
            }
        }
        for wire in &mut lines {
            let answer = wire.response();
            assert_eq!((answer.status(), answer.reason()), (504, Some("request-timeout")));
        }
        assert!(begun.elapsed() < LATEST, "{:?}", begun.elapsed());
        format!("504 for {} bodies", lines.len())
    });
    assert!(scene.app.requests().iter().all(|seen| seen.target() != "/slow"));
    assert_eq!(Wire::connect(scene.mesh.by_host).ask(get("/after")).status(), 200);
}
