//! The outbound listener as an HTTP proxy: whoever comes on purpose is routed by Host.

use crate::harness::{App, Broken, Mesh, Message, Pair, Wire};

fn ask(mesh: &Mesh, line: &str, host: &str) -> Message {
    Wire::connect(mesh.by_host).ask(format!("{line}\r\nHost: {host}\r\n\r\n"))
}

#[test]
fn a_service_is_reached_by_each_form_of_its_name() {
    let app = App::ok();
    let mesh = Pair::of(&app).start();
    let hosts = [
        "app",
        "app:80",
        "app.default",
        "app.default:80",
        "app.default.svc.cluster.local",
        "APP.default.svc.cluster.local:80",
    ];
    for host in hosts {
        let answer = ask(&mesh, "GET /named HTTP/1.1", host);
        assert_eq!(answer.status(), 200, "{host}: {}", answer.text());
    }
    let answer = ask(&mesh, "GET http://app.default/absolute HTTP/1.1", "app.default");
    assert_eq!(answer.status(), 200);
    assert_eq!(app.requests().len(), hosts.len() + 1);
}

#[test]
fn requests_of_one_connection_may_go_to_different_services() {
    let app = App::ok();
    let mesh = Pair::of(&app)
        .resources("apiVersion: v1\nkind: Service\nmetadata: {name: empty, namespace: default}\nspec: {selector: {app: none}, ports: [{port: 80}]}")
        .start();
    let mut wire = Wire::connect(mesh.by_host);
    assert_eq!(wire.ask("GET / HTTP/1.1\r\nHost: app.default\r\n\r\n").status(), 200);
    assert_eq!(
        wire.ask("GET / HTTP/1.1\r\nHost: empty.default\r\n\r\n").reason(),
        Some("no-endpoints")
    );
    assert_eq!(wire.ask("GET / HTTP/1.1\r\nHost: app.default\r\n\r\n").status(), 200);
}

#[test]
fn unknown_hosts_are_refused_with_a_reason() {
    let app = App::ok();
    let mesh = Pair::of(&app).start();
    for host in ["nobody.default", "app.other", "app.default:81"] {
        let answer = ask(&mesh, "GET / HTTP/1.1", host);
        assert!((400..600).contains(&answer.status()), "{host}: {answer:?}");
        assert!(answer.reason().is_some(), "{host}: {answer:?}");
    }
    assert!(app.requests().is_empty());
}

#[test]
fn what_is_no_http_is_refused() {
    let app = App::ok();
    let mesh = Pair::of(&app).start();
    for bytes in
        [&b"\x00\x01\x02\x03"[..], b"\xff\xff\xff\xff", &crate::harness::tls::tls12_hello()]
    {
        let mut wire = Wire::connect(mesh.by_host);
        wire.send(bytes);
        let end = wire.message(false);
        assert!(matches!(end, Err(Broken::Closed | Broken::Reset)), "{bytes:?}: {end:?}");
    }
    mesh.outbound.await_log("loop-detected");
}
