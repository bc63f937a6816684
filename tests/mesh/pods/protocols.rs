//! Every protocol, in both families, by every way to name its server: what the app asked for comes,
//! and between the pods it is mutual TLS.

use std::net::{IpAddr, SocketAddr};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};

use crate::harness::grpc::{H2Client, drain, frame, grpc_request, send_all};
use crate::harness::h2_app::H2App;
use crate::harness::pod::Pod;
use crate::harness::tls::{self, TlsServer};
use crate::harness::{App, Certs, Family, Pods, Wire, eventually, get, pattern, spiffe};

const HTTP: u16 = 8080;
const GRPC: u16 = 8081;
const ECHO: u16 = 9000;
const GREETER: u16 = 9001;
const TLS: u16 = 8443;
const PORTS: &str = "{name: http, port: 8080}, {name: grpc, port: 8081}, {name: echo, port: 9000}, \
                     {name: greeter, port: 9001}, {name: tls, port: 8443}";

/// A pod with a server of each protocol.
struct Servers {
    pod: Pod,
    http: App,
    _others: (H2App, App, App, TlsServer),
}

impl Servers {
    fn start(pods: &Pods, name: &str, may_mark: bool) -> Self {
        let plan = pods.pod(name);
        let pod = if may_mark { plan.may_mark() } else { plan }.start();
        let http = pod.app(HTTP, |at| App::http_at(at, |_| App::answer("hello")));
        let grpc = pod.app(GRPC, |at| H2App::start_at(at, answer));
        let echo = pod.app(ECHO, |at| App::raw_at(at, echo));
        let greeter = pod.app(GREETER, |at| App::raw_at(at, greet));
        let issued = Certs::new().issue("anybody");
        let tls = pod.app(TLS, |at| {
            TlsServer::start_at(at, &issued, &["http/1.1"], |mut wire| {
                let _ = wire.head();
                let _ = wire.try_send(App::answer("in TLS of its own"));
            })
        });
        Self { pod, http, _others: (grpc, echo, greeter, tls) }
    }
}

/// Answers with what it got.
fn echo(mut wire: Wire) {
    let mut all = Vec::new();
    if wire.read_to_end(&mut all).is_ok() {
        let _ = wire.try_send(all);
    }
}

/// Speaks first.
fn greet(mut wire: Wire) {
    let _ = wire.try_send("220 ready\r\n");
    if let Ok(line) = wire.try_take(6) {
        let _ = wire.try_send(line);
    }
}

/// gRPC, or plain HTTP/2: whichever was asked for, with what it got.
async fn answer(request: Request<h2::RecvStream>, mut respond: h2::server::SendResponse<Bytes>) {
    let mut body = request.into_body();
    let (bytes, _) = drain(&mut body).await;
    let head = Response::builder().header("content-type", "application/grpc").body(());
    let Ok(mut send) = respond.send_response(head.expect("a response"), false) else { return };
    send_all(&mut send, &bytes, false).await;
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", "0".parse().expect("a value"));
    let _ = send.send_trailers(trailers);
}

fn block_on<T: Send>(pod: &Pod, work: impl Future<Output = T> + Send) -> T {
    pod.on(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(work)
    })
}

/// Speaks each protocol to an address.
fn each_protocol(client: &Pod, server: &Servers, ip: IpAddr) {
    let at = |port| SocketAddr::new(ip, port);
    let answer = client.ask(at(HTTP), &get("/"));
    assert_eq!((answer.status(), answer.text().as_str()), (200, "hello"), "{answer:?}");
    let came = server.http.requests().pop().expect("it came");
    assert_eq!(came.header("x-outrigger-peer"), Some(spiffe("client").as_str()));

    let reply = block_on(client, async {
        let client = H2Client::connect(at(GRPC)).await;
        let request = grpc_request("/t.T/Echo").body(()).expect("a request");
        client.call(request, &[b"one", b"two"]).await
    });
    assert_eq!(reply.grpc_status(), Some("0"), "{reply:?}");
    assert_eq!(reply.body, [frame(b"one"), frame(b"two")].concat());
    let body = pattern(300_000);
    let reply = block_on(client, async {
        let request = Request::post("http://anything/").body(()).expect("a request");
        H2Client::connect(at(GRPC)).await.ask(request, &body).await
    });
    assert!(reply.status == 200 && reply.body == body, "{:?}", reply.headers);

    // Nothing that detection knows.
    let bytes = [&[0, 1, 2][..], &pattern(3_000_000)].concat();
    let mut wire = client.connect(at(ECHO));
    wire.send(&bytes).finish();
    let mut back = Vec::new();
    wire.read_to_end(&mut back).expect("a clean end");
    assert!(back == bytes, "{} of {} bytes came back", back.len(), bytes.len());

    let mut wire = client.connect(at(GREETER));
    assert_eq!(wire.take(11), b"220 ready\r\n");
    assert_eq!(wire.send("HELO x").take(6), b"HELO x");

    let mut wire = client.on(|| {
        let wire = tls::connect(at(TLS), tls::client(None, &["http/1.1"]));
        wire.expect("a handshake with the app itself")
    });
    assert_eq!(wire.ask(get("/")).text(), "in TLS of its own");
}

#[test]
fn every_protocol_reaches_a_service_by_its_address() {
    for family in Family::BOTH {
        let Some(pods) = Pods::new(family) else { return };
        let server = Servers::start(&pods, "web-1", true);
        let client = pods.pod("client-1").start();
        let ip = pods.service("web", 10, PORTS);
        each_protocol(&client, &server, ip);
        eventually("it came over mutual TLS", || server.pod.meshed_in() >= 5.0);
        let plain = server.pod.metric("outrigger_connections_total", &["inbound", "tls=\"none\""]);
        assert_eq!(plain, 0.0, "nothing came in plaintext");
    }
}

#[test]
fn every_protocol_reaches_a_pod_by_its_own_address() {
    for family in Family::BOTH {
        let Some(pods) = Pods::new(family) else { return };
        let server = Servers::start(&pods, "web-1", false);
        let client = pods.pod("client-1").start();
        // Nobody's service.
        each_protocol(&client, &server, server.pod.ip);
        // Then of a headless one.
        pods.service("web", 0, PORTS);
        each_protocol(&client, &server, server.pod.ip);
        let plain = server.pod.metric("outrigger_connections_total", &["inbound", "tls=\"none\""]);
        assert_eq!(plain, 0.0, "nothing came in plaintext");
    }
}

#[test]
fn a_pod_without_ipv6_is_as_good_as_any() {
    let Some(pods) = Pods::new(Family::V4) else { return };
    let server = pods.pod("web-1").without_ipv6().start();
    let app = server.on(|| App::http_at(server.at(HTTP), |_| App::answer("hello")));
    let client = pods.pod("client-1").without_ipv6().start();
    assert_eq!(client.ask(server.at(HTTP), &get("/")).text(), "hello");
    assert_eq!(app.only_request().header("x-outrigger-peer"), Some(spiffe("client").as_str()));
    assert!(client.sidecar().log().contains("left out: this host has no IPv6"));
}
