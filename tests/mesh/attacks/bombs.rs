//! Heads that are small to send, or too large to take: headers, cookies, and HPACK's table.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use super::Bounds;
use super::doors::{Door, Scene};
use super::frames::{
    self, ENHANCE_YOUR_CALM, Flood, Raw, STALLED, headers, kept, literal, request,
};
use crate::harness::{App, Broken, eventually, get_with};

const DOORS: [Door; 3] = [Door::Plaintext, Door::Mesh, Door::Proxy];
const BOUNDS: Bounds = Bounds { grows: 24.0, keeps: 16.0, cpu: Duration::from_secs(6) };

/// Attempts of a kind, each on a connection of its own.
const TURNS: usize = 40;

#[test]
fn header_bombs_over_http_1_are_refused_before_they_are_read_whole() {
    let scene = Scene::of(App::ok());
    let tiny: String = (0..1_000_000).map(|n| format!("a{n}:\r\n")).collect();
    let bombs = [
        ("a million headers", get_with("/bomb", &tiny)),
        ("a header of 8 MiB", get_with("/bomb", &format!("x: {}\r\n", "v".repeat(8 << 20)))),
        ("a target of 8 MiB", format!("GET /{} HTTP/1.1\r\nhost: a\r\n\r\n", "p".repeat(8 << 20))),
    ];
    for door in DOORS {
        for (name, bomb) in &bombs {
            scene.attack(&format!("header bomb: {name}"), door, BOUNDS, || {
                let mut told = 0;
                for _ in 0..TURNS {
                    let (mut wire, _) = scene.http1(door);
                    // It is cut off in the middle, and may not live to read why.
                    let sent = wire.try_send(bomb);
                    match wire.message(false) {
                        Ok(answer) => {
                            let said = (answer.status(), answer.reason());
                            assert_eq!(said, (431, Some("headers-too-large")));
                            assert!(wire.is_over());
                            told += 1;
                        }
                        Err(Broken::Reset | Broken::Closed) if sent.is_err() => {}
                        Err(other) => panic!("{other:?}"),
                    }
                }
                format!("cut off {TURNS} times, {told} times with 431")
            });
        }
    }
    let mut seen = scene.app.requests().into_iter();
    assert!(seen.all(|seen| matches!(seen.target(), "/neighbour" | "/warm")));
}

#[test]
fn header_bombs_over_http_2_are_refused_stream_by_stream() {
    let scene = Scene::of(App::ok());
    let many = |count: usize| -> Vec<u8> {
        (0..count).flat_map(|n| literal(&format!("a{n}"), b"")).collect()
    };
    let long: Vec<u8> = (0..7).flat_map(|n| literal(&format!("a{n}"), &[b'v'; 10_000])).collect();
    for door in DOORS {
        // A sidecar may have added some to its caller's.
        let many = many(if door == Door::Mesh { 149 } else { 101 });
        for (name, fields) in [("too many headers", &many), ("70 KB", &long)] {
            scene.attack(&format!("header bomb: {name}, HTTP/2"), door, BOUNDS, || {
                let mut refused = 0;
                for _ in 0..TURNS / 10 {
                    let mut raw = Raw::over(scene.http2(door), &[(1, 0)]);
                    for stream in (1..200).step_by(2) {
                        let block = [request("GET", "/bomb"), fields.clone()].concat();
                        raw.send(headers(stream, &block, frames::END_STREAM));
                        let answer = raw.until(frames::HEADERS, stream);
                        assert_eq!(frames::status(&answer), 431);
                        refused += 1;
                    }
                    raw.is_served(201);
                }
                format!("431 for {refused} requests")
            });
        }
    }
    assert!(scene.app.requests().iter().all(|seen| seen.target() != "/bomb"));
}

const STREAMS: usize = 100;
/// Without optimisation, header maps check themselves whenever one of many values leaves them: 5 ms for
/// each of these.
const COOKIES: usize = 30;

/// Requests to `/held` wait until they are let go.
#[derive(Default)]
struct Gate {
    is_free: AtomicBool,
    waiting: AtomicUsize,
}

fn holding() -> (App, Arc<Gate>) {
    let gate = Arc::new(Gate::default());
    let shared = Arc::clone(&gate);
    let app = App::http(move |request| {
        if request.target() == "/held" {
            shared.waiting.fetch_add(1, Ordering::SeqCst);
            while !shared.is_free.load(Ordering::SeqCst) {
                thread::sleep(Duration::from_millis(20));
            }
            shared.waiting.fetch_sub(1, Ordering::SeqCst);
        }
        App::answer("ok")
    });
    (app, gate)
}

/// Asks on many streams at once, with these fields each.
fn ask_at_once(scene: &Scene, door: Door, streams: usize, fields: &[u8]) -> Raw {
    let mut raw = Raw::over(scene.http2(door), &[(1, 0)]);
    for stream in (0..streams).map(|n| u32::try_from(2 * n + 1).expect("few")) {
        let block = [&request("GET", "/held"), fields].concat();
        raw.send(headers(stream, &block, frames::END_STREAM));
    }
    raw
}

#[test]
fn a_cookie_bomb_costs_no_more_than_its_bytes() {
    let (app, gate) = holding();
    let scene = Scene::of(app);
    // 1,500 crumbs, a byte each on the wire, of 41 bytes as HTTP/2 counts.
    let crumbs = [kept("cookie", b"a=b"), vec![frames::NEWEST; 1_499]].concat();
    for door in DOORS {
        scene.attack("cookie bomb", door, BOUNDS, || {
            gate.is_free.store(false, Ordering::SeqCst);
            let _raw = ask_at_once(&scene, door, COOKIES, &crumbs);
            eventually("they wait at the app", || gate.waiting.load(Ordering::SeqCst) == COOKIES);
            gate.is_free.store(true, Ordering::SeqCst);
            eventually("they are let go", || gate.waiting.load(Ordering::SeqCst) == 0);
            format!("{COOKIES} requests held, a cookie each")
        });
    }
    let seen = scene.app.requests();
    let seen = seen.iter().find(|seen| seen.target() == "/held").expect("some came");
    assert_eq!(seen.header("cookie").map(str::len), Some(1_500 * 3 + 1_499 * 2));
}

#[test]
fn an_hpack_bomb_of_small_fields_is_refused() {
    let scene = Scene::of(App::ok());
    // 1,900 fields, a byte each on the wire, within the header list's 64 KiB.
    let fields = [kept("x", b""), vec![frames::NEWEST; 1_899]].concat();
    // Unpacked, 300 KiB each: some are before any is looked at, and none is kept.
    let bounds = Bounds { grows: 48.0, ..BOUNDS };
    for door in DOORS {
        scene.attack("HPACK bomb, small", door, bounds, || {
            let mut lines: Vec<Raw> =
                (0..3).map(|_| ask_at_once(&scene, door, STREAMS, &fields)).collect();
            for raw in &mut lines {
                let mut refused = 0;
                while refused < STREAMS {
                    let frame = raw.next().expect("an answer to each");
                    if frame.kind == frames::HEADERS {
                        assert_eq!(frames::status(&frame), 431);
                        refused += 1;
                    }
                }
            }
            format!("431 for {} requests", lines.len() * STREAMS)
        });
    }
}

#[test]
fn an_hpack_bomb_is_not_unpacked() {
    let scene = Scene::of(App::ok());
    for door in DOORS {
        scene.attack("HPACK bomb", door, BOUNDS, || {
            for _ in 0..TURNS {
                let mut raw = Raw::over(scene.http2(door), &[]);
                // 64 MB, said in 20 KB.
                let block = [request("GET", "/bomb"), kept("x", &[b'v'; 4_000])].concat();
                let block = [block, vec![frames::NEWEST; 16_000]].concat();
                match raw.flood(&headers(1, &block, frames::END_STREAM), STALLED) {
                    Flood::Taken => assert_eq!(raw.goaway(), Some(ENHANCE_YOUR_CALM)),
                    Flood::Ended(_, code) => assert_eq!(code, Some(ENHANCE_YOUR_CALM)),
                    Flood::Stalled(_) => panic!("it stands still"),
                }
            }
            format!("GOAWAY {TURNS} times")
        });
    }
    assert!(scene.app.requests().iter().all(|seen| seen.target() != "/bomb"));
}

#[test]
fn nobody_makes_the_hpack_table_larger_than_it_may_be() {
    let scene = Scene::of(App::ok());
    for door in DOORS {
        let mut raw = Raw::over(scene.http2(door), &[]);
        // A size update to 16 MiB: RFC 7541, 6.3.
        let block = [vec![0x3f, 0xe1, 0xff, 0xff, 0x07], request("GET", "/bomb")].concat();
        raw.send(headers(1, &block, frames::END_STREAM));
        let code = raw.goaway();
        assert!(matches!(code, Some(1 | 9)), "{door:?}: {code:?}");
    }
}
