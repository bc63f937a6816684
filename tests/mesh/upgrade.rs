//! Connections that become something else: Upgrade, CONNECT, RFC 8441.

use bytes::Bytes;

use crate::harness::grpc::{H2Client, drain, send_all, take};
use crate::harness::{App, Pair, Wire, each_way, eventually, get, pattern};

const HANDSHAKE: &str = "GET /ws HTTP/1.1\r\nHost: app.default\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
     Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

const SWITCHED: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
     Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

/// Takes an upgrade at `/ws` and a CONNECT, then answers each 4 bytes with the same; `/no` is
/// refused, and the rest is plain.
fn app() -> App {
    App::raw(|mut wire| {
        while let Ok(request) = wire.message(false) {
            match (request.method(), request.target()) {
                ("CONNECT", _) => return echo(wire.send("HTTP/1.1 200 Connected\r\n\r\n")),
                (_, "/no") => wire.send("HTTP/1.1 426 Not Here\r\ncontent-length: 2\r\n\r\nno"),
                _ if request
                    .header("upgrade")
                    .is_some_and(|v| v.eq_ignore_ascii_case("websocket")) =>
                {
                    assert!(
                        request
                            .header("connection")
                            .is_some_and(|v| v.to_ascii_lowercase().contains("upgrade"))
                    );
                    return echo(wire.send(SWITCHED).send("hi, "));
                }
                _ => wire.send(App::answer("plain")),
            };
        }
    })
}

fn echo(wire: &mut Wire) {
    while let Ok(bytes) = wire.try_take(4) {
        if wire.try_send(bytes).is_err() {
            return;
        }
    }
}

#[test]
fn a_switch_with_a_body_is_refused_before_the_app_sees_half_of_it() {
    each_way(app, |mesh, app| {
        let mut wire = mesh.connect();
        wire.send(
            "POST /ws HTTP/1.1\r\nHost: app.default\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\
             Content-Length: 5\r\n\r\nhello",
        );
        let answer = wire.response();
        assert_eq!(
            (answer.status(), answer.header("x-outrigger-reason")),
            (400, Some("bad-request"))
        );
        assert!(app.requests().is_empty());
    });
}

#[test]
fn a_websocket_passes_bytes_both_ways() {
    each_way(app, |mesh, _| {
        let mut wire = mesh.connect();
        wire.send(HANDSHAKE);
        let answer = wire.head().expect("an answer");
        assert_eq!(answer.status(), 101, "{answer:?}");
        assert_eq!(
            answer.header("upgrade").map(str::to_ascii_lowercase).as_deref(),
            Some("websocket")
        );
        assert_eq!(answer.header("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
        assert_eq!(wire.take(4), b"hi, ", "what the app says first is not lost");
        for _ in 0..10 {
            assert_eq!(wire.send("ping").take(4), b"ping");
        }
        let bulk = pattern(1024 * 1024);
        let mut writer = Wire::of(wire.twin());
        let sent = bulk.clone();
        let sender = std::thread::spawn(move || writer.send(sent).finish());
        assert!(wire.take(bulk.len()) == bulk);
        sender.join().expect("sent");
        drop(wire);
        let entry = mesh.outbound.await_entry("/ws");
        let (sent, received) = (40 + bulk.len(), 44 + bulk.len());
        assert_eq!(entry["bytes_in"], sent, "{entry}");
        assert_eq!(entry["bytes_out"], received, "{entry}");
    });
}

#[test]
fn bytes_right_behind_the_handshake_are_not_lost() {
    each_way(app, |mesh, _| {
        let mut wire = mesh.connect();
        wire.send(format!("{HANDSHAKE}soon"));
        assert_eq!(wire.head().expect("an answer").status(), 101);
        assert_eq!(wire.take(8), b"hi, soon");
    });
}

#[test]
fn a_refused_upgrade_leaves_the_connection_usable() {
    each_way(app, |mesh, _| {
        let mut wire = mesh.connect();
        let answer = wire.ask(HANDSHAKE.replace("/ws", "/no"));
        assert_eq!((answer.status(), answer.text().as_str()), (426, "no"));
        assert_eq!(wire.ask(get("/next")).text(), "plain");
        wire.send(HANDSHAKE);
        assert_eq!(wire.head().expect("an answer").status(), 101);
    });
}

#[test]
fn a_refusal_that_breaks_off_is_logged_with_its_reason_bytes_and_time() {
    let cut = || {
        App::raw(|mut wire| {
            let _ = wire.message(false);
            wire.send("HTTP/1.1 426 Not Here\r\ncontent-length: 10\r\n\r\nhalf!");
        })
    };
    for path in ["/ws", "db:1"] {
        let app = cut();
        let mesh = Pair::of(&app).start();
        let mut wire = mesh.connect();
        match path {
            "/ws" => wire.send(HANDSHAKE),
            _ => wire.send("CONNECT db:1 HTTP/1.1\r\nHost: db:1\r\n\r\n"),
        };
        let mut answer = wire.head().expect("an answer");
        assert_eq!(answer.status(), 426);
        assert!(wire.body(&mut answer, false).is_err(), "it breaks off for the caller too");
        for sidecar in [&mesh.outbound, mesh.inbound()] {
            eventually("it is logged", || !sidecar.access_log().is_empty());
            let entry = &sidecar.access_log()[0];
            let (status, reason) = (&entry["status"], &entry["reason"]);
            assert_eq!((status, reason), (&426.into(), &"upstream-reset".into()), "{entry}");
            assert_eq!((&entry["bytes_out"], &entry["attempts"]), (&5.into(), &1.into()));
            let upstream = entry["upstream_ms"].as_f64().expect("a time");
            assert!(entry["duration_ms"].as_f64().is_some_and(|all| all >= upstream), "{entry}");
        }
    }
}

#[test]
fn an_app_that_knows_no_upgrade_just_answers() {
    each_way(App::ok, |mesh, _| {
        let mut wire = mesh.connect();
        assert_eq!(wire.ask(HANDSHAKE).text(), "ok");
        assert_eq!(wire.ask(get("/next")).text(), "ok");
    });
}

#[test]
fn an_upgraded_connection_ends_on_either_side() {
    each_way(app, |mesh, app| {
        let mut wire = mesh.connect();
        wire.send(HANDSHAKE);
        wire.head().expect("an answer");
        assert_eq!(app.open_connections(), 1);
        drop(wire);
        eventually("the app sees the end", || app.open_connections() == 0);
    });
    let closing = || {
        App::raw(|mut wire| {
            let _ = wire.message(false);
            wire.send(SWITCHED).send("bye!");
        })
    };
    each_way(closing, |mesh, _| {
        let mut wire = mesh.connect();
        wire.send(HANDSHAKE);
        wire.head().expect("an answer");
        assert_eq!(wire.take(4), b"bye!");
        assert!(wire.is_over());
    });
}

#[test]
fn connect_makes_a_tunnel_through_the_app() {
    each_way(app, |mesh, _| {
        let mut wire = mesh.connect();
        wire.send("CONNECT db.internal:5432 HTTP/1.1\r\nHost: db.internal:5432\r\n\r\n");
        assert_eq!(wire.head().expect("an answer").status(), 200);
        assert_eq!(wire.send("ping").take(4), b"ping");
    });
}

#[test]
fn a_refused_connect_is_told() {
    each_way(
        || App::http(|_| b"HTTP/1.1 403 No\r\ncontent-length: 2\r\n\r\nno".to_vec()),
        |mesh, _| {
            let answer = mesh.ask("CONNECT db:1 HTTP/1.1\r\nHost: db:1\r\n\r\n");
            assert_eq!((answer.status(), answer.text().as_str()), (403, "no"));
        },
    );
}

#[test]
fn an_open_websocket_holds_up_the_drain_until_it_ends() {
    let app = app();
    let mut mesh = Pair::of(&app).start();
    let mut wire = mesh.connect();
    wire.send(HANDSHAKE);
    wire.head().expect("an answer");
    wire.take(4);
    mesh.outbound.sigterm();
    std::thread::sleep(std::time::Duration::from_secs(2));
    assert!(mesh.outbound.is_running());
    assert_eq!(wire.send("ping").take(4), b"ping");
    drop(wire);
    assert_eq!(mesh.outbound.exit(std::time::Duration::from_secs(4)).code(), Some(0));
}

#[tokio::test]
async fn an_http_2_caller_opens_a_websocket_by_extended_connect() {
    for pair in [Pair::bare as fn(_) -> Pair, Pair::at] {
        let app = app();
        let mesh = pair(app.address).start();
        let client = H2Client::connect(mesh.service).await;
        let (mut body, mut send) = client.websocket("http://app.default/ws").await;
        assert_eq!(take(&mut body, 4).await, b"hi, ");
        send_all(&mut send, b"ping", false).await;
        assert_eq!(take(&mut body, 4).await, b"ping");
        send.send_data(Bytes::new(), true).expect("the stream is open");
        let (rest, end) = drain(&mut body).await;
        assert!(rest.is_empty() && end.is_ok(), "{rest:?} {end:?}");
        let entry = mesh.outbound.await_entry("/ws");
        assert_eq!((&entry["bytes_in"], &entry["bytes_out"]), (&4.into(), &8.into()), "{entry}");
        let moved = |way| mesh.outbound.metric("outrigger_bytes_total", &[way]);
        eventually("they are counted", || moved("\"in\"") == 4.0 && moved("\"out\"") == 8.0);
    }
}
