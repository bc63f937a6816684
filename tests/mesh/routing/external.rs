//! Services outside the mesh and at its edge: TLS to a host name, plaintext on purpose, header case.

use std::sync::{Arc, Mutex, PoisonError};

use crate::harness::public_ca::{PublicCa, Shaken};
use crate::harness::tls::TlsServer;
use crate::harness::yaml::{policy, service_of, workload};
use crate::harness::{Afloat, App, Folder, Lone, Message, Pair, get, get_with, post};

/// An HTTP/1 server over TLS, and what each handshake told it.
fn https(ca: &PublicCa, host: &str) -> (TlsServer, Arc<Mutex<Vec<Shaken>>>) {
    let shaken = Arc::new(Mutex::new(Vec::new()));
    let record = Arc::clone(&shaken);
    let server = TlsServer::start(&ca.issue(host), &["h2", "http/1.1"], move |mut wire| {
        let this = Shaken::of(&wire.stream.conn);
        record.lock().unwrap_or_else(PoisonError::into_inner).push(this);
        while let Ok(request) = wire.message(false) {
            if wire.try_send(App::answer(format!("outside got {}", request.body.len()))).is_err() {
                return;
            }
        }
    });
    (server, shaken)
}

fn last(shaken: &Mutex<Vec<Shaken>>) -> Shaken {
    let shaken = shaken.lock().unwrap_or_else(PoisonError::into_inner);
    shaken.last().cloned().unwrap_or_default()
}

/// `echo` is a server known by the name `localhost`; its policy says `tls`.
fn outside(server: &TlsServer, protocol: &str, tls: &str) -> Afloat {
    let instance = workload("echo", "echo", server.address)
        .replace("address: 127.0.0.1", "address: localhost");
    let yaml = service_of("echo", protocol) + &instance + &policy("echo", &format!("tls: {tls}"));
    Lone::with(&yaml).start()
}

/// A CA's root on disk.
fn on_disk(ca: &PublicCa) -> (Folder, String) {
    let folder = Folder::new("roots");
    folder.write("roots.pem", &ca.root_pem);
    let path = folder.path("roots.pem").display().to_string();
    (folder, path)
}

#[test]
fn a_host_outside_is_reached_over_tls_by_its_name_and_roots() {
    let ca = PublicCa::new();
    let (_folder, roots) = on_disk(&ca);
    for (sni, host) in [("sni: api.example, ", "api.example"), ("", "localhost")] {
        let (server, shaken) = https(&ca, host);
        let caller = outside(&server, "http", &format!("{{originate: {{{sni}caFile: {roots}}}}}"));
        let mut wire = caller.connect();
        for _ in 0..3 {
            let answer = wire.ask(post("/", &[b'x'; 10_000]));
            assert_eq!(answer.text(), "outside got 10000", "{:?}", answer.reason());
        }
        let told = last(&shaken);
        assert_eq!(told.sni.as_deref(), Some(host));
        assert!(!told.certified, "the mesh's identity is not shown to strangers");
        assert_ne!(told.alpn.as_deref(), Some("h2"), "the service is declared HTTP/1");
        assert_eq!(server.handshakes(), 1, "connections are kept");
    }
}

#[track_caller]
fn refused(answer: &Message, server: &TlsServer) {
    assert_eq!((answer.status(), answer.reason()), (503, Some("upstream-tls-failure")));
    assert!(answer.text().len() > 20, "a sentence: {:?}", answer.text());
    assert_eq!(server.handshakes(), 0, "nothing was sent to it");
}

#[test]
fn a_server_of_other_roots_is_refused() {
    let (ca, other) = (PublicCa::new(), PublicCa::new());
    let (_folder, roots) = on_disk(&other);
    let (server, _) = https(&ca, "localhost");
    let caller = outside(&server, "http", &format!("{{originate: {{caFile: {roots}}}}}"));
    refused(&caller.ask(get("/")), &server);
}

#[test]
fn a_server_of_another_name_is_refused() {
    let ca = PublicCa::new();
    let (_folder, roots) = on_disk(&ca);
    let (server, _) = https(&ca, "other.example");
    for sni in ["sni: api.example, ", ""] {
        let caller = outside(&server, "http", &format!("{{originate: {{{sni}caFile: {roots}}}}}"));
        refused(&caller.ask(get("/")), &server);
    }
}

#[test]
fn without_roots_of_its_own_the_systems_are_asked() {
    let (server, _) = https(&PublicCa::new(), "localhost");
    let caller = outside(&server, "http", "{originate: {sni: localhost}}");
    refused(&caller.ask(get("/")), &server);
}

#[test]
fn a_server_without_tls_is_a_tls_failure_and_gets_no_request() {
    let ca = PublicCa::new();
    let (_folder, roots) = on_disk(&ca);
    // As web servers answer what they can't read.
    let app = App::raw(|mut wire| {
        let _ = wire.try_take(5);
        let _ = wire.try_send("HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n");
        let _ = wire.is_over();
    });
    let yaml = service_of("echo", "http")
        + &workload("echo", "echo", app.address)
        + &policy("echo", &format!("tls: {{originate: {{sni: localhost, caFile: {roots}}}}}"));
    let answer = Lone::with(&yaml).start().ask(get("/"));
    assert_eq!((answer.status(), answer.reason()), (503, Some("upstream-tls-failure")));
}

#[test]
fn opaque_bytes_go_over_tls_too() {
    let ca = PublicCa::new();
    let (_folder, roots) = on_disk(&ca);
    let server = TlsServer::start(&ca.issue("localhost"), &[], |mut wire| {
        while let Ok(bytes) = wire.try_take(4) {
            if wire.try_send(bytes).is_err() {
                return;
            }
        }
    });
    let caller = outside(&server, "tcp", &format!("{{originate: {{caFile: {roots}}}}}"));
    let mut wire = caller.connect();
    for word in ["ping", "\0\x01\x02\x03"] {
        assert_eq!(wire.send(word).take(4), word.as_bytes());
    }
}

#[test]
fn new_roots_on_disk_are_read() {
    let (ca, other) = (PublicCa::new(), PublicCa::new());
    let (folder, roots) = on_disk(&other);
    let (server, _) = https(&ca, "localhost");
    let caller = outside(&server, "http", &format!("{{originate: {{caFile: {roots}}}}}"));
    refused(&caller.ask(get("/")), &server);
    folder.write("roots.pem", &ca.root_pem);
    crate::harness::eventually("the new roots count", || caller.ask(get("/")).status() == 200);
}

#[test]
fn a_meshed_endpoint_is_dialled_in_plaintext_only_where_a_policy_says_so() {
    let app = App::ok();
    // Something that should be a sidecar of `server`, and speaks HTTP.
    let caller = Pair::impostor(app.address).start();
    let answer = caller.ask(get("/"));
    assert!(answer.status() >= 500 && answer.reason().is_some(), "{answer:?}");
    assert!(app.requests().is_empty());
    let caller = Pair::impostor(app.address).resources(&policy("app", "tls: off")).start();
    assert_eq!(caller.ask(get("/")).text(), "ok");
}

#[test]
fn plaintext_on_purpose_is_refused_by_a_strict_sidecar() {
    let app = App::ok();
    let mesh = Pair::of(&app).resources(&policy("app", "tls: off")).start();
    // A reason that comes in plaintext is anybody's word: it is not passed on.
    let answer = mesh.ask(get("/"));
    assert_eq!((answer.status(), answer.reason()), (403, None));
    assert!(answer.text().contains("mutual TLS"), "{:?}", answer.text());
    assert!(app.requests().is_empty());
}

#[test]
fn mutual_tls_is_what_mesh_means() {
    let app = App::ok();
    let mesh = Pair::of(&app).resources(&policy("app", "tls: mesh")).start();
    assert_eq!(mesh.ask(get("/")).text(), "ok");
    assert!(app.only_request().header("x-outrigger-peer").is_some());
}

fn names(message: &Message) -> Vec<&str> {
    message.headers.iter().map(|(name, _)| name.as_str()).collect()
}

#[test]
fn header_case_is_kept_between_sidecars_where_a_policy_says_so() {
    let app = App::http(|_| {
        b"HTTP/1.1 200 OK\r\nX-CamelCase: a\r\nETag: b\r\nContent-Length: 2\r\n\r\nok".to_vec()
    });
    let preserve = policy("app", "headerCase: preserve");
    let mesh = Pair::of(&app).resources(&preserve).start();
    let mut wire = mesh.connect();
    for n in 0..5 {
        let answer = wire.ask(get_with("/", "X-MiXed: 1\r\nSOAPAction: x\r\n"));
        assert_eq!(answer.text(), "ok");
        assert!(["X-CamelCase", "ETag"].iter().all(|n| names(&answer).contains(n)), "{answer:?}");
        let seen = app.requests().remove(n);
        let kept = ["Host", "X-MiXed", "SOAPAction"];
        assert!(kept.iter().all(|name| names(&seen).contains(name)), "{seen:?}");
        assert!(seen.header("x-outrigger-peer").is_some(), "still over mutual TLS");
    }
}

#[test]
fn header_case_is_kept_where_a_request_is_sent_again() {
    let asked = std::sync::atomic::AtomicUsize::new(0);
    let app = App::http(move |_| match asked.fetch_add(1, std::sync::atomic::Ordering::Relaxed) {
        0 => b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n".to_vec(),
        _ => App::answer("ok"),
    });
    let again = policy("app", "headerCase: preserve\nretry: {statusCodes: [503]}");
    let mesh = Pair::of(&app).resources(&again).start();
    assert_eq!(mesh.ask(get_with("/", "X-MiXed: 1\r\n")).text(), "ok");
    let seen = app.requests();
    assert_eq!(seen.len(), 2, "{seen:?}");
    assert!(seen.iter().all(|request| names(request).contains(&"X-MiXed")), "{seen:?}");
}

#[test]
fn header_case_is_kept_with_bodies_of_both_kinds() {
    let app = App::http(|request| App::answer(request.body.len().to_string()));
    let mesh = Pair::of(&app).resources(&policy("app", "headerCase: preserve")).start();
    let mut wire = mesh.connect();
    assert_eq!(wire.ask(post("/", &[1; 70_000])).text(), "70000");
    wire.send(
        "POST / HTTP/1.1\r\nHost: app.default\r\nX-MiXed: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
    );
    assert_eq!(wire.ask(crate::harness::chunked(&[1; 1000], &[100])).text(), "1000");
    assert!(names(&app.requests()[1]).contains(&"X-MiXed"));
}
