//! Callers who write what only a sidecar may say: the app hears it from the sidecar alone.

use super::doors::{Door, Scene};
use super::frames::{self, Raw, headers, literal, request};
use crate::harness::{App, Message, get_with, spiffe};

const DOORS: [Door; 3] = [Door::Plaintext, Door::Mesh, Door::Proxy];

/// Header lines of an attacker, `ADMIN` for whom it would be.
const LINES: [&str; 19] = [
    "x-outrigger-peer: ADMIN\r\n",
    "X-OUTRIGGER-PEER: ADMIN\r\n",
    "X_Outrigger_Peer: ADMIN\r\n",
    "x-outrigger_peer: ADMIN\r\n",
    "x_outrigger-peer: ADMIN\r\n",
    "x-outrigger-peer:\tADMIN\t\r\n",
    "x-outrigger-peer:\r\nx-outrigger-peer: ADMIN\r\n",
    "x-outrigger-peer: ADMIN\r\nX_OUTRIGGER_PEER: ADMIN\r\nx-outrigger-peer: ADMIN\r\n",
    "connection: x-outrigger-peer\r\nx-outrigger-peer: ADMIN\r\n",
    "connection: x_outrigger_peer, close\r\nx_outrigger_peer: ADMIN\r\n",
    "connection: x-outrigger-peer, x-outrigger-http, x-outrigger-deadline-ms\r\n",
    "x-outrigger-http: 1.0\r\n",
    "x-outrigger-http: 1.1; absolute\r\nX_Outrigger_Http: 1.0\r\n",
    "x-outrigger-deadline-ms: 60000\r\nx-outrigger-deadline-ms: 99999999\r\n",
    "X_Outrigger_Deadline_Ms: 99999999\r\nx-outrigger-deadline_ms: 99999999\r\n",
    "x-outrigger-deadline-ms: never\r\nx-outrigger-deadline-ms: 99999999\r\n",
    "x-outrigger-deadline-ms: -1\r\n",
    "x-outrigger-deadline-ms: 99999999999999999999999999\r\n",
    "connection: upgrade\r\nupgrade: x\r\nx-outrigger-http: 1.0\r\nx-outrigger-peer: ADMIN\r\n\
     X_Outrigger_Peer: ADMIN\r\nx-outrigger-deadline-ms: never\r\n",
];

/// What stands at the app under a name of ours, whichever way an app reads names.
fn said<'a>(seen: &'a Message, name: &str) -> Vec<(&'a str, &'a str)> {
    let reads = |found: &str| found.replace('_', "-").eq_ignore_ascii_case(name);
    let of = seen.headers.iter().chain(&seen.trailers).filter(|(found, _)| reads(found));
    of.map(|(found, value)| (found.as_str(), value.as_str())).collect()
}

#[track_caller]
fn judge(seen: &Message, door: Door, what: &str) {
    let peer = match door {
        Door::Plaintext => None,
        Door::Mesh => Some(spiffe("mallory")),
        Door::Proxy => Some(spiffe("client")),
    };
    let expected: Vec<(&str, &str)> =
        peer.iter().map(|peer| ("x-outrigger-peer", peer.as_str())).collect();
    // In whatever letter case the caller wrote it.
    let peers = said(seen, "x-outrigger-peer");
    let peers: Vec<_> =
        peers.iter().map(|(name, peer)| (name.to_ascii_lowercase(), *peer)).collect();
    let peers: Vec<_> = peers.iter().map(|(name, peer)| (name.as_str(), *peer)).collect();
    assert_eq!(peers, expected, "{door:?} {what}");
    assert_eq!(said(seen, "x-outrigger-http"), [], "{door:?} {what}");
    let deadlines = said(seen, "x-outrigger-deadline-ms");
    let is_kept = what.contains("deadline-ms: 60000");
    assert_eq!(deadlines.len(), usize::from(is_kept), "{door:?} {what}: {deadlines:?}");
    for (name, value) in deadlines {
        let ms: u64 = value.parse().expect("a number");
        assert!(name == "x-outrigger-deadline-ms" && ms <= 60_000, "{door:?} {name} {ms}");
    }
    let all = seen.headers.iter().chain(&seen.trailers);
    let lies: Vec<_> = all.filter(|(_, value)| value.contains("sa/admin")).collect();
    assert_eq!(lies, Vec::<&(String, String)>::new(), "{door:?} {what}");
    assert!(seen.start.ends_with("HTTP/1.1") || door != Door::Plaintext, "{}", seen.start);
}

#[test]
fn names_of_the_mesh_are_the_sidecars_alone_over_http_1() {
    let scene = Scene::of(App::ok());
    for door in DOORS {
        for lines in LINES {
            let before = scene.app.requests().len();
            let lines = lines.replace("ADMIN", &spiffe("admin"));
            let answer = scene.http1(door).0.ask(get_with("/names", &lines));
            assert_eq!(answer.status(), 200, "{door:?} {lines}");
            judge(&scene.app.requests()[before], door, &lines);
        }
        let before = scene.app.requests().len();
        let trailers = format!(
            "POST /names HTTP/1.1\r\nhost: app.default\r\nte: trailers\r\n\
             trailer: x_outrigger_peer, x-outrigger-peer\r\ntransfer-encoding: chunked\r\n\r\n\
             0\r\nx_outrigger_peer: {0}\r\nx-outrigger-peer: {0}\r\n\r\n",
            spiffe("admin")
        );
        scene.http1(door).0.ask(trailers);
        if let Some(seen) = scene.app.requests().get(before) {
            judge(seen, door, "trailers");
        }
    }
}

#[test]
fn names_of_the_mesh_are_the_sidecars_alone_over_http_2() {
    let scene = Scene::of(App::ok());
    for door in DOORS {
        let mut raw = Raw::over(scene.http2(door), &[(1, 0)]);
        let mut stream = 1;
        for lines in LINES {
            let lines = lines.replace("ADMIN", &spiffe("admin")).to_ascii_lowercase();
            let fields: Vec<u8> = lines
                .split("\r\n")
                .filter_map(|line| line.split_once(':'))
                // HTTP/2 has neither; a request with them is refused, which the guard's tests have.
                .filter(|(name, _)| !matches!(*name, "connection" | "upgrade"))
                .flat_map(|(name, value)| literal(name, value.trim().as_bytes()))
                .collect();
            let before = scene.app.requests().len();
            let block = [request("GET", "/names"), fields].concat();
            raw.send(headers(stream, &block, frames::END_STREAM));
            let answer = raw.until(frames::HEADERS, stream);
            assert_eq!(frames::status(&answer), 200, "{door:?} {lines}");
            judge(&scene.app.requests()[before], door, &lines);
            stream += 2;
        }
    }
}
