//! Tunnels on a stream of HTTP/2 last no longer than the trust in their peers, on either side, and
//! than the process. What is cut then is a reset for both ends, and the log says why.

use std::net::SocketAddr;
use std::sync::{Arc, mpsc};

use bytes::Bytes;
use h2::{RecvStream, SendStream};
use outrigger::identity::Svid;
use rustls::pki_types::ServerName;
use rustls::sign::SingleCertAndKey;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::harness::grpc::{H2Client, next, send_all, take};
use crate::harness::{
    App, Broken, ControlPlane, Pair, SOON, Sidecar, eventually, service, spiffe, tls,
};

fn run<T>(scenario: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(scenario)
}

async fn open(client: &H2Client) -> (RecvStream, SendStream<Bytes>) {
    let (mut body, mut send) = client.websocket("http://any.default/ws").await;
    send_all(&mut send, b"ping", false).await;
    assert_eq!(take(&mut body, 4).await, b"ping");
    (body, send)
}

#[track_caller]
fn was_cut(sidecar: &Sidecar, ends: &mpsc::Receiver<Broken>, reason: &str) {
    let end = ends.recv_timeout(SOON).expect("the app sees an end");
    assert_eq!(end, Broken::Reset, "the app takes it for an end");
    let entry = sidecar.await_entry("/ws");
    assert_eq!(entry["reason"], reason, "{entry}");
    assert_eq!((&entry["bytes_in"], &entry["bytes_out"]), (&4.into(), &4.into()), "{entry}");
}

#[test]
fn a_revoked_far_side_loses_its_stream_and_the_connection_goes_on() {
    let plane = ControlPlane::start(&[]);
    plane.apply(&service("web"));
    let (app, ends) = App::fours("websocket");
    let _web = plane.instance("web-1", app.address);
    let client = plane.caller("client-1", &["web.default:80"]);
    eventually("it is there", || client.endpoints("web.default:80") == Some(1));
    run(async {
        let h2 = H2Client::connect(client.upstreams[0]).await;
        let (mut body, _send) = open(&h2).await;
        plane.done(&["ca", "revoke", &spiffe("web")]);
        let end = next(&mut body).await.expect("not a clean end").expect_err("no bytes");
        assert!(end.is_reset() && !end.is_go_away(), "{end}");
    });
    was_cut(&client.sidecar, &ends, "revoked");
}

/// A connection of the mesh that carries HTTP/2.
async fn meshed(to: SocketAddr, svid: &Svid) -> H2Client {
    let mut config = tls::client(None, &["outrigger-h2"]);
    let key = SingleCertAndKey::from(Arc::clone(svid.certified_key()));
    config.client_auth_cert_resolver = Arc::new(key);
    let stream = TcpStream::connect(to).await.expect("the sidecar listens");
    let name = ServerName::try_from("sidecar.invalid").expect("a name");
    let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await;
    H2Client::over(stream.expect("it takes this certificate")).await
}

#[test]
fn a_revoked_caller_loses_its_streams_and_the_log_says_why() {
    let plane = ControlPlane::start(&[]);
    plane.apply(&service("web"));
    let (app, ends) = App::fours("websocket");
    let web = plane.instance("web-1", app.address);
    let svid = plane.joined("client");
    run(async {
        let h2 = meshed(web.mesh_port, &svid).await;
        let (mut body, _send) = open(&h2).await;
        plane.done(&["ca", "revoke", &spiffe("client")]);
        next(&mut body).await.expect("not a clean end").expect_err("no bytes");
    });
    was_cut(&web.sidecar, &ends, "revoked");
}

#[test]
fn the_drains_deadline_cuts_streams() {
    let (app, ends) = App::fours("websocket");
    let mut mesh = Pair::of(&app).drain("{minimum: 200ms, deadline: 1s}").start();
    run(async {
        let h2 = H2Client::connect(mesh.service).await;
        let (mut body, _send) = open(&h2).await;
        mesh.outbound.sigterm();
        next(&mut body).await.expect("not a clean end").expect_err("no bytes");
    });
    mesh.outbound.exit(SOON);
    was_cut(&mesh.outbound, &ends, "drain-deadline");
}
