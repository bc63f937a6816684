//! A sidecar that is gone: nothing gets around it, in or out, until another one is there.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpStream};

use crate::harness::{App, Family, Pods, eventually, get};

#[test]
fn without_its_sidecar_a_pod_is_closed() {
    for family in Family::BOTH {
        let Some(pods) = Pods::new(family) else { return };
        let service = SocketAddr::new(pods.service("web", 10, "{port: 8080}"), 8080);
        let mut server = pods.pod("web-1").start();
        let app = server.app(8080, |at| App::http_at(at, |_| App::answer("app")));
        let outside = pods.unmeshed("outside");
        let stranger = outside.app(8080, |at| App::http_at(at, |_| App::answer("outside")));
        let mut client = pods.pod("client-1").start();
        let refuses = |to, from: &crate::harness::pod::Pod| {
            let error = from.on(|| TcpStream::connect(to)).expect_err("refused");
            assert_eq!(error.kind(), ErrorKind::ConnectionRefused, "{to}: {error}");
        };
        assert_eq!(client.ask(service, &get("/")).text(), "app");
        let (apps, strangers) = (app.connections(), stranger.connections());

        client.sidecar_mut().kill();
        for to in [service, server.at(8080), outside.at(8080)] {
            refuses(to, &client);
        }
        server.sidecar_mut().kill();
        refuses(server.at(8080), &outside);
        refuses(server.at(8080), &server);
        assert_eq!((app.connections(), stranger.connections()), (apps, strangers));

        // Who wants the pods without a mesh takes the rules away.
        for pod in [&server, &client] {
            pod.host.shell("outrigger-proxy init --undo");
        }
        for to in [server.at(8080), outside.at(8080)] {
            assert_eq!(client.ask(to, &get("/")).status(), 200);
        }
        for pod in [&server, &client] {
            pod.host.shell("outrigger-proxy init");
        }
        refuses(outside.at(8080), &client);

        server.start();
        client.start();
        eventually("both are back", || client.ask(service, &get("/")).status() == 200);
        assert_eq!(client.ask(outside.at(8080), &get("/")).text(), "outside");
    }
}
