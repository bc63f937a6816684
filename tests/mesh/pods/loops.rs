//! The sidecar's own ports: nobody gets round the rules by them, and nothing goes round.

use std::net::SocketAddr;

use crate::harness::pod::RULES;
use crate::harness::{App, Family, Pods, eventually, get};

#[test]
fn its_own_ports_lead_nowhere() {
    for family in Family::BOTH {
        let Some(pods) = Pods::new(family) else { return };
        let service = pods.service("web", 10, "{port: 80, targetPort: 8080}");
        let pod = pods.pod("web-1").start();
        let app = pod.app(8080, |at| App::http_at(at, |_| App::answer("app")));
        let outside = pods.unmeshed("outside");
        let ends = |wire: &mut crate::harness::Wire| {
            assert!(wire.is_reset_after(get("/")));
        };
        // From outside: inbound, which was not asked for by the rules.
        ends(&mut outside.connect(pod.at(15006)));
        // From within: what the rules took, and what they did not.
        for port in [15000, 15001, 15006, 15020] {
            ends(&mut pod.connect(pod.at(port)));
        }
        ends(&mut pod.connect((family.loopback(), 15006).into()));
        let log = pod.sidecar().log();
        // Strangers can't fill the log: equal ones from outside are said once.
        assert!(log.matches("loop-detected").count() >= 5, "{log}");
        assert!(pod.taken() < 12.0, "{} connections", pod.taken());
        assert_eq!(app.connections(), 0);
        // On purpose: an HTTP proxy.
        let to: SocketAddr = (family.loopback(), 15001).into();
        let answer = pod.ask(to, "GET / HTTP/1.1\r\nHost: web.default\r\n\r\n");
        assert_eq!(answer.text(), "app");
        let mut wire = pod.connect(to);
        assert!(wire.is_reset_after(b"\0\x01\x02"));
        assert_eq!(pod.ask((service, 80).into(), &get("/")).text(), "app");
        // Anyone may see whether it is ready.
        assert_eq!(outside.ask(pod.at(15000), &get("/ready")).status(), 200);
    }
}

#[test]
fn rules_that_take_its_own_ports_too_lead_nowhere() {
    for family in Family::BOTH {
        let Some(pods) = Pods::new(family) else { return };
        let greedy: String =
            RULES.lines().filter(|l| !l.contains("15020")).map(|l| format!("{l}\n")).collect();
        let pod = pods.pod("web-1").rules(&greedy).start();
        let peer = pods.pod("client-1").start();
        let outside = pods.unmeshed("outside");
        for port in [15000, 15001, 15006, 15020] {
            let mut wire = outside.connect(pod.at(port));
            assert!(wire.is_reset_after(get("/")), "port {port}");
            let mut wire = peer.connect(pod.at(port));
            assert!(wire.is_reset_after(b"\0\x01\x02"), "port {port}");
        }
        eventually("they are refused with a reason", || {
            pod.sidecar().log().contains("loop-detected")
        });
        assert!(pod.taken() < 12.0, "{} connections", pod.taken());
    }
}
