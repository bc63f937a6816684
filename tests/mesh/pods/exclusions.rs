//! What the rules were told to leave alone: the sidecar sees nothing of it, and it works as in a
//! pod without one.

use crate::harness::pod::Pod;
use crate::harness::{App, Family, Pods, get};

/// An app that says who asks.
fn who(pod: &Pod, port: u16) -> App {
    pod.app(port, |at| {
        App::raw_at(at, |mut wire| {
            let from = wire.stream.peer_addr().expect("it is connected").ip().to_canonical();
            if wire.head().is_ok() {
                let _ = wire.try_send(App::answer(from.to_string()));
            }
        })
    })
}

#[test]
fn what_is_excluded_goes_its_own_way() {
    for family in Family::BOTH {
        let Some(pods) = Pods::new(family) else { return };
        let (near, far) = (pods.unmeshed("near"), pods.unmeshed("far"));
        let _apps = [(&near, 8080), (&far, 8080), (&far, 9200)].map(|(pod, port)| who(pod, port));
        let init = format!(
            "--exclude-outbound-cidrs {} --exclude-outbound-ports 9200-9210 \
             --exclude-inbound-ports 9100",
            near.ip
        );
        let pod = pods.pod("web-1").init(&init).start();
        let _own = [8080, 9100].map(|port| who(&pod, port));
        for (to, seen) in [(near.at(8080), 0.0), (far.at(9200), 0.0), (far.at(8080), 1.0)] {
            assert_eq!(pod.ask(to, &get("/")).text(), pod.ip.to_string());
            assert_eq!(pod.taken(), seen, "{to}");
        }
        // In plaintext, past the sidecar; the other port is as closed as ever.
        assert_eq!(near.ask(pod.at(9100), &get("/")).text(), near.ip.to_string());
        assert_eq!(pod.taken(), 1.0);
        assert_eq!(near.ask(pod.at(8080), &get("/")).reason(), Some("mtls-required"));
    }
}

#[test]
fn only_what_is_included_is_caught() {
    for family in Family::BOTH {
        let Some(pods) = Pods::new(family) else { return };
        let outside = pods.unmeshed("outside");
        let _apps = [8080, 8081].map(|port| who(&outside, port));
        let init = "--include-outbound-ports 8080 --include-inbound-ports 8080";
        let pod = pods.pod("web-1").init(init).start();
        let _own = [8080, 8081].map(|port| who(&pod, port));
        for (port, seen) in [(8081, 0.0), (8080, 1.0)] {
            assert_eq!(pod.ask(outside.at(port), &get("/")).text(), pod.ip.to_string());
            assert_eq!(pod.taken(), seen, "port {port}");
        }
        assert_eq!(outside.ask(pod.at(8081), &get("/")).text(), outside.ip.to_string());
        assert_eq!(outside.ask(pod.at(8080), &get("/")).reason(), Some("mtls-required"));
    }
}
