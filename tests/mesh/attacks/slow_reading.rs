//! Clients that ask for much and read little: the app is held up, and nothing piles up in between.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::Bounds;
use super::doors::{Door, Scene};
use super::frames::{self, Raw, frame, headers, request};
use crate::harness::{App, get, within};

const DOORS: [Door; 3] = [Door::Plaintext, Door::Mesh, Door::Proxy];

/// Of one answer to `/large`.
const LARGE: usize = 16 << 20;
const PIECE: usize = 64 * 1024;

/// An app whose large answers are written piece by piece; how many of them are under way.
fn generous() -> (App, Arc<AtomicUsize>) {
    let under_way = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&under_way);
    let app = App::raw(move |mut wire| {
        while let Ok(asked) = wire.head() {
            if asked.target() != "/large" {
                if wire.try_send(App::answer("ok")).is_err() {
                    return;
                }
                continue;
            }
            count.fetch_add(1, Ordering::SeqCst);
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {LARGE}\r\n\r\n");
            let mut sent = wire.try_send(head);
            for _ in 0..LARGE / PIECE {
                sent = sent.and_then(|()| wire.try_send([b'x'; PIECE]));
            }
            count.fetch_sub(1, Ordering::SeqCst);
            if sent.is_err() {
                return;
            }
        }
    });
    (app, under_way)
}

/// All who were held up are let go when the attacker leaves.
#[track_caller]
fn let_go(under_way: &AtomicUsize) {
    within(Duration::from_secs(20), "the app is let go", || under_way.load(Ordering::SeqCst) == 0);
}

#[test]
fn a_slow_reader_over_http_1_holds_up_the_app_and_fills_no_memory() {
    const LINES: usize = 40;
    let (app, under_way) = generous();
    let scene = Scene::of(app);
    // Of 640 MiB.
    let bounds = Bounds { grows: 24.0, keeps: 16.0, cpu: Duration::from_secs(8) };
    for door in DOORS {
        scene.attack("slow read, HTTP/1", door, bounds, || {
            let mut lines: Vec<_> = (0..LINES).map(|_| scene.http1(door).0).collect();
            for wire in &mut lines {
                wire.send(get("/large"));
            }
            for _ in 0..5 {
                for wire in &mut lines {
                    wire.take(16);
                }
                thread::sleep(Duration::from_millis(100));
            }
            let held = under_way.load(Ordering::SeqCst);
            assert_eq!(held, LINES, "answers were taken whole");
            drop(lines);
            let_go(&under_way);
            format!("{held} answers of {} MiB held up", LARGE >> 20)
        });
    }
}

#[test]
fn streams_without_a_window_hold_up_the_app_and_fill_no_memory() {
    const LINES: usize = 2;
    // Fewer together than an app's backlog.
    const STREAMS: usize = 50;
    let (app, under_way) = generous();
    let scene = Scene::of(app);
    // Of 1.6 GiB.
    let bounds = Bounds { grows: 48.0, keeps: 32.0, cpu: Duration::from_secs(8) };
    for door in DOORS {
        for (name, window) in [("zero window", 0), ("one byte at a time", 1)] {
            scene.attack(&format!("slow read, HTTP/2, {name}"), door, bounds, || {
                let open = || Raw::over(scene.http2(door), &[(4, window)]);
                let mut lines: Vec<Raw> = (0..LINES).map(|_| open()).collect();
                let streams = || (0..STREAMS).map(|n| u32::try_from(2 * n + 1).expect("few"));
                for raw in &mut lines {
                    for stream in streams() {
                        let head = request("GET", "/large");
                        raw.send(headers(stream, &head, frames::END_STREAM));
                    }
                }
                let (mut begun, until) = (0, Instant::now() + Duration::from_secs(20));
                while begun < LINES * STREAMS {
                    assert!(Instant::now() < until, "only {begun} are asked for");
                    thread::sleep(Duration::from_millis(5));
                    begun = under_way.load(Ordering::SeqCst);
                }
                for raw in lines.iter_mut().filter(|_| window > 0) {
                    for _ in 0..20 {
                        let one =
                            |stream| frame(frames::WINDOW_UPDATE, 0, stream, &1_u32.to_be_bytes());
                        raw.send(streams().flat_map(one).collect::<Vec<u8>>());
                        raw.rest(Duration::from_millis(20));
                    }
                }
                for raw in &mut lines {
                    raw.rest(Duration::from_millis(300));
                }
                let held = under_way.load(Ordering::SeqCst);
                assert_eq!(held, LINES * STREAMS, "answers were taken whole");
                drop(lines);
                let_go(&under_way);
                format!("{held} answers of {} MiB held up", LARGE >> 20)
            });
        }
    }
}
