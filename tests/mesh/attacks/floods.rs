//! Frames of HTTP/2 without end: those that cost their sender little, and a careless receiver much.
//!
//! Where the answers to a flood are not read, the sidecar stops reading too; where they are, it
//! keeps nothing of what it answered.

use std::time::Duration;

use super::Bounds;
use super::doors::{Door, Scene};
use super::frames::{
    self, ENHANCE_YOUR_CALM, Flood, Raw, STALLED, frame, headers, request, settings,
};
use crate::harness::{App, SOON};

const DOORS: [Door; 3] = [Door::Plaintext, Door::Mesh, Door::Proxy];

/// Some 20,000 frames of a kind; a frame must not cost more than 100 µs, unoptimised.
const FRAMES: usize = 20_000;
const CHEAP: Bounds = Bounds { grows: 16.0, keeps: 12.0, cpu: Duration::from_secs(4) };

/// Connections that try the same, one after the other: what each leaves behind would add up.
const TURNS: usize = 20;

/// The flood was cut by a GOAWAY that says why, before it was over.
#[track_caller]
fn calmed(door: Door, raw: &mut Raw, flood: &[u8]) -> usize {
    let (sent, code) = match raw.flood(flood, SOON) {
        Flood::Ended(sent, code) => (sent, code),
        Flood::Taken => (flood.len(), raw.goaway()),
        Flood::Stalled(sent) => panic!("neither read nor refused after {sent} bytes"),
    };
    // Whoever still has something to write into a closed TLS connection can't read it any more.
    let is_deaf = door == Door::Mesh && code.is_none();
    assert!(is_deaf || code == Some(ENHANCE_YOUR_CALM), "{code:?}");
    sent
}

#[test]
fn a_rapid_reset_flood_is_told_to_calm_down() {
    let scene = Scene::of(App::ok());
    let pair = |n: usize| {
        let stream = u32::try_from(2 * n + 1).expect("few");
        let asked = headers(stream, &request("GET", "/reset"), frames::END_STREAM);
        [asked, frame(frames::RST_STREAM, 0, stream, &8_u32.to_be_bytes())].concat()
    };
    let flood: Vec<u8> = (0..FRAMES / 2).flat_map(pair).collect();
    for door in DOORS {
        let begun = scene.app.begun();
        scene.attack("rapid reset", door, CHEAP, || {
            let mut sent = 0;
            for _ in 0..TURNS {
                let mut raw = Raw::over(scene.http2(door), &[]);
                sent += calmed(door, &mut raw, &flood);
            }
            format!("GOAWAY on {TURNS} connections after {} KiB", sent / 1024)
        });
        let reached = scene.app.begun() - begun;
        assert!(reached < TURNS * FRAMES / 20, "the app was asked {reached} times");
    }
}

#[test]
fn a_continuation_flood_is_cut_off() {
    let scene = Scene::of(App::ok());
    for door in DOORS {
        for (name, part) in [("CONTINUATION", 16_000), ("empty CONTINUATION", 0)] {
            scene.attack(&format!("{name} flood"), door, CHEAP, || {
                let mut sent = 0;
                for _ in 0..TURNS {
                    let mut raw = Raw::over(scene.http2(door), &[]);
                    let field = frames::literal("x", &vec![b'x'; part]);
                    let part: &[u8] = if part == 0 { &[] } else { &field };
                    let mut flood = frame(frames::HEADERS, 0, 1, &request("GET", "/endless"));
                    let one = frame(frames::CONTINUATION, 0, 1, part);
                    // 32 MiB of them, or as many as of any kind.
                    (0..FRAMES / 10).for_each(|_| flood.extend_from_slice(&one));
                    sent += calmed(door, &mut raw, &flood);
                }
                assert!(sent < TURNS << 22, "it took {sent} bytes");
                format!("GOAWAY on {TURNS} connections after {} KiB", sent / 1024)
            });
        }
    }
    assert!(scene.app.requests().iter().all(|seen| seen.target() != "/endless"));
}

/// What the sidecar answers, frame by frame.
fn answered() -> [(&'static str, Vec<u8>); 2] {
    let setting = settings(&[(3, 100), (4, 65_535), (5, 16_384)]);
    [("SETTINGS", setting), ("PING", frame(frames::PING, 0, 0, b"attack!!"))]
}

#[test]
fn a_settings_or_ping_flood_whose_answers_are_not_read_is_not_read_either() {
    let scene = Scene::of(App::ok());
    for door in DOORS {
        for (name, one) in answered() {
            scene.attack(&format!("{name} flood, unread"), door, CHEAP, || {
                let mut raw = Raw::over(scene.http2(door), &[]);
                raw.read_little();
                // Far more than sockets hold.
                match raw.flood(&one.repeat((48 << 20) / one.len()), STALLED) {
                    Flood::Stalled(sent) => format!("not read after {} KiB", sent / 1024),
                    Flood::Ended(sent, code) => {
                        format!("GOAWAY {code:?} after {} KiB", sent / 1024)
                    }
                    Flood::Taken => panic!("all of it was taken"),
                }
            });
        }
    }
}

#[test]
fn a_settings_or_ping_flood_is_answered_and_nothing_of_it_kept() {
    let scene = Scene::of(App::ok());
    for door in DOORS {
        for (name, one) in answered() {
            scene.attack(&format!("{name} flood, read"), door, CHEAP, || {
                let mut raw = Raw::over(scene.http2(door), &[]);
                match raw.flood_and_read(&one, FRAMES) {
                    Flood::Taken => raw.is_served(1),
                    Flood::Ended(_, Some(ENHANCE_YOUR_CALM)) => return "GOAWAY".to_owned(),
                    other => panic!("{other:?}"),
                }
                format!("{FRAMES} answered")
            });
        }
    }
}

#[test]
fn a_flood_of_data_frames_without_data_is_told_to_calm_down() {
    let scene = Scene::of(App::ok());
    for door in DOORS {
        scene.attack("empty DATA flood", door, CHEAP, || {
            let mut sent = 0;
            for _ in 0..TURNS {
                let mut raw = Raw::over(scene.http2(door), &[]);
                raw.send(headers(1, &request("POST", "/empty"), 0));
                let flood = frame(frames::DATA, 0, 1, &[]).repeat(FRAMES);
                sent += calmed(door, &mut raw, &flood);
            }
            format!("GOAWAY on {TURNS} connections after {} KiB", sent / 1024)
        });
    }
    assert!(scene.app.requests().iter().all(|seen| seen.target() != "/empty"));
}

#[test]
fn window_update_and_priority_floods_change_nothing() {
    let scene = Scene::of(App::ok());
    let one = 1_u32.to_be_bytes();
    let dependent = [&1_u32.to_be_bytes()[..], &[16]].concat();
    let floods = [
        ("WINDOW_UPDATE", frame(frames::WINDOW_UPDATE, 0, 0, &one).repeat(FRAMES)),
        (
            "PRIORITY",
            // Each of another stream, none of which is ever opened.
            (0..FRAMES)
                .map(|n| u32::try_from(2 * n + 1_001).expect("few"))
                .flat_map(|stream| frame(frames::PRIORITY, 0, stream, &dependent))
                .collect(),
        ),
    ];
    for door in DOORS {
        for (name, flood) in &floods {
            scene.attack(&format!("{name} flood"), door, CHEAP, || {
                for _ in 0..5 {
                    let mut raw = Raw::over(scene.http2(door), &[]);
                    assert_eq!(raw.flood(flood, STALLED), Flood::Taken);
                    raw.is_served(1);
                }
                format!("5 times {FRAMES} passed over")
            });
        }
    }
}

#[test]
fn a_window_that_is_opened_too_far_ends_the_connection() {
    let scene = Scene::of(App::ok());
    for door in DOORS {
        let mut raw = Raw::over(scene.http2(door), &[]);
        raw.send(frame(frames::WINDOW_UPDATE, 0, 0, &0x7fff_ffff_u32.to_be_bytes()));
        // FLOW_CONTROL_ERROR, RFC 9113, 6.9.1.
        assert_eq!(raw.goaway(), Some(3), "{door:?}");
    }
}
