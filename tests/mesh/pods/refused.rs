//! A connection that nobody takes: the client's own connect has succeeded by then, so that what is
//! left to tell it is a reset, or an answer where it speaks HTTP.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::harness::{App, Family, Pods, eventually, get};

/// A client that is about to wait 10 s for somebody else's sake notices.
const AT_ONCE: Duration = Duration::from_secs(2);

#[test]
fn a_client_sees_a_reset_where_nobody_listens() {
    for family in Family::BOTH {
        let Some(pods) = Pods::new(family) else { return };
        let ports = "{name: auto, port: 7000}, {name: tcp, port: 7001, appProtocol: tcp}";
        let service = pods.service("web", 10, ports);
        let server = pods.pod("web-1").start();
        let client = pods.pod("client-1").start();
        let outside = pods.unmeshed("outside");
        let to = |ip, port| SocketAddr::new(ip, port);
        for at in [
            to(service, 7000),
            to(service, 7001),
            server.at(7000),
            server.at(7002),
            outside.at(7000),
        ] {
            for says in [&b""[..], b"\0\x01\x02"] {
                let begun = Instant::now();
                let mut wire = client.connect(at);
                assert!(wire.is_reset_after(says), "a clean end from {at} after {says:?}");
                assert!(begun.elapsed() < AT_ONCE, "{at}: {:?}", begun.elapsed());
            }
        }
        for at in [to(service, 7000), server.at(7002)] {
            let answer = client.ask(at, &get("/"));
            assert_eq!((answer.status(), answer.reason()), (503, Some("connect-failure")));
        }
        // HTTP of a stranger is bytes like any.
        let mut wire = client.connect(outside.at(7000));
        assert!(wire.is_reset_after(get("/")));
    }
}

#[test]
fn a_server_that_resets_before_it_speaks_is_a_reset_to_a_client_that_waits_for_it() {
    let Some(pods) = Pods::new(Family::V4) else { return };
    let server = pods.pod("web-1").start();
    let outside = pods.unmeshed("outside");
    let _apps = [&server, &outside].map(|pod| pod.app(7000, |at| App::raw_at(at, |w| w.reset())));
    let client = pods.pod("client-1").start();
    // Known, and not meshed: it is raced for like a member of the mesh.
    pods.apply(&format!(
        "apiVersion: outrigger.dev/v1alpha1\nkind: Workload\n\
         metadata: {{name: outside, namespace: default}}\n\
         spec: {{address: \"{}\", ports: [{{port: 7000}}]}}\n",
        outside.ip
    ));
    for at in [server.at(7000), outside.at(7000)] {
        for _ in 0..3 {
            assert!(client.connect(at).ended_by_reset(), "a clean end from {at}");
        }
    }
    eventually("the log says it too", || {
        let log = client.host.folder.read("access.log");
        // A reset may come in the middle of connecting.
        log.matches("upstream-reset").count() + log.matches("connect-failure").count() >= 6
    });
}
