//! A pod whose connections come in by TPROXY: its app sees its clients' addresses, over mutual TLS
//! and on connections that nobody else's requests take.

use std::net::SocketAddr;

use crate::harness::pod::Pod;
use crate::harness::{App, Family, Pods, Wire, eventually, get, pattern};

/// Says who asks, request after request.
fn who(mut wire: Wire) {
    let from = wire.stream.peer_addr().expect("it is connected").ip().to_canonical();
    while wire.head().is_ok() {
        if wire.try_send(App::answer(from.to_string())).is_err() {
            return;
        }
    }
}

/// Speaks first, then answers with what it got.
fn echo(mut wire: Wire) {
    let from = wire.stream.peer_addr().expect("it is connected").ip().to_canonical();
    let _ = wire.try_send(format!("{from}\n"));
    let mut all = Vec::new();
    if wire.read_to_end(&mut all).is_ok() {
        let _ = wire.try_send(all);
    }
}

#[test]
fn the_app_sees_each_client() {
    for family in Family::BOTH {
        let Some(pods) = Pods::new(family) else { return };
        let service = SocketAddr::new(pods.service("web", 10, "{port: 8080}"), 8080);
        let server = pods.pod("web-1").tproxy().start();
        let app = server.app(8080, |at| App::raw_at(at, who));
        let _echo = server.app(9000, |at| App::raw_at(at, echo));
        let clients: [Pod; 2] = ["client-1", "client-2"].map(|name| pods.pod(name).start());
        for _ in 0..5 {
            for client in &clients {
                for to in [service, server.at(8080)] {
                    assert_eq!(client.ask(to, &get("/")).text(), client.ip.to_string());
                }
            }
        }
        assert!(app.connections() <= 6, "{} connections: they are kept", app.connections());
        let bytes = pattern(2_000_000);
        for client in &clients {
            let mut wire = client.connect(server.at(9000));
            let greeting = format!("{}\n", client.ip);
            assert_eq!(wire.take(greeting.len()), greeting.as_bytes());
            wire.send(&bytes).finish();
            let mut back = Vec::new();
            wire.read_to_end(&mut back).expect("a clean end");
            assert!(back == bytes, "{} of {} bytes came back", back.len(), bytes.len());
        }
        // It calls itself, too, and refuses as any pod does.
        assert_eq!(server.ask(server.at(8080), &get("/")).text(), server.ip.to_string());
        assert_eq!(server.ask(service, &get("/")).text(), server.ip.to_string());
        let outside = pods.unmeshed("outside");
        let answer = outside.ask(server.at(8080), &get("/"));
        assert_eq!(answer.reason(), Some("mtls-required"));
        assert!(outside.connect(server.at(15006)).is_reset_after(get("/")));
        assert!(clients[0].connect(server.at(7000)).is_reset_after(b"\0\x01\x02"));
        eventually("the connection to its own port is noted", || {
            server.sidecar().log().contains("loop-detected")
        });
    }
}

#[test]
fn a_client_keeps_its_ports_to_itself() {
    for family in Family::BOTH {
        let Some(pods) = Pods::new(family) else { return };
        let server = pods.pod("web-1").tproxy().start();
        let _app = server.app(9000, |at| {
            App::raw_at(at, |mut wire| {
                let from = wire.stream.peer_addr().expect("it is connected").port();
                let _ = wire.try_send(from.to_be_bytes());
                let _ = wire.try_take(1);
            })
        });
        let client = pods.pod("client-1").start();
        let mut wires: Vec<_> = (0..5).map(|_| client.connect(server.at(9000))).collect();
        let mut seen: Vec<u16> = wires
            .iter_mut()
            .map(|wire| u16::from_be_bytes(wire.take(2).try_into().expect("two bytes")))
            .collect();
        // Where no kernel chooses a port for a client, unless it is told to.
        assert!(seen.iter().all(|port| (1024..32768).contains(port)), "{seen:?}");
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), 5, "{seen:?}");
    }
}

#[test]
fn without_the_capability_it_says_what_is_missing() {
    let Some(pods) = Pods::new(Family::V4) else { return };
    let pod = pods.unmeshed("web-1");
    pod.host.folder.write(
        "config.yaml",
        "workload: {namespace: default, name: web-1, serviceAccount: web}\n\
         inbound: {listen: \"[::]:15006\", mode: tproxy}\n",
    );
    // Either capability is enough for the kernel. One that may listen would stay for ever.
    let line = "timeout 20 setpriv --bounding-set=-net_admin,-net_raw --inh-caps=-net_admin,-net_raw \
                outrigger-proxy run --config config.yaml || echo \"exit code $?\"";
    let said = pod.host.shell(line);
    for words in ["inbound", "[::]:15006", "NET_ADMIN", "exit code 2"] {
        assert!(said.contains(words), "no {words:?}: {said}");
    }
}
