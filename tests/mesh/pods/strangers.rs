//! Who is not of the mesh: what an app sends there arrives as it is, or not at all; what comes from
//! there is let in only with an identity.

use std::net::{SocketAddr, UdpSocket};
use std::thread;

use crate::harness::pod::Pod;
use crate::harness::{App, Broken, Family, Pods, Wire, eventually, get, pattern};

/// Reads to the end, then answers: only a half-close that passes alone makes it speak.
fn echo_at_the_end(mut wire: Wire) {
    let mut all = Vec::new();
    if wire.read_to_end(&mut all).is_ok() {
        let _ = wire.try_send(all);
    }
}

fn echo(client: &Pod, to: SocketAddr) {
    let bytes = pattern(2_000_000);
    let mut wire = client.connect(to);
    wire.send(&bytes).finish();
    let mut back = Vec::new();
    wire.read_to_end(&mut back).expect("a clean end");
    assert!(back == bytes, "{} of {} bytes came back", back.len(), bytes.len());
}

#[test]
fn what_the_mesh_does_not_know_is_passed_untouched() {
    for family in Family::BOTH {
        let Some(pods) = Pods::new(family) else { return };
        let outside = pods.unmeshed("outside");
        let app = outside.app(8080, |at| App::http_at(at, |_| App::answer("outside")));
        let _echo = outside.app(9000, |at| App::raw_at(at, echo_at_the_end));
        let _greeter = outside.app(9001, |at| {
            App::raw_at(at, |mut wire| {
                let _ = wire.try_send("hi");
            })
        });
        let client = pods.pod("client-1").start();
        // Not even what would be cleaned in the mesh, and what would be refused.
        let odd = "GET /?a  b HTTP/1.1\r\nX-Outrigger-Peer: me\r\nConnection: keep-alive\r\n\r\n";
        let mut wire = client.connect(outside.at(8080));
        assert_eq!(wire.ask(odd).text(), "outside");
        let came = app.only_request();
        assert_eq!(came.start, "GET /?a  b HTTP/1.1");
        assert_eq!(came.header("X-Outrigger-Peer"), Some("me"));
        echo(&client, outside.at(9000));
        assert_eq!(client.connect(outside.at(9001)).take(2), b"hi");
        eventually("they are noted as passed", || {
            client.metric("outrigger_connections_total", &["direction=\"outbound\""]) >= 3.0
        });
        // Both families, whichever the mesh uses.
        for family in Family::BOTH {
            let last = outside.last();
            let answer = client.ask(SocketAddr::new(family.ip(last), 8080), &get("/"));
            assert_eq!(answer.text(), "outside");
        }
    }
}

#[test]
fn what_the_mesh_does_not_know_may_be_denied() {
    for family in Family::BOTH {
        let Some(pods) = Pods::new(family) else { return };
        let outside = pods.unmeshed("outside");
        let app = outside.app(8080, |at| App::http_at(at, |_| App::answer("outside")));
        let client = pods.pod("client-1").unknown("deny").start();
        let mut wire = client.connect(outside.at(8080));
        assert!(wire.is_reset_after(get("/")));
        assert!(client.sidecar().log().contains("destination-denied"));
        assert_eq!(app.connections(), 0);
        // As soon as it is known it is let through.
        pods.apply(&format!(
            "apiVersion: outrigger.dev/v1alpha1\nkind: Workload\n\
             metadata: {{name: outside, namespace: default}}\n\
             spec: {{address: \"{}\", ports: [{{port: 8080}}]}}\n",
            outside.ip
        ));
        eventually("it is known", || {
            let mut wire = client.connect(outside.at(8080));
            wire.try_send(get("/")).is_ok()
                && wire.message(false).is_ok_and(|answer| answer.text() == "outside")
        });
    }
}

#[test]
fn datagrams_are_none_of_its_business() {
    for family in Family::BOTH {
        let Some(pods) = Pods::new(family) else { return };
        let outside = pods.unmeshed("outside");
        let client = pods.pod("client-1").unknown("deny").start();
        let server = outside.on(|| UdpSocket::bind(outside.at(53)).expect("a port"));
        let answering = thread::spawn(move || {
            let mut question = [0; 64];
            let (length, from) = server.recv_from(&mut question).expect("a question");
            server.send_to(&question[..length], from).expect("sent");
            from
        });
        let own = client.at(0);
        let socket = client.on(|| UdpSocket::bind(own).expect("a port"));
        socket.set_read_timeout(Some(crate::harness::SOON)).expect("a time above zero");
        socket.send_to(b"who?", outside.at(53)).expect("sent");
        let mut answer = [0; 64];
        let length = socket.recv(&mut answer).expect("an answer");
        assert_eq!(&answer[..length], b"who?");
        let from = answering.join().expect("it does not panic");
        assert_eq!(from, socket.local_addr().expect("it is bound"), "untouched");
    }
}

#[test]
fn plaintext_from_outside_is_refused_and_says_why() {
    for family in Family::BOTH {
        let Some(pods) = Pods::new(family) else { return };
        let outside = pods.unmeshed("outside");
        let server = pods.pod("web-1").start();
        let app = server.app(8080, |at| App::http_at(at, |_| App::answer("in")));
        let answer = outside.ask(server.at(8080), &get("/"));
        assert_eq!((answer.status(), answer.reason()), (403, Some("mtls-required")));
        let mut wire = outside.connect(server.at(8080));
        wire.send(b"\0\x01\x02");
        assert_eq!(wire.message(false), Err(Broken::Reset));
        assert_eq!(app.connections(), 0);
        // It is known by the address that it has, in the form that it has.
        let log = server.sidecar().log();
        let client = SocketAddr::new(outside.ip, 0).to_string();
        let client = client.strip_suffix('0').expect("the port");
        assert!(log.contains(&format!("client={client}")), "{log}");
        assert!(!log.contains("::ffff:"), "{log}");
    }
}
