//! What is cut short is seen to be: a reset on both sides, with the reason in the log. What nobody
//! used ends in peace.

use std::sync::mpsc;
use std::time::{Duration, Instant};

use crate::harness::grpc::{H2Client, next, send_all};
use crate::harness::{
    App, Broken, ControlPlane, Pair, Wire, each_way, eventually, get_with, service, spiffe,
};

const PERMISSIVE: &str = "apiVersion: outrigger.dev/v1alpha1\nkind: AccessPolicy\n\
                          metadata: {name: all, namespace: default}\nspec: {mtls: permissive}\n";
const SWITCH: &str = "connection: upgrade\r\nupgrade: echo\r\n";
const SWITCHED: &str =
    "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n";
const OPAQUE: &[u8] = b"\x00\x01\x02\x03";

#[derive(Clone, Copy, Debug)]
enum Kind {
    Bytes,
    Upgrade,
}

const KINDS: [Kind; 2] = [Kind::Bytes, Kind::Upgrade];

fn begin(wire: &mut Wire, kind: Kind) {
    match kind {
        Kind::Bytes => assert_eq!(wire.send(OPAQUE).take(4), OPAQUE),
        Kind::Upgrade => {
            let answer = wire.send(get_with("/", SWITCH)).head();
            assert_eq!(answer.expect("an answer").status(), 101);
            assert_eq!(wire.send("ping").take(4), b"ping");
        }
    }
}

#[track_caller]
fn is_cut(wire: &mut Wire, ends: &mpsc::Receiver<Broken>, what: impl std::fmt::Debug) {
    wire.patience(Duration::from_secs(20));
    assert!(wire.ended_by_reset(), "{what:?}: the caller takes it for an end");
    let end = ends.recv_timeout(Duration::from_secs(10)).expect("the app sees an end");
    assert_eq!(end, Broken::Reset, "{what:?}: the app takes it for an end");
}

#[test]
fn a_withdrawn_permission_resets_both_sides() {
    let (app, ends) = App::fours("echo");
    for kind in KINDS {
        let mesh = Pair::of(&app).inbound_resources(PERMISSIVE).start();
        let mut wire = Wire::connect(mesh.mesh_ports[0]);
        begin(&mut wire, kind);
        mesh.govern(&PERMISSIVE.replace("permissive", "strict"));
        is_cut(&mut wire, &ends, kind);
    }
}

#[test]
fn the_drains_deadline_resets_both_sides() {
    let (app, ends) = App::fours("echo");
    for kind in KINDS {
        for of_caller in [true, false] {
            let mut mesh = Pair::of(&app).drain("{minimum: 200ms, deadline: 1s}").start();
            let mut wire = mesh.connect();
            begin(&mut wire, kind);
            let leaves = if of_caller { &mut mesh.outbound } else { mesh.inbound_mut(0) };
            leaves.sigterm();
            is_cut(&mut wire, &ends, (kind, of_caller));
            leaves.exit(Duration::from_secs(3));
            let log = leaves.access_log();
            assert!(log.iter().any(|entry| entry["reason"] == "drain-deadline"), "{log:?}");
        }
    }
}

/// An app that answers so much and then waits for its caller to go.
fn stalls(answer: &'static str) -> App {
    App::raw(move |mut wire| {
        if wire.head().is_ok() && wire.try_send(answer).is_ok() {
            while wire.try_take(1).is_ok() {}
        }
    })
}

/// What a stalling app says, and the status that the log has of it.
const STALLED: [(&str, Option<u64>); 2] =
    [("", None), ("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf", Some(200))];

#[track_caller]
fn says(log: &[serde_json::Value], reason: &str, status: Option<u64>) {
    let is_it = |entry: &&serde_json::Value| entry["path"] == "/stalls";
    let entry = log.iter().find(is_it).unwrap_or_else(|| panic!("no entry: {log:?}"));
    assert_eq!((&entry["reason"], entry["status"].as_u64()), (&reason.into(), status), "{entry}");
}

#[test]
fn requests_that_the_drains_deadline_cuts_say_so() {
    for (answer, status) in STALLED {
        for of_caller in [true, false] {
            let app = stalls(answer);
            let mut mesh = Pair::of(&app).drain("{minimum: 200ms, deadline: 1s}").start();
            let mut wire = mesh.connect();
            wire.send(get_with("/stalls", ""));
            eventually("the app is asked", || app.open_connections() == 1);
            if status.is_some() {
                assert_eq!(wire.head().expect("a head").status(), 200);
            }
            let leaves = if of_caller { &mut mesh.outbound } else { mesh.inbound_mut(0) };
            leaves.sigterm();
            leaves.exit(Duration::from_secs(5));
            says(&leaves.access_log(), "drain-deadline", status);
        }
    }
}

#[test]
fn requests_of_the_revoked_say_so() {
    for (answer, status) in STALLED {
        let plane = ControlPlane::start(&[]);
        plane.apply(&service("web"));
        let app = stalls(answer);
        let web = plane.instance("web-1", app.address);
        let client = plane.caller("client-1", &["web.default:80"]);
        eventually("it is there", || client.endpoints("web.default:80") == Some(1));
        let mut wire = Wire::connect(client.upstreams[0]);
        wire.send(get_with("/stalls", ""));
        eventually("the app is asked", || app.open_connections() == 1);
        plane.done(&["ca", "revoke", &spiffe("client")]);
        eventually("the log has it", || {
            web.sidecar.access_log().iter().any(|entry| entry["path"] == "/stalls")
        });
        says(&web.sidecar.access_log(), "revoked", status);
    }
}

#[test]
fn a_second_word_to_leave_resets_both_sides() {
    let (app, ends) = App::fours("echo");
    let mesh = Pair::of(&app).start();
    let mut wire = mesh.connect();
    begin(&mut wire, Kind::Bytes);
    mesh.outbound.sigterm();
    mesh.outbound.await_log("draining");
    mesh.outbound.sigterm();
    is_cut(&mut wire, &ends, "at once");
}

#[test]
fn a_silent_connection_holds_the_drain_up_to_its_deadline() {
    for of_caller in [true, false] {
        let (app, _ends) = App::fours("echo");
        let mut mesh = Pair::of(&app).drain("{minimum: 200ms, deadline: 2s}").start();
        let mut wire = mesh.connect();
        eventually("the app is dialled", || app.open_connections() == 1);
        let begun = Instant::now();
        let leaves = if of_caller { &mut mesh.outbound } else { mesh.inbound_mut(0) };
        leaves.sigterm();
        assert!(wire.ended_by_reset());
        assert!(begun.elapsed() > Duration::from_millis(1800), "{:?}", begun.elapsed());
        leaves.exit(Duration::from_secs(2));
        let log = leaves.access_log();
        assert!(log.iter().any(|entry| entry["reason"] == "drain-deadline"), "{log:?}");
    }
}

#[test]
fn a_silent_connection_ends_with_the_idle_time() {
    let policy = "apiVersion: outrigger.dev/v1alpha1\nkind: TrafficPolicy\n\
                  metadata: {name: app, namespace: default}\n\
                  spec: {targetRefs: [{kind: Service, name: app}], timeouts: {idle: 1s}}";
    let (app, _ends) = App::fours("echo");
    for pair in [Pair::bare as fn(_) -> Pair, Pair::at] {
        let mesh = pair(app.address).resources(policy).start();
        let (mut wire, begun) = (mesh.connect(), Instant::now());
        assert!(!wire.ended_by_reset(), "nothing was cut short");
        assert!(begun.elapsed() > Duration::from_millis(900), "{:?}", begun.elapsed());
        eventually("the app's connection ends with it", || app.open_connections() == 0);
        eventually("the log says why", || {
            mesh.outbound.access_log().iter().any(|entry| entry["reason"] == "idle-timeout")
        });
    }
}

#[test]
fn a_reset_app_resets_the_upgraded_caller() {
    let app = || {
        App::raw(|mut wire| {
            if wire.head().is_ok() {
                wire.send(SWITCHED).take(4);
                wire.reset();
            }
        })
    };
    each_way(app, |mesh, _| {
        let mut wire = mesh.connect();
        let answer = wire.send(get_with("/", SWITCH)).head();
        assert_eq!(answer.expect("an answer").status(), 101);
        assert!(wire.is_reset_after("ping"));
    });
}

#[tokio::test]
async fn a_reset_app_resets_the_stream_and_no_other() {
    let app = App::raw(|mut wire| {
        if wire.head().is_ok() {
            wire.send(
                "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\n\
                 upgrade: websocket\r\nsec-websocket-accept: x\r\n\r\n",
            );
            wire.take(4);
            wire.reset();
        }
    });
    let mesh = Pair::of(&app).start();
    let client = H2Client::connect(mesh.service).await;
    for _ in 0..2 {
        let (mut body, mut send) = client.websocket("http://app.default/ws").await;
        send_all(&mut send, b"ping", false).await;
        let end = next(&mut body).await;
        let end = end.expect("not a clean end").expect_err("no bytes");
        assert!(end.is_reset(), "{end}");
    }
}

#[test]
fn the_revoked_are_cut_off_whichever_side_they_are() {
    for revoked in ["client", "web"] {
        let plane = ControlPlane::start(&[]);
        plane.apply(&service("web"));
        let (app, ends) = App::fours("echo");
        let web = plane.instance("web-1", app.address);
        let client = plane.caller("client-1", &["web.default:80"]);
        eventually("it is there", || client.endpoints("web.default:80") == Some(1));
        let mut wires = KINDS.map(|kind| {
            let mut wire = Wire::connect(client.upstreams[0]);
            begin(&mut wire, kind);
            wire
        });
        plane.done(&["ca", "revoke", &spiffe(revoked)]);
        for (wire, kind) in wires.iter_mut().zip(KINDS) {
            is_cut(wire, &ends, (revoked, kind));
        }
        eventually("a log says why", || {
            let logs = [client.sidecar.access_log(), web.sidecar.access_log()].concat();
            logs.iter().filter(|entry| entry["reason"] == "revoked").count() >= KINDS.len()
        });
    }
}

#[test]
fn a_silent_connection_of_the_revoked_is_cut_off() {
    let plane = ControlPlane::start(&[]);
    plane.apply(&service("web"));
    let (app, _ends) = App::fours("echo");
    let web = plane.instance("web-1", app.address);
    let client = plane.caller("client-1", &["web.default:80"]);
    eventually("it is there", || client.endpoints("web.default:80") == Some(1));
    let mut wire = Wire::connect(client.upstreams[0]);
    eventually("the app is dialled", || app.open_connections() == 1);
    plane.done(&["ca", "revoke", &spiffe("client")]);
    wire.patience(Duration::from_secs(20));
    assert!(wire.ended_by_reset());
    eventually("the app's connection ends with it", || app.open_connections() == 0);
    eventually("the log says why", || {
        web.sidecar.access_log().iter().any(|entry| entry["reason"] == "revoked")
    });
}

#[test]
fn a_request_that_waits_to_hear_where_it_goes_is_cut_for_the_reason_of_the_cut() {
    let plane = ControlPlane::start(&[]);
    let client = plane.plan("client-1").drain("{minimum: 100ms, deadline: 300ms}").start();
    let sidecar = &client.sidecar;
    eventually("it is connected", || client.is_connected());
    plane.freeze();
    let mut wire = Wire::connect(client.by_host);
    wire.send("GET /held HTTP/1.1\r\nHost: nobody.default\r\n\r\n");
    eventually("it is held", || {
        let open = sidecar.json("/connections");
        open["connections"].as_array().is_some_and(|all| all.iter().any(|of| of["streams"] == 1))
    });
    sidecar.sigterm();
    let entry = sidecar.await_entry("/held");
    assert_eq!(entry["reason"], "drain-deadline", "{entry}");
    assert!(entry["status"].is_null(), "nobody was told a status: {entry}");
    plane.thaw();
}

#[test]
fn who_calls_through_a_sidecar_that_is_killed_sees_a_reset() {
    let (app, _ends) = App::fours("echo");
    for kind in KINDS {
        let mesh = Pair::of(&app).start();
        let mut wire = mesh.connect();
        begin(&mut wire, kind);
        mesh.inbound().signal(libc::SIGKILL);
        wire.patience(Duration::from_secs(10));
        assert!(wire.ended_by_reset(), "{kind:?}: the caller takes it for an end, or waits");
    }
}
