//! Requests and streams that panic, beside others on the same sidecar and the same connection.

use std::time::Duration;

use http::Request;
use tokio::time::timeout;

use super::{arm, panics, told_once};
use crate::harness::grpc::{H2Client, drain, reply, send_all, soon};
use crate::harness::h2_app::H2App;
use crate::harness::{App, Pair, SOON, Wire, get, post};

#[test]
fn a_request_that_panics_inbound_is_lost_alone_and_sent_again_where_it_may_be() {
    let app = App::ok();
    let mesh = Pair::of(&app).declared("http").start();
    let (mut neighbour, mut caller) = (mesh.connect(), mesh.connect());
    assert_eq!(neighbour.ask(get("/before")).status(), 200);
    arm(mesh.inbound(), "inbound-request");
    let lost = caller.ask(post("/lost", b"x"));
    assert!(lost.status() >= 500 && lost.reason().is_some(), "{lost:?}");
    assert_eq!(neighbour.ask(get("/after")).status(), 200);
    assert_eq!(caller.ask(get("/again")).status(), 200, "the caller's connection is not the one");
    told_once(mesh.inbound(), "src/inbound/serve.rs");
    arm(mesh.inbound(), "inbound-request");
    assert_eq!(caller.ask(get("/repeatable")).status(), 200, "it was not tried again");
    assert_eq!(panics(mesh.inbound()), 2.0);
    assert_eq!(panics(&mesh.outbound), 0.0);
    assert!(mesh.outbound.json("/connections").to_string().contains("outbound"));
}

#[test]
fn a_request_that_panics_outbound_takes_its_callers_connection_and_no_other() {
    let app = App::ok();
    let mesh = Pair::of(&app).declared("http").start();
    let (mut neighbour, mut caller) = (mesh.connect(), mesh.connect());
    assert_eq!(neighbour.ask(get("/before")).status(), 200);
    arm(&mesh.outbound, "outbound-request");
    caller.send(get("/lost"));
    assert!(caller.message(false).is_err(), "there is an answer");
    assert_eq!(neighbour.ask(get("/after")).status(), 200);
    assert_eq!(mesh.ask(get("/anew")).status(), 200);
    told_once(&mesh.outbound, "src/outbound/serve.rs");
}

#[test]
fn a_stream_that_panics_ends_alone() {
    for (at, file) in
        [("inbound-stream", "src/inbound/stream.rs"), ("outbound-stream", "src/outbound/stream.rs")]
    {
        let app = App::raw(|mut wire: Wire| {
            while let Ok(line) = wire.try_take(4) {
                if wire.try_send(line).is_err() {
                    return;
                }
            }
        });
        let mesh = Pair::of(&app).declared("tcp").start();
        let mut neighbours = [mesh.connect(), mesh.connect()];
        let mut echoes = |words: &[u8]| {
            for wire in &mut neighbours {
                wire.send(words);
                assert_eq!(wire.try_take(4).expect("an echo"), words);
            }
        };
        echoes(b"one.");
        let sidecar = if at == "inbound-stream" { mesh.inbound() } else { &mesh.outbound };
        arm(sidecar, at);
        let mut lost = mesh.connect();
        // It may be gone before this is written.
        let _ = lost.try_send(b"two.");
        assert!(lost.try_take(4).is_err(), "{at}: it was echoed");
        echoes(b"two.");
        let mut later = mesh.connect();
        later.send(b"late");
        assert_eq!(later.try_take(4).expect("an echo"), b"late");
        told_once(sidecar, file);
    }
}

fn posting(path: &str) -> Request<()> {
    let uri = format!("http://app.default{path}");
    Request::builder().method("POST").uri(uri).body(()).expect("a request")
}

/// An app that answers when the whole request is there.
fn patient() -> H2App {
    H2App::start(|request, mut respond| async move {
        let (bytes, end) = drain(&mut request.into_body()).await;
        let Ok(()) = end else { return };
        let mut send = respond.send_response(http::Response::new(()), false).expect("sent");
        send_all(&mut send, &bytes, true).await;
    })
}

#[tokio::test]
async fn fifty_streams_go_on_beside_the_one_that_panics() {
    for at in ["inbound-request", "outbound-request"] {
        let app = patient();
        let mesh = Pair::at(app.address).declared("http2").start();
        let client = H2Client::connect(mesh.service).await;
        let mut open = Vec::new();
        for number in 0..50 {
            let (answer, mut send) = client.open(posting(&format!("/{number}")), false).await;
            send_all(&mut send, b"begun ", false).await;
            open.push((answer, send));
        }
        soon("all are at the app", || app.requests().len() == 50).await;
        let sidecar = if at == "inbound-request" { mesh.inbound() } else { &mesh.outbound };
        arm(sidecar, at);
        let (answer, _send) = client.open(posting("/lost"), true).await;
        match timeout(SOON, answer).await.expect("it ends") {
            Ok(answer) => assert!(answer.status().is_server_error(), "{at}: {answer:?}"),
            Err(error) => assert!(error.is_reset(), "{at}: more than the stream ended: {error}"),
        }
        for (answer, mut send) in open {
            send_all(&mut send, b"and done", true).await;
            let reply = reply(answer).await;
            assert_eq!((reply.status, &*reply.body), (200, &b"begun and done"[..]), "{at}");
        }
        assert_eq!(client.ask(posting("/later"), b"later").await.status, 200);
        assert_eq!(panics(sidecar), 1.0, "{at}");
    }
}

#[tokio::test]
async fn the_task_of_a_connection_between_sidecars_is_followed_by_another() {
    let app = patient();
    let mesh = Pair::at(app.address).declared("http2").start();
    arm(&mesh.outbound, "upstream");
    let client = H2Client::connect(mesh.service).await;
    let first = client.ask(posting("/first"), b"x").await;
    assert!(first.status == 200 || first.status >= 500, "{first:?}");
    let within = timeout(Duration::from_secs(5), client.ask(posting("/second"), b"x"));
    assert_eq!(within.await.expect("it does not hang").status, 200);
    told_once(&mesh.outbound, "src/dial/h2.rs");
}
