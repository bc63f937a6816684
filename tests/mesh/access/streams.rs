//! Opaque bytes are judged when they come, and again whenever policies change.

use std::time::Duration;

use super::{CLIENT, await_audit, govern, under};
use crate::harness::yaml::access;
use crate::harness::{App, Pair, Wire, eventually, get, get_with, spiffe, within};

/// Answers each 4 bytes with the same.
fn fours() -> App {
    App::raw(|mut wire| {
        while let Ok(bytes) = wire.try_take(4) {
            wire.send(bytes);
        }
    })
}

fn allows(identity: &str) -> String {
    format!("rules: [{{action: allow, from: [{{identities: [\"{identity}\"]}}]}}]")
}

#[test]
fn a_stream_whose_permission_is_withdrawn_is_closed() {
    let app = fours();
    let mesh = under(app.address, &format!("audit: all, {}", allows(CLIENT)));
    let mut wire = mesh.connect();
    assert_eq!(wire.send(b"\x00\x01\x02\x03").take(4), b"\x00\x01\x02\x03");
    let entry = await_audit(mesh.inbound(), "connect", "allow");
    assert_eq!((&entry["principal"], &entry["rule"]), (&CLIENT.into(), &"0".into()), "{entry}");
    // Other rules that let it in change nothing.
    govern(&mesh, &format!("{}, default: deny", allows(CLIENT)));
    eventually("they are in force", || {
        mesh.inbound().json("/policies")["inbound"][0]["default"]["from"]
            == "AccessPolicy default/all"
    });
    assert_eq!(wire.send(b"\x04\x05\x06\x07").take(4), b"\x04\x05\x06\x07");
    govern(&mesh, &format!("audit: all, {}", allows(&spiffe("other"))));
    // Files are looked at every 2 s.
    within(Duration::from_secs(5), "it is closed", || match wire.try_send(b"\x00\x01\x02\x03") {
        Ok(()) => wire.try_take(4).is_err(),
        Err(_) => true,
    });
    let closed = || {
        let entries = mesh.inbound().access_log();
        entries.iter().any(|entry| entry["reason"] == "permission-withdrawn")
    };
    eventually("the access log says why", closed);
    let entry = await_audit(mesh.inbound(), "connect", "deny");
    assert_eq!((&entry["principal"], &entry["rule"]), (&CLIENT.into(), &"default".into()));
    let denied = mesh.inbound().metric("outrigger_access_decisions_total", &["decision=\"deny\""]);
    assert_eq!(denied, 1.0, "withdrawn, and nobody else was refused");
    let mut again = mesh.connect();
    again.send(b"\x00\x01\x02\x03");
    assert!(again.try_take(4).is_err(), "it does not come in again");
    eventually("and why not", || {
        mesh.inbound().access_log().iter().any(|entry| entry["reason"] == "denied")
    });
    govern(&mesh, &allows(CLIENT));
    eventually("it may come again", || {
        let mut wire = mesh.connect();
        wire.try_send(b"\x00\x01\x02\x03").is_ok() && wire.try_take(4).is_ok()
    });
}

#[test]
fn what_only_http_has_lets_no_stream_in_and_keeps_every_one_out() {
    let app = fours();
    for protocol in ["tcp", "auto"] {
        for (action, part) in [
            ("allow", "paths: [\"/*\"]"),
            ("deny", "paths: [/admin]"),
            ("allow", "methods: [GET]"),
            ("deny", "headers: {x-a: b}"),
            ("deny", "hosts: [api.example]"),
        ] {
            let spec = format!("rules: [{{action: {action}, to: [{{{part}}}]}}]");
            let pair = Pair::at(app.address).inbound_declared(protocol);
            let mesh = pair.inbound_resources(&access("name: all", &spec)).start();
            let mut wire = mesh.connect();
            wire.send(b"\x00\x01\x02\x03");
            assert!(wire.try_take(4).is_err(), "{protocol}: {spec}");
        }
    }
    assert_eq!(app.connections(), 0);
}

#[test]
fn what_is_not_http_does_not_come_in_where_rules_ask_for_http() {
    let app = fours();
    let id = format!("{{action: allow, from: [{{identities: [\"{CLIENT}\"]}}]}}");
    let rules = format!("rules: [{id}, {{action: allow, to: [{{paths: [/open]}}]}}]");
    for (protocol, comes_in) in [("auto", false), ("tcp", true)] {
        let pair = Pair::at(app.address).inbound_declared(protocol);
        let mesh = pair.inbound_resources(&access("name: all", &rules)).start();
        let mut wire = mesh.connect();
        wire.send(b"\x00\x01\x02\x03");
        assert_eq!(wire.try_take(4).is_ok(), comes_in, "{protocol}");
        if !comes_in {
            eventually("the access log says why", || {
                let entries = mesh.inbound().access_log();
                entries.iter().any(|entry| entry["reason"] == "bad-request")
            });
        }
    }
}

#[test]
fn a_tunnel_is_judged_again_by_what_it_was_asked_for_with() {
    let app = App::raw(|mut wire| {
        if wire.head().is_err() {
            return;
        }
        wire.send(
            "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n",
        );
        while let Ok(bytes) = wire.try_take(4) {
            wire.send(bytes);
        }
    });
    let rule = |path: &str| format!("rules: [{{action: allow, to: [{{paths: [{path}]}}]}}]");
    let mesh = under(app.address, &rule("/chat"));
    let mut wire = mesh.connect();
    let answer = wire.send(get_with("/chat", "connection: upgrade\r\nupgrade: echo\r\n")).head();
    assert_eq!(answer.expect("an answer").status(), 101);
    assert_eq!(wire.send("ping").take(4), b"ping");
    govern(&mesh, &format!("{}, default: deny", rule("/chat")));
    eventually("it is in force", || {
        mesh.inbound().json("/policies")["inbound"][0]["default"]["from"]
            == "AccessPolicy default/all"
    });
    assert_eq!(wire.send("ping").take(4), b"ping", "rules for paths don't end a tunnel they allow");
    govern(&mesh, &rule("/other"));
    eventually("the tunnel is closed", || match wire.try_send("ping") {
        Ok(()) => wire.try_take(4).is_err(),
        Err(_) => true,
    });
}

#[test]
fn http_is_still_heard_where_no_stream_may_come_in() {
    let app = App::ok();
    let mesh =
        under(app.address, "mtls: permissive, rules: [{action: allow, to: [{paths: [/open]}]}]");
    assert_eq!(mesh.ask(get("/open")).status(), 200);
    assert_eq!(Wire::connect(mesh.mesh_ports[0]).ask(get("/open")).status(), 200);
    assert_eq!(Wire::connect(mesh.mesh_ports[0]).ask(get("/x")).status(), 403);
}
