//! What has not ended is seen: pooled connections, tunnels, a request that nobody answers yet. And
//! what is over, or was killed, is not seen for ever.

use std::sync::{Mutex, mpsc};

use super::{TOLD, asked, one};
use crate::harness::browser::Browser;
use crate::harness::grpc::{H2Client, send_all, take};
use crate::harness::{App, ControlPlane, Member, Wire, eventually, get, service, spiffe, within};

const CALLED: [&str; 3] = ["db.default:80", "web.default:80", "slow.default:80"];

const HANDSHAKE: &str = "GET /ws HTTP/1.1\r\nHost: web.default\r\nConnection: Upgrade\r\n\
                         Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// A connection that was used, and is kept for the next time.
fn pooled(client: &Member) -> Wire {
    let mut wire = Wire::connect(client.upstreams[0]);
    assert_eq!(wire.send("ping").take(4), b"ping");
    wire
}

/// What is open from the client to each of these, as `edges` says; they are alone on their edges.
#[track_caller]
fn open(plane: &ControlPlane) -> [u64; 3] {
    let told = asked(plane, &["edges"]);
    CALLED.map(|label| {
        let name = label.trim_end_matches(":80");
        one(&told["edges"], "to", name).and_then(|edge| edge["open"].as_u64()).unwrap_or_default()
    })
}

#[track_caller]
fn await_open(plane: &ControlPlane, expected: [u64; 3]) {
    let mut last = None;
    within(TOLD, &format!("{expected:?} are open"), || {
        let now = open(plane);
        if last.replace(now) != Some(now) {
            eprintln!("open: {now:?}");
        }
        now == expected
    });
}

/// What the control plane's pages and `stat` say is open to a service.
#[track_caller]
fn on_pages(plane: &ControlPlane, name: &str) -> [Option<u64>; 4] {
    let (graph, services) = (plane.json("/api/graph"), plane.json("/api/services"));
    let page = plane.json(&format!("/api/service?name={name}"));
    let stat = asked(plane, &["stat"]);
    [
        one(&graph["edges"], "to", name).and_then(|edge| edge["open"].as_u64()),
        one(&services["services"], "name", name).and_then(|node| node["open"].as_u64()),
        page["node"]["open"].as_u64(),
        one(&stat["services"], "name", name).and_then(|node| node["open"].as_u64()),
    ]
}

/// An edge that has nothing but open connections is on the map, and says how many.
fn on_the_map(plane: &ControlPlane) {
    let Some(mut browser) = Browser::start() else { return };
    browser.look(1280, 800, "light");
    browser.open(&format!("http://{}/#/map", plane.admin));
    browser.shows("document.querySelector('[data-key=\"way client.default db.default\"].ok')");
    let figures = "document.querySelector('[data-key=\"figures client.default db.default\"]')";
    browser.shows(&format!("{figures}?.textContent.startsWith('3 open')"));
    browser.photograph("map-open");
    browser.open(&format!("http://{}/#/service/db.default", plane.admin));
    browser.shows("/Open\\s*3/.test(document.querySelector('.facts')?.textContent)");
    assert_eq!(browser.complaints(), [""; 0]);
}

#[test]
fn what_is_held_open_is_seen_for_as_long_as_it_is() {
    let plane = ControlPlane::start(&[]);
    for name in CALLED {
        plane.apply(&service(name.trim_end_matches(".default:80")));
    }
    let (answer, answered) = mpsc::channel::<()>();
    let answered = Mutex::new(answered);
    let slow = App::http(move |_| {
        let _ = answered.lock().map(|answered| answered.recv());
        App::answer("at last")
    });
    let [(db, _db), (web, _web)] = [App::fours("none"), App::fours("websocket")];
    let db = plane.instance("db-1", db.address);
    let _web = plane.instance("web-1", web.address);
    let _slow = plane.instance("slow-1", slow.address);
    let client = plane.caller("client-1", &CALLED);
    for name in CALLED {
        eventually("it is served", || client.endpoints(name) == Some(1));
    }
    let pool = [(); 3].map(|()| pooled(&client));
    let mut socket = Wire::connect(client.upstreams[1]);
    socket.send(HANDSHAKE);
    assert_eq!(socket.head().expect("an answer").status(), 101);
    assert_eq!(socket.send("ping").take(4), b"ping");
    let mut waiting = Wire::connect(client.upstreams[2]);
    waiting.send(get("/"));
    await_open(&plane, [3, 1, 1]);

    let told = asked(&plane, &["edges", "db"]);
    let edge = one(&told["edges"], "from", "client.default").expect("the pool's edge");
    assert_eq!((&edge["requests"], &edge["tls"]), (&0.into(), &"mtls".into()), "{edge:#}");
    assert_eq!(edge["fromIdentity"], spiffe("client"));
    assert_eq!(edge["toIdentity"], spiffe("db"));
    assert_eq!(edge["protocol"], "tcp");
    assert_eq!(told["edges"].as_array().map(Vec::len), Some(1), "told once: {told:#}");
    assert_eq!(on_pages(&plane, "db.default"), [Some(3); 4]);
    within(TOLD, "top tells of them", || asked(&plane, &["top", "db"])["routes"][0]["open"] == 3);
    let table = plane.done(&["edges"]);
    assert!(table.lines().next().is_some_and(|head| head.contains(" OPEN ")), "{table}");
    on_the_map(&plane);
    // Both sidecars have counted what went by.
    for (sidecar, direction, bytes) in
        [(&client.sidecar, "outbound", 16.0), (&db.sidecar, "inbound", 12.0)]
    {
        let direction = format!("direction=\"{direction}\"");
        for way in ["way=\"in\"", "way=\"out\""] {
            assert_eq!(sidecar.metric("outrigger_bytes_total", &[&direction, way]), bytes);
        }
    }

    drop((pool, socket));
    answer.send(()).expect("somebody waits for it");
    assert_eq!(waiting.response().status(), 200);
    await_open(&plane, [0; 3]);
    within(TOLD, "pages and tables know", || on_pages(&plane, "db.default") == [Some(0); 4]);
    assert_eq!(client.sidecar.metric("outrigger_requests_open", &[]), 0.0);
    let direction = "direction=\"outbound\"";
    let all = client.sidecar.metric("outrigger_bytes_total", &[direction, "way=\"in\""]);
    assert_eq!(all, 16.0, "nothing counts twice");
}

#[test]
fn who_was_killed_holds_nothing_open() {
    let plane = ControlPlane::start(&[]);
    plane.apply(&service("db"));
    let (app, _ends) = App::fours("none");
    let db = plane.instance("db-1", app.address);
    let client = plane.caller("client-1", &CALLED[..1]);
    let other = plane.caller("other-1", &CALLED[..1]);
    for caller in [&client, &other] {
        eventually("it is served", || caller.endpoints(CALLED[0]) == Some(1));
    }
    let pools = [(); 2].map(|()| [pooled(&client), pooled(&other)]);
    let held = |from: &str| {
        let told = asked(&plane, &["edges"]);
        one(&told["edges"], "from", from).and_then(|edge| edge["open"].as_u64())
    };
    within(TOLD, "both are seen", || {
        [held("client.default"), held("other.default")] == [Some(2); 2]
    });
    client.sidecar.signal(libc::SIGKILL);
    within(TOLD, "a caller that was killed is gone", || held("client.default").unwrap_or(0) == 0);
    assert_eq!(held("other.default"), Some(2), "others stay");
    // Who was called does not stand for its callers when it is gone.
    db.sidecar.signal(libc::SIGKILL);
    drop(pools);
    within(TOLD, "nothing is open to a server that was killed", || {
        on_pages(&plane, "db.default")[1] == Some(0)
    });
}

#[test]
fn a_tunnel_on_a_stream_is_open_and_its_bytes_are_counted_meanwhile() {
    let plane = ControlPlane::start(&[]);
    plane.apply(&service("web"));
    let (app, _ends) = App::fours("websocket");
    let web = plane.instance("web-1", app.address);
    let client = plane.caller("client-1", &CALLED[1..2]);
    eventually("it is served", || client.endpoints(CALLED[1]) == Some(1));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let h2 = H2Client::connect(client.upstreams[0]).await;
        let (mut body, mut send) = h2.websocket("http://web.default/ws").await;
        send_all(&mut send, b"ping", false).await;
        assert_eq!(take(&mut body, 4).await, b"ping");
        for sidecar in [&client.sidecar, &web.sidecar] {
            assert_eq!(sidecar.metric("outrigger_requests_open", &["web", "http"]), 1.0);
            eventually("its bytes are counted", || {
                sidecar.metric("outrigger_bytes_total", &["way=\"out\""]) == 4.0
            });
        }
        let page = client.sidecar.json("/connections");
        let row = &page["connections"][0];
        assert_eq!((&row["bytesIn"], &row["bytesOut"]), (&4.into(), &4.into()), "{page:#}");
    });
    for sidecar in [&client.sidecar, &web.sidecar] {
        eventually("it is over", || sidecar.metric("outrigger_requests_open", &[]) == 0.0);
    }
}
