//! Mutual TLS between the sidecars: who is let in, who is refused, and what the log says of it.

use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use outrigger::identity::issue::Issued;

use crate::harness::tls::{self, TlsServer};
use crate::harness::{
    App, Broken, Certs, Folder, Mesh, Pair, Sidecar, Wire, eventually, free_address, get, get_with,
    spiffe,
};

const ALPNS: [&str; 3] = ["outrigger-h2", "outrigger-h1", "outrigger-tcp"];

/// Whether the sidecar of the instance takes a caller with this certificate; on `outrigger-h1`.
fn let_in(mesh: &Mesh, issued: Option<&Issued>) -> bool {
    let config = tls::client(issued, &["outrigger-h1"]);
    let Ok(mut wire) = tls::connect(mesh.mesh_ports[0], config) else {
        return false;
    };
    wire.try_send(get("/direct")).is_ok() && wire.message(false).is_ok()
}

#[test]
fn a_caller_of_the_mesh_is_let_in() {
    let app = App::ok();
    let mesh = Pair::of(&app).start();
    assert!(let_in(&mesh, Some(&mesh.certs.issue("someone"))));
    assert_eq!(app.only_request().header("x-outrigger-peer"), Some(spiffe("someone").as_str()));
}

#[test]
fn callers_that_prove_nothing_are_refused_and_the_log_says_why() {
    let app = App::ok();
    let mesh = Pair::of(&app).start();
    let ours = &mesh.certs;
    let id = spiffe("client");
    // (who, certificate, a word that the log has for it)
    let cases = [
        ("another authority's", Some(Certs::new().issue("client")), "issued by none of the roots"),
        (
            "another trust domain's",
            Some(ours.issue_id("spiffe://other.example/ns/default/sa/client", -300, 3600)),
            "trust domain",
        ),
        ("an expired one's", Some(ours.issue_id(&id, -7200, -3600)), "ended"),
        ("a future one's", Some(ours.issue_id(&id, 3600, 7200)), "not valid yet"),
        ("nobody's", None, "no certificate"),
    ];
    for (who, issued, words) in &cases {
        assert!(!let_in(&mesh, issued.as_ref()), "{who} certificate was let in");
        mesh.inbound().await_log(words);
    }
    assert!(app.connections() == 0 && app.requests().is_empty());
}

#[test]
fn tls_1_2_is_refused_with_an_alert() {
    let app = App::ok();
    let mesh = Pair::of(&app).start();
    let mut wire = Wire::connect(mesh.mesh_ports[0]);
    let alert = wire.send(tls::tls12_hello()).take(7);
    assert_eq!((alert[0], alert[6]), (21, 70), "protocol_version: {alert:?}");
    assert!(wire.is_over());
    mesh.inbound().await_log("TLS 1.3");
    assert_eq!(app.connections(), 0);
}

#[test]
fn plaintext_is_refused_where_mtls_is_required() {
    let app = App::ok();
    let mesh = Pair::of(&app).start();
    let mut wire = Wire::connect(mesh.mesh_ports[0]);
    let answer = wire.ask(get("/plain"));
    assert_eq!((answer.status(), answer.reason()), (403, Some("mtls-required")));
    // The app's own TLS counts as plaintext.
    let own = tls::connect(mesh.mesh_ports[0], tls::client(None, &["http/1.1"]));
    assert!(own.is_err(), "a handshake where none may be");
    let mut opaque = Wire::connect(mesh.mesh_ports[0]);
    opaque.send(b"\x00\x01\x02\x03\x04");
    assert!(opaque.is_over());
    assert_eq!(app.connections(), 0);
}

#[test]
fn plaintext_tcp_is_closed_where_mtls_is_required() {
    let app = App::raw(|mut wire| {
        wire.send("secret");
    });
    let mesh = Pair::of(&app).declared("tcp").start();
    let mut wire = Wire::connect(mesh.mesh_ports[0]);
    wire.send("hello");
    assert!(wire.is_over());
    assert_eq!(app.connections(), 0);
}

/// A server where the sidecar of `server` should be; it counts the connections that it was sent
/// anything on.
fn impostor(issued: &Issued, believed: &Arc<AtomicUsize>) -> TlsServer {
    let believed = Arc::clone(believed);
    TlsServer::start(issued, &ALPNS, move |mut wire| {
        if wire.try_take(1).is_ok() {
            believed.fetch_add(1, Ordering::SeqCst);
        }
    })
}

#[test]
fn servers_that_are_somebody_else_get_no_request() {
    let id = spiffe("server");
    // (who, its certificate, reason, a word that the log has for it)
    type Make = fn(&Certs, &str) -> Issued;
    let cases: [(&str, Make, &str, &str); 5] = [
        (
            "another service account",
            |ours, _| ours.issue("other"),
            "peer-identity-refused",
            "expected",
        ),
        (
            "another trust domain",
            |ours, _| ours.issue_id("spiffe://other.example/ns/default/sa/server", -300, 3600),
            "peer-identity-refused",
            "trust domain",
        ),
        (
            "another authority",
            |_, _| Certs::new().issue("server"),
            "upstream-tls-failure|peer-identity-refused",
            "issued by none of the roots",
        ),
        (
            "expired",
            |ours, id| ours.issue_id(id, -7200, -3600),
            "upstream-tls-failure|peer-identity-refused",
            "ended",
        ),
        (
            "not yet valid",
            |ours, id| ours.issue_id(id, 3600, 7200),
            "upstream-tls-failure|peer-identity-refused",
            "not valid yet",
        ),
    ];
    for (who, make, reasons, words) in cases {
        let certs = Certs::new();
        let believed = Arc::new(AtomicUsize::new(0));
        let server = impostor(&make(&certs, &id), &believed);
        let mesh = Pair::impostor(server.address).certs(certs).start();
        let answer = mesh.ask(get("/"));
        assert_eq!(answer.status(), 503, "{who}: {}", answer.text());
        let reason = answer.reason().unwrap_or_default();
        assert!(reasons.split('|').any(|r| r == reason), "{who}: {reason:?}, not {reasons}");
        mesh.outbound.await_log(words);
        assert_eq!(believed.load(Ordering::SeqCst), 0, "{who} got a request");
    }
}

#[test]
fn a_server_without_tls_gets_no_request() {
    let (told, hears) = std::sync::mpsc::channel();
    let app = App::raw(move |mut wire| {
        let mut first = [0; 1];
        let _ = wire.stream.read(&mut first);
        let _ = told.send(first[0]);
        wire.send("HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\n\r\n");
    });
    let mesh = Pair::impostor(app.address).start();
    let answer = mesh.ask(get("/"));
    assert_eq!((answer.status(), answer.reason()), (503, Some("upstream-tls-failure")));
    for first in hears.try_iter() {
        assert_eq!(first, 22, "a meshed endpoint was spoken to in plaintext");
    }
}

#[test]
fn a_server_without_tls_1_3_gets_no_request() {
    let app = App::raw(|mut wire| {
        let _ = wire.stream.read(&mut [0; 4096]);
        wire.send([21, 3, 3, 0, 2, 2, 70]); // a fatal protocol_version alert
    });
    let mesh = Pair::impostor(app.address).start();
    let answer = mesh.ask(get("/"));
    assert_eq!((answer.status(), answer.reason()), (503, Some("upstream-tls-failure")));
    mesh.outbound.await_log("TLS 1.3");
}

#[test]
fn a_server_that_hangs_in_its_handshake_costs_the_connect_timeout() {
    let app = App::raw(|mut wire| {
        let _ = wire.read_to_end(&mut Vec::new());
    });
    let mesh = Pair::impostor(app.address).start();
    let begun = std::time::Instant::now();
    let answer = mesh.ask(get("/"));
    assert_eq!(answer.status(), 503, "{}", answer.text());
    let took = begun.elapsed().as_secs_f32();
    // 1 s for each of at most three attempts, and their back-off.
    assert!((0.8..5.0).contains(&took), "{took} s");
}

#[test]
fn the_key_exchange_is_post_quantum_on_both_sides() {
    let app = App::ok();
    let mesh = Pair::of(&app).start();
    let config = tls::client(Some(&mesh.certs.issue("client")), &["outrigger-h1"]);
    let wire = tls::connect(mesh.mesh_ports[0], config).expect("a handshake");
    assert_eq!(tls::group_of(&wire.stream.conn).as_deref(), Some("X25519MLKEM768"));

    let certs = Certs::new();
    let server = TlsServer::start(&certs.issue("server"), &ALPNS, drop);
    let mesh = Pair::impostor(server.address).certs(certs).start();
    let mut wire = mesh.connect();
    wire.send(get("/"));
    eventually("the sidecar shakes hands", || server.handshakes() > 0);
    assert_eq!(server.group().as_deref(), Some("X25519MLKEM768"));
}

#[test]
fn every_alpn_of_the_mesh_is_answered_and_no_other() {
    let app = App::ok();
    let mesh = Pair::of(&app).start();
    let issued = mesh.certs.issue("client");
    for name in ALPNS {
        let wire = tls::connect(mesh.mesh_ports[0], tls::client(Some(&issued), &[name]));
        let wire = wire.unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(wire.stream.conn.alpn_protocol(), Some(name.as_bytes()));
    }
    let strange = tls::connect(mesh.mesh_ports[0], tls::client(Some(&issued), &["outrigger-h9"]));
    assert!(strange.is_err());
}

#[test]
fn a_truncated_answer_without_close_notify_is_no_clean_end() {
    let certs = Certs::new();
    let server = TlsServer::start(&certs.issue("server"), &["outrigger-tcp"], |mut wire| {
        wire.send("half");
        // The connection ends under TLS, not in it: whoever sits between could have done that.
        let _ = wire.stream.sock.shutdown(std::net::Shutdown::Both);
    });
    let mesh = Pair::impostor(server.address).certs(certs).declared("tcp").start();
    let mut wire = mesh.connect();
    let mut bytes = Vec::new();
    assert_eq!(
        wire.read_to_end(&mut bytes),
        Err(Broken::Reset),
        "{:?}",
        String::from_utf8_lossy(&bytes)
    );
}

/// Requests without a pause until told to stop; every one must be answered by the app.
struct Load {
    stop: Arc<AtomicBool>,
    done: Arc<AtomicUsize>,
    threads: Vec<thread::JoinHandle<Vec<String>>>,
}

impl Load {
    fn on(service: std::net::SocketAddr, threads: usize) -> Self {
        let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let work = |_| {
            let (stop, done) = (Arc::clone(&stop), Arc::clone(&done));
            thread::spawn(move || run(service, &stop, &done))
        };
        let threads = (0..threads).map(work).collect();
        Self { stop, done, threads }
    }

    fn done(&self) -> usize {
        self.done.load(Ordering::SeqCst)
    }

    /// Whatever was not answered as it should be.
    fn failures(self) -> Vec<String> {
        self.stop.store(true, Ordering::SeqCst);
        self.threads.into_iter().flat_map(|thread| thread.join().expect("no panic")).collect()
    }
}

fn run(service: std::net::SocketAddr, stop: &AtomicBool, done: &AtomicUsize) -> Vec<String> {
    let mut failures = Vec::new();
    let mut wire = Wire::connect(service);
    while !stop.load(Ordering::SeqCst) && failures.len() < 10 {
        wire.send(get("/load"));
        match wire.message(false) {
            Ok(answer) if answer.status() == 200 => {
                done.fetch_add(1, Ordering::SeqCst);
                if answer.closes() {
                    wire = Wire::connect(service);
                }
            }
            other => {
                failures.push(format!("{other:?}"));
                wire = Wire::connect(service);
            }
        }
        thread::sleep(Duration::from_millis(2));
    }
    failures
}

#[test]
fn certificates_are_replaced_under_load_without_losing_a_request() {
    let app = App::ok();
    let mesh = Pair::of(&app).start();
    let load = Load::on(mesh.service, 2);
    let mut texts = vec![mesh.inbound().get("/certs").text()];
    for round in 0..3 {
        mesh.certs.write(&mesh.outbound.folder, "client");
        mesh.certs.write(&mesh.inbound().folder, "server");
        let last = texts.last().cloned();
        eventually(&format!("certificate {round} is in use"), || {
            Some(mesh.inbound().get("/certs").text()) != last
        });
        texts.push(mesh.inbound().get("/certs").text());
        let before = load.done();
        eventually("traffic goes on", || load.done() > before + 20);
    }
    let failures = load.failures();
    assert!(failures.is_empty(), "{failures:#?}");
    texts.dedup();
    assert_eq!(texts.len(), 4);
}

#[test]
fn a_new_root_is_taken_from_the_bundle_and_the_old_one_leaves_with_it() {
    let app = App::ok();
    let mesh = Pair::of(&app).start();
    let newer = Certs::new();
    let inbound = mesh.inbound();
    assert!(!let_in(&mesh, Some(&newer.issue("client"))));
    inbound.folder.write("ca.pem", &format!("{}{}", mesh.certs.root_pem(), newer.root_pem()));
    eventually("the new root counts", || let_in(&mesh, Some(&newer.issue("client"))));
    assert!(let_in(&mesh, Some(&mesh.certs.issue("client"))), "so does the old one");
    let issued = newer.issue("server");
    inbound.folder.write("svid.key", &issued.key_pem);
    inbound.folder.write("svid.pem", &issued.cert_pem);
    inbound.folder.write("ca.pem", newer.root_pem());
    eventually("the old root is gone", || !let_in(&mesh, Some(&mesh.certs.issue("client"))));
    assert!(let_in(&mesh, Some(&newer.issue("client"))));
}

#[test]
fn damaged_certificate_files_change_nothing_but_the_log() {
    let app = App::ok();
    let mesh = Pair::of(&app).start();
    let before = mesh.inbound().get("/certs").text();
    mesh.inbound().folder.write("svid.pem", "-----BEGIN CERTIFICATE-----\nno\n");
    mesh.inbound().await_log("svid.pem");
    assert_eq!(mesh.ask(get("/")).status(), 200);
    assert_eq!(serial(&mesh.inbound().get("/certs").text()), serial(&before));
}

/// What stands after the first `serial` in a page.
fn serial(text: &str) -> Option<String> {
    let after = text.split("\"serial\"").nth(1)?;
    Some(after.split('"').nth(1)?.to_owned())
}

#[test]
fn a_connection_that_is_open_ends_with_its_certificate() {
    let app = App::ok();
    let mesh = Pair::of(&app).start();
    let short = mesh.certs.issue_id(&spiffe("client"), -300, 3);
    let mut wire = tls::connect(mesh.mesh_ports[0], tls::client(Some(&short), &["outrigger-h1"]))
        .expect("a handshake while it is valid");
    wire.send(get("/1"));
    assert_eq!(wire.response().status(), 200);
    crate::harness::within(Duration::from_secs(15), "the connection is drained", || {
        let sent = wire.stream.write_all(get_with("/2", "").as_bytes());
        let answer = sent.map_err(Broken::from).and_then(|()| wire.message(false));
        thread::sleep(Duration::from_millis(200));
        answer.map_or(true, |answer| answer.closes())
    });
}

#[test]
fn a_transparent_listener_that_is_reached_directly_refuses_a_loop() {
    let (certs, folder) = (Certs::new(), Folder::new("transparent"));
    let (listen, admin) = (free_address(), free_address());
    certs.write(&folder, "server");
    folder.write(
        "config.yaml",
        &format!(
            "workload: {{namespace: default, name: app-1, serviceAccount: server}}\n\
             identity: {{certificate: svid.pem, key: svid.key, trustBundle: ca.pem}}\n\
             inbound: {{listen: \"{listen}\"}}\nadmin: {{listen: \"{admin}\"}}\n"
        ),
    );
    let mut sidecar = Sidecar::start(folder, admin, None);
    sidecar.wait_ready();
    let config = tls::client(Some(&certs.issue("client")), &["outrigger-h1"]);
    let answer = tls::connect(listen, config)
        .map_err(Broken::from)
        .and_then(|mut wire| wire.send(get("/")).message(false));
    if let Ok(answer) = answer {
        assert_eq!((answer.status(), answer.reason()), (508, Some("loop-detected")));
    }
    sidecar.await_log("loop-detected");
}

#[test]
fn a_sidecar_whose_own_certificate_has_ended_refuses_and_says_so() {
    let app = App::ok();
    let mesh = Pair::of(&app).start();
    let short = mesh.certs.issue_id(&spiffe("client"), -300, 12);
    let before = mesh.outbound.get("/certs").text();
    mesh.outbound.folder.write("svid.key", &short.key_pem);
    mesh.outbound.folder.write("svid.pem", &short.cert_pem);
    eventually("it is in use", || mesh.outbound.get("/certs").text() != before);
    let mut answer = mesh.ask(get("/"));
    assert_eq!(answer.status(), 200, "it is used until it ends");
    crate::harness::within(
        Duration::from_secs(25),
        "it has ended, and the refusal says so",
        || {
            answer = mesh.ask(get("/"));
            answer.text().contains("certificate")
        },
    );
    assert_eq!(answer.status(), 503, "{}", answer.text());
    assert!(answer.reason().is_some());
}
