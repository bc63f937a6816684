//! Who speaks first, and what, where nothing is declared.

use std::thread;
use std::time::{Duration, Instant};

use crate::harness::{App, Mesh, Pair, Wire, each_way, eventually, get, pattern};

#[test]
fn a_server_that_speaks_first_is_heard_within_50_ms() {
    let app = || {
        App::raw(|mut wire| {
            wire.send("220 ready\r\n");
            let line = wire.take(6);
            wire.send(line);
        })
    };
    each_way(app, |mesh, _| {
        let times: Vec<Duration> = (0..20)
            .map(|_| {
                let begun = Instant::now();
                let mut wire = mesh.connect();
                assert_eq!(wire.take(11), b"220 ready\r\n");
                let time = begun.elapsed();
                assert_eq!(wire.send("QUIT\r\n").take(6), b"QUIT\r\n");
                time
            })
            .collect();
        // The quickest: what holds up others is the machine.
        assert!(times.iter().min() < Some(&Duration::from_millis(50)), "{times:?}");
    });
}

#[test]
fn a_pooled_connection_that_speaks_late_is_still_http() {
    each_way(App::ok, |mesh, app| {
        let mut wire = mesh.connect();
        thread::sleep(Duration::from_secs(1));
        let answer = wire.ask(get("/late"));
        assert_eq!(answer.text(), "ok");
        assert!(app.only_request().header("x-request-id").is_some(), "it was not seen as HTTP");
    });
}

/// An app that answers each 4 bytes with the same 4.
fn fours() -> App {
    App::raw(|mut wire| {
        while let Ok(bytes) = wire.try_take(4) {
            wire.send(bytes);
        }
    })
}

#[test]
fn a_silent_tcp_client_may_speak_late() {
    each_way(fours, |mesh, _| {
        let mut wire = mesh.connect();
        thread::sleep(Duration::from_millis(700));
        assert_eq!(wire.send(b"\x00\x01\x02\x03").take(4), b"\x00\x01\x02\x03");
        assert_eq!(wire.send(b"late").take(4), b"late");
    });
}

#[test]
fn bytes_that_are_nothing_known_are_tcp() {
    let beginnings: [&[u8]; 5] =
        [b"\x00\x00\x00\x08", b"\xff\xfe\xfd\xfc", b"*1\r\n", b"\x16\x09\x00\x01", b"SSH-"];
    each_way(fours, |mesh, _| {
        for beginning in beginnings {
            let mut wire = mesh.connect();
            assert_eq!(wire.send(beginning).take(4), beginning, "{beginning:?}");
            assert_eq!(wire.send("more").take(4), b"more");
        }
    });
}

#[test]
fn a_first_byte_of_tcp_is_passed_on_before_the_second() {
    let app = || {
        App::raw(|mut wire| {
            while let Ok(byte) = wire.try_take(1) {
                wire.send(byte);
            }
        })
    };
    each_way(app, |mesh, _| {
        let mut wire = mesh.connect();
        assert_eq!(wire.send(b"\x01").take(1), b"\x01");
        assert_eq!(wire.send(b"\x02").take(1), b"\x02");
    });
}

#[test]
fn a_plausible_beginning_of_http_stays_http() {
    each_way(App::ok, |mesh, app| {
        let mut wire = mesh.connect();
        wire.send("GET /x");
        // Past the 200 ms of detection.
        thread::sleep(Duration::from_millis(500));
        assert_eq!(wire.ask(" HTTP/1.1\r\nHost: app.default\r\n\r\n").text(), "ok");
        assert!(app.only_request().header("x-request-id").is_some());
    });
}

#[test]
fn a_request_that_comes_byte_by_byte_is_http() {
    each_way(App::ok, |mesh, app| {
        let mut wire = mesh.connect();
        for byte in get("/slowly").bytes() {
            wire.send([byte]);
            thread::sleep(Duration::from_millis(2));
        }
        assert_eq!(wire.response().text(), "ok");
        assert!(app.only_request().header("x-request-id").is_some());
    });
}

#[test]
fn an_http_2_preface_in_two_pieces_is_http_2() {
    let app = App::ok();
    let mesh = Pair::of(&app).start();
    let mut wire = mesh.connect();
    wire.send("PRI * HTTP/2.0\r\n");
    thread::sleep(Duration::from_millis(50));
    wire.send("\r\nSM\r\n\r\n").send([0, 0, 0, 4, 0, 0, 0, 0, 0]);
    let settings = wire.take(9);
    assert_eq!(settings[3], 4, "the first frame is SETTINGS: {settings:?}");
}

#[test]
fn the_apps_own_tls_passes_untouched() {
    use crate::harness::{Certs, tls};
    let strangers = Certs::new();
    let issued = strangers.issue("whoever");
    let server = tls::TlsServer::start(&issued, &["http/1.1"], |mut wire| {
        let request = wire.message(false).expect("a request");
        assert_eq!(request.header("x-request-id"), None, "someone looked inside");
        wire.send(App::answer("end to end"));
    });
    // Over one hop, and through both sidecars as bytes.
    for pair in [Pair::bare as fn(_) -> Pair, Pair::at] {
        let mesh = pair(server.address).start();
        let config = tls::client(None, &["http/1.1"]);
        let mut wire = tls::connect(mesh.service, config).expect("the app's handshake");
        assert_eq!(wire.ask(get("/")).text(), "end to end");
    }
    eventually("both came through", || server.handshakes() == 2);
}

/// What stands on a port that is declared HTTP.
fn declared_http(scenario: impl Fn(&Mesh, &App)) {
    let app = App::ok();
    scenario(&Pair::of(&app).declared("http").start(), &app);
}

#[test]
fn what_is_no_http_is_refused_where_http_is_declared() {
    declared_http(|mesh, app| {
        for bytes in [
            &b"\x00\x01\x02\x03\x04\x05\x06\x07"[..],
            b"EHLO me\r\n",
            &crate::harness::tls::tls12_hello(),
        ] {
            let mut wire = mesh.connect();
            wire.send(bytes);
            match wire.message(false) {
                Ok(answer) => assert_eq!(answer.reason(), Some("bad-request"), "{answer:?}"),
                Err(broken) => assert_ne!(broken, crate::harness::Broken::TimedOut, "{bytes:?}"),
            }
        }
        assert_eq!(app.connections(), 0);
        assert_eq!(mesh.ask(get("/")).status(), 200);
    });
}

#[test]
fn large_first_bytes_of_tcp_are_all_passed_on() {
    let app = || {
        App::raw(|mut wire: Wire| {
            let all = wire.take(200_000);
            wire.send(&all);
        })
    };
    each_way(app, |mesh, _| {
        let mut bytes = pattern(200_000);
        bytes[0] = 0;
        let mut wire = mesh.connect();
        assert!(wire.send(&bytes).take(bytes.len()) == bytes);
    });
}

#[test]
fn a_client_that_ends_its_side_without_a_byte_still_gets_its_answer() {
    let app = || {
        App::raw(|mut wire: Wire| {
            let mut asked = Vec::new();
            wire.read_to_end(&mut asked).expect("a clean end");
            assert_eq!(asked, b"", "the end came through, and nothing else");
            wire.send("half past nine\r\n");
        })
    };
    each_way(app, |mesh, _| {
        // At once, and when both sides were silent for longer than it takes to dial.
        for after in [Duration::ZERO, Duration::from_millis(100)] {
            let mut wire = mesh.connect();
            thread::sleep(after);
            wire.finish();
            let mut answer = Vec::new();
            wire.read_to_end(&mut answer).expect("a clean end");
            assert_eq!(String::from_utf8_lossy(&answer), "half past nine\r\n", "{after:?}");
        }
    });
}

#[test]
fn so_does_one_that_comes_in_plaintext_where_that_is_let_in() {
    let app = App::raw(|mut wire: Wire| {
        wire.read_to_end(&mut Vec::new()).expect("a clean end");
        wire.send("half past nine\r\n");
    });
    for (mtls, answer) in [("permissive", "half past nine\r\n"), ("strict", "")] {
        let policy = format!(
            "apiVersion: outrigger.dev/v1alpha1\nkind: AccessPolicy\n\
             metadata: {{name: all, namespace: default}}\nspec: {{mtls: {mtls}}}\n"
        );
        let mesh = Pair::of(&app).inbound_resources(&policy).start();
        for after in [Duration::ZERO, Duration::from_millis(100)] {
            let mut wire = Wire::connect(mesh.mesh_ports[0]);
            thread::sleep(after);
            wire.finish();
            let mut heard = Vec::new();
            wire.read_to_end(&mut heard).expect("a clean end");
            assert_eq!(String::from_utf8_lossy(&heard), answer, "{mtls} {after:?}");
        }
    }
}

#[test]
fn where_http_is_declared_a_connection_without_a_request_ends_with_its_client() {
    declared_http(|mesh, app| {
        let mut wire = mesh.connect();
        wire.finish();
        assert_eq!(wire.read_to_end(&mut Vec::new()), Ok(()));
        assert_eq!(app.connections(), 0);
    });
}

#[test]
fn what_does_not_begin_in_time_is_closed_with_a_reason() {
    let app = App::ok();
    let mesh = Pair::of(&app).start();
    // Nothing, half a TLS hello to the mesh's port, and the same to the caller's own sidecar.
    let hello = &crate::harness::tls::tls12_hello()[..40];
    let mut silent = Wire::connect(mesh.mesh_ports[0]);
    let mut half = Wire::connect(mesh.mesh_ports[0]);
    half.send(hello);
    let mut own = mesh.connect();
    own.send(hello);
    for wire in [&mut silent, &mut half, &mut own] {
        // However it ends, it does.
        let _ = wire.patience(Duration::from_secs(20)).read_to_end(&mut Vec::new());
    }
    for (sidecar, count) in [(mesh.inbound(), 2), (&mesh.outbound, 1)] {
        eventually("each is logged with its reason", || {
            let log = sidecar.access_log();
            log.iter().filter(|entry| entry["reason"] == "header-timeout").count() == count
        });
        sidecar.await_log("nothing that could be understood began within 10 s");
        let counted = sidecar.metric("outrigger_requests_total", &["reason=\"header-timeout\""]);
        assert_eq!(counted, count as f64);
    }
}
