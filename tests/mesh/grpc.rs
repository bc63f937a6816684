//! gRPC in its four shapes, its errors and its deadlines.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, Response};

use crate::harness::grpc::{
    H2Client, drain, frame, grpc_request, head, next, reply, send_all, soon, unframe,
};
use crate::harness::h2_app::H2App;
use crate::harness::{App, Mesh, Pair, pattern, refused_address};

fn ok() -> HeaderMap {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", "0".parse().expect("a value"));
    trailers
}

fn accepted() -> Response<()> {
    Response::builder().header("content-type", "application/grpc").body(()).expect("a response")
}

/// A server with a method of each shape.
fn server() -> H2App {
    H2App::start(|request, mut respond| async move {
        let path = request.uri().path().to_owned();
        let mut body = request.into_body();
        if path == "/t.T/Refused" {
            let refusal = Response::builder()
                .header("content-type", "application/grpc")
                .header("grpc-status", "9")
                .header("grpc-message", "not%20now")
                .body(())
                .expect("a response");
            let _ = respond.send_response(refusal, true);
            return;
        }
        if path == "/t.T/Never" {
            let _ = drain(&mut body).await;
            std::future::poll_fn(|cx| respond.poll_reset(cx)).await.ok();
            return;
        }
        let mut send = respond.send_response(accepted(), false).expect("sent");
        match path.as_str() {
            "/t.T/Bidi" => {
                while let Some(Ok(data)) = next(&mut body).await {
                    send_all(&mut send, &data, false).await;
                }
            }
            "/t.T/ServerStream" => {
                let _ = drain(&mut body).await;
                for n in 0..100_u8 {
                    send_all(&mut send, &frame(&[n]), false).await;
                }
            }
            "/t.T/Fails" => {
                send_all(&mut send, &frame(b"first"), false).await;
                let mut trailers = HeaderMap::new();
                trailers.insert("grpc-status", "13".parse().expect("a value"));
                trailers.insert("grpc-message", "broke".parse().expect("a value"));
                let _ = send.send_trailers(trailers);
                return;
            }
            _ => {
                let (bytes, _) = drain(&mut body).await;
                let joined = unframe(&bytes).concat();
                send_all(&mut send, &frame(&joined), false).await;
            }
        }
        let _ = send.send_trailers(ok());
    })
}

fn over(app: &H2App) -> [Mesh; 2] {
    [Pair::bare as fn(_) -> Pair, Pair::at].map(|pair| pair(app.address).declared("grpc").start())
}

fn method(name: &str) -> http::Request<()> {
    grpc_request(&format!("/t.T/{name}")).body(()).expect("a request")
}

#[tokio::test]
async fn unary_and_client_streaming_calls() {
    let app = server();
    for mesh in over(&app) {
        let client = H2Client::connect(mesh.service).await;
        let big = pattern(300_000);
        for messages in [&[&b"hello"[..]][..], &[b""], &[b"a", b"b", b"c"], &[&big, b"x"]] {
            let answer = client.call(method("Join"), messages).await;
            assert_eq!((answer.status, answer.grpc_status()), (200, Some("0")));
            assert_eq!(answer.header("content-type"), Some("application/grpc"));
            assert!(answer.messages() == [messages.concat()]);
            assert!(answer.trailers.contains_key("grpc-status"), "in trailers, not in headers");
        }
    }
}

#[tokio::test]
async fn server_streaming_keeps_every_message_in_order() {
    let app = server();
    for mesh in over(&app) {
        let answer =
            H2Client::connect(mesh.service).await.call(method("ServerStream"), &[b"go"]).await;
        let expected: Vec<Vec<u8>> = (0..100).map(|n| vec![n]).collect();
        assert_eq!(answer.messages(), expected);
        assert_eq!(answer.grpc_status(), Some("0"));
    }
}

#[tokio::test]
async fn bidirectional_messages_do_not_wait_for_the_end() {
    let app = server();
    for mesh in over(&app) {
        let client = H2Client::connect(mesh.service).await;
        let (answer, mut send) = client.open(method("Bidi"), false).await;
        send_all(&mut send, &frame(b"0"), false).await;
        let mut body = head(answer).await.into_body();
        for n in 0..50_u8 {
            let data = next(&mut body).await.expect("a message").expect("no error");
            assert_eq!(unframe(&data), [n.to_string().into_bytes()]);
            send_all(&mut send, &frame((n + 1).to_string().as_bytes()), n == 49).await;
        }
        let (rest, end) = drain(&mut body).await;
        assert_eq!((unframe(&rest), end.is_ok()), (vec![b"50".to_vec()], true));
        let trailers = body.trailers().await.expect("trailers").expect("trailers");
        assert_eq!(trailers["grpc-status"], "0");
    }
}

#[tokio::test]
async fn errors_of_the_app_keep_their_shape() {
    let app = server();
    for mesh in over(&app) {
        let client = H2Client::connect(mesh.service).await;
        let refused = client.call(method("Refused"), &[b"x"]).await;
        assert_eq!(refused.headers["grpc-status"], "9", "trailers-only");
        assert_eq!(refused.grpc_message(), Some("not%20now"));
        assert!(refused.body.is_empty());
        let failed = client.call(method("Fails"), &[b"x"]).await;
        assert_eq!(failed.messages(), [b"first".to_vec()]);
        assert_eq!((failed.grpc_status(), failed.grpc_message()), (Some("13"), Some("broke")));
    }
}

#[tokio::test]
async fn a_call_that_an_app_did_not_take_goes_to_another() {
    let refuses =
        H2App::start(
            |_, mut respond| async move { respond.send_reset(h2::Reason::REFUSED_STREAM) },
        );
    let app = server();
    let pairs = [
        Pair::bare(refuses.address).and_bare(app.address),
        Pair::at(refuses.address).and(app.address),
    ];
    for pair in pairs {
        let mesh = pair.declared("grpc").inbound_declared("grpc").start();
        let client = H2Client::connect(mesh.service).await;
        for _ in 0..12 {
            // A method of which nobody said that it may be called twice.
            let answer = client.call(method("Join"), &[b"x"]).await;
            assert_eq!(answer.grpc_status(), Some("0"), "{answer:?}");
        }
        assert!(!refuses.requests().is_empty());
    }
}

#[tokio::test]
async fn errors_of_the_proxy_are_trailers_only_answers_with_a_sentence() {
    // (where to, reason, gRPC code)
    let cases = [
        (Pair::empty(), "no-endpoints", "14"),
        (Pair::bare(refused_address()), "connect-failure", "14"),
        (Pair::at(refused_address()), "connect-failure", "14"),
    ];
    for (pair, reason, code) in cases {
        let mesh = pair.declared("grpc").start();
        let answer = H2Client::connect(mesh.service).await.call(method("Join"), &[b"x"]).await;
        assert_eq!(answer.status, 200, "{reason}");
        assert_eq!(
            answer.headers.get("grpc-status").map(|v| v.as_bytes()),
            Some(code.as_bytes()),
            "{reason}"
        );
        assert_eq!(answer.header("x-outrigger-reason"), Some(reason));
        assert!(answer.grpc_message().is_some_and(|words| words.len() > 10), "{answer:?}");
        assert!(answer.body.is_empty());
        assert_eq!(answer.header("content-type"), Some("application/grpc"));
    }
}

#[tokio::test]
async fn a_call_that_breaks_is_unavailable_or_reset() {
    let app = App::raw(|mut wire| {
        let _ = wire.take(24);
        wire.reset();
    });
    let mesh = Pair::of(&app).declared("grpc").start();
    let answer = H2Client::connect(mesh.service).await.call(method("Join"), &[b"x"]).await;
    assert_eq!((answer.status, answer.grpc_status()), (200, Some("14")), "{answer:?}");
}

#[tokio::test]
async fn grpc_timeout_is_honoured_reduced_and_passed_on() {
    let app = server();
    for mesh in over(&app) {
        let before = app.requests().len();
        let client = H2Client::connect(mesh.service).await;
        let begun = Instant::now();
        let request =
            grpc_request("/t.T/Never").header("grpc-timeout", "400m").body(()).expect("a request");
        let answer = client.call(request, &[b"x"]).await;
        let took = begun.elapsed();
        assert_eq!(answer.grpc_status(), Some("4"), "deadline-exceeded: {answer:?}");
        assert!(took >= Duration::from_millis(300) && took < Duration::from_secs(2), "{took:?}");
        let seen =
            app.requests()[before].headers["grpc-timeout"].to_str().expect("text").to_owned();
        assert!(micros(&seen) <= 400_000, "{seen}");
        assert!(micros(&seen) > 100_000, "{seen}");
    }
}

/// A grpc-timeout in microseconds.
fn micros(value: &str) -> u64 {
    let (number, unit) = value.split_at(value.len() - 1);
    let number: u64 = number.parse().expect("digits");
    match unit {
        "n" => number / 1000,
        "u" => number,
        "m" => number * 1000,
        "S" => number * 1_000_000,
        other => panic!("unit {other}"),
    }
}

#[tokio::test]
async fn a_cancelled_call_is_cancelled_at_the_app() {
    let (told, hears) = std::sync::mpsc::channel();
    let app = H2App::start(move |request, mut respond| {
        let told = told.clone();
        async move {
            let mut body = request.into_body();
            let _ = respond.send_response(accepted(), false);
            let end = drain(&mut body).await.1;
            let _ = told.send(end.is_err());
        }
    });
    for mesh in over(&app) {
        let client = H2Client::connect(mesh.service).await;
        let (answer, mut send) = client.open(method("Bidi"), false).await;
        send_all(&mut send, &frame(b"x"), false).await;
        let response = head(answer).await;
        send.send_reset(h2::Reason::CANCEL);
        drop(response);
        let mut cancelled = None;
        soon("the app hears", || {
            cancelled = hears.try_recv().ok();
            cancelled.is_some()
        })
        .await;
        assert_eq!(cancelled, Some(true), "a cancellation is no clean end");
    }
}

#[tokio::test]
async fn messages_of_the_caller_arrive_before_the_call_ends() {
    let app = server();
    let mesh = Pair::at(app.address).declared("grpc").start();
    let client = H2Client::connect(mesh.service).await;
    let (answer, mut send) = client.open(method("Join"), false).await;
    for piece in frame(b"split into single bytes").chunks(1) {
        send_all(&mut send, piece, false).await;
    }
    send.send_data(Bytes::new(), true).expect("sent");
    assert_eq!(reply(answer).await.messages(), [b"split into single bytes".to_vec()]);
}

#[tokio::test]
async fn a_grpc_call_on_an_undeclared_port_passes_too() {
    // The near sidecar hears HTTP/2; the app speaks nothing else.
    let app = server();
    let mesh = Pair::at(app.address).inbound_declared("grpc").start();
    let answer = H2Client::connect(mesh.service).await.call(method("Join"), &[b"a", b"b"]).await;
    assert_eq!((answer.messages(), answer.grpc_status()), (vec![b"ab".to_vec()], Some("0")));
}

#[tokio::test]
async fn the_grpc_status_is_logged_and_counted() {
    let app = server();
    let mesh = Pair::at(app.address).declared("grpc").start();
    H2Client::connect(mesh.service).await.call(method("Fails"), &[b"x"]).await;
    soon("it is logged", || {
        mesh.inbound().access_log().iter().any(|entry| entry["grpc_status"] == 13)
    })
    .await;
    assert!(mesh.outbound.metric("outrigger_requests_total", &["grpc_status=\"13\""]) >= 1.0);
}
