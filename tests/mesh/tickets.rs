//! Callers who come back: fewer signatures, and the same questions.

use rustls::HandshakeKind;

use crate::harness::tls::{self, TlsServer};
use crate::harness::yaml::access;
use crate::harness::{App, Certs, Pair, eventually, get, spiffe};

#[test]
fn who_comes_back_with_a_ticket_is_who_it_was_and_is_asked_what_it_may() {
    let app = App::ok();
    let anyone = access("name: all", "rules: [{action: allow}]");
    let mesh = Pair::of(&app).inbound_resources(&anyone).start();
    let config = tls::client(Some(&mesh.certs.issue("someone")), &["outrigger-h1"]);
    let came = |kind| {
        let mut wire = tls::connect(mesh.mesh_ports[0], config.clone()).expect("a handshake");
        assert_eq!(wire.stream.conn.handshake_kind(), Some(kind));
        wire.ask(get("/direct")).status()
    };
    assert_eq!(came(HandshakeKind::Full), 200);
    assert_eq!(came(HandshakeKind::Resumed), 200);
    for request in app.requests() {
        assert_eq!(request.header("x-outrigger-peer"), Some(spiffe("someone").as_str()));
    }
    let rule =
        format!("rules: [{{action: deny, from: [{{identities: [\"{}\"]}}]}}]", spiffe("someone"));
    mesh.govern(&access("name: all", &rule));
    eventually("the rule holds", || came(HandshakeKind::Resumed) == 403);
}

#[test]
fn a_root_that_leaves_takes_the_tickets_with_it() {
    let app = App::ok();
    let mesh = Pair::of(&app).start();
    let config = tls::client(Some(&mesh.certs.issue("someone")), &["outrigger-h1"]);
    let came = || {
        let mut wire = tls::connect(mesh.mesh_ports[0], config.clone()).ok()?;
        let kind = wire.stream.conn.handshake_kind();
        wire.try_send(get("/direct")).ok()?;
        wire.message(false).ok().map(|_| kind)
    };
    assert_eq!(came(), Some(Some(HandshakeKind::Full)));
    assert_eq!(came(), Some(Some(HandshakeKind::Resumed)));
    let newer = Certs::new();
    newer.write(&mesh.inbound().folder, "server");
    eventually("it is let in no more", || came().is_none());
    for _ in 0..5 {
        assert_eq!(came(), None);
    }
}

#[test]
fn a_sidecar_comes_back_to_a_server_of_another_make() {
    let certs = Certs::new();
    let server = TlsServer::start(&certs.issue("server"), &["outrigger-tcp"], |mut wire| {
        wire.send("hello");
        let _ = wire.read_to_end(&mut Vec::new());
    });
    let mesh = Pair::impostor(server.address).certs(certs).declared("tcp").start();
    for _ in 0..4 {
        let mut wire = mesh.connect();
        assert_eq!(wire.take(5), b"hello");
    }
    eventually("all but the first were resumed", || server.resumed() == 3);
    assert_eq!(server.handshakes(), 4);
}
