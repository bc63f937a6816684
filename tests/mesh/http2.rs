//! Callers with HTTP/2 and prior knowledge; apps with HTTP/1 and HTTP/2.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request};
use serde_json::json;

use crate::harness::grpc::{H2Client, drain, head, reply, send_all, soon};
use crate::harness::h2_app::H2App;
use crate::harness::{App, Broken, Mesh, Pair, SOON, eventually, pattern, spiffe};

fn request(method: &str, path: &str) -> Request<()> {
    Request::builder()
        .method(method)
        .uri(format!("http://app.default{path}"))
        .body(())
        .expect("a request")
}

/// An app that answers with the body it got.
fn echo() -> H2App {
    H2App::start(|request, mut respond| async move {
        let mut body = request.into_body();
        let (bytes, end) = drain(&mut body).await;
        let Ok(()) = end else { return };
        let mut send = respond.send_response(http::Response::new(()), false).expect("sent");
        send_all(&mut send, &bytes, false).await;
        let mut trailers = http::HeaderMap::new();
        trailers.insert("x-len", bytes.len().into());
        let _ = send.send_trailers(trailers);
    })
}

fn over(app: &H2App) -> [Mesh; 2] {
    [Pair::bare as fn(_) -> Pair, Pair::at].map(|pair| pair(app.address).declared("http2").start())
}

#[tokio::test]
async fn bodies_and_trailers_pass_between_http_2_ends() {
    let app = echo();
    for mesh in over(&app) {
        let client = H2Client::connect(mesh.service).await;
        for len in [0, 1, 64 * 1024, 1024 * 1024] {
            let body = pattern(len);
            let answer = client.ask(request("POST", "/"), &body).await;
            assert_eq!(answer.status, 200, "{:?}", answer.headers);
            assert!(answer.body == body, "{len} bytes came back as {}", answer.body.len());
            assert_eq!(
                answer.trailers.get("x-len").map(|v| v.to_str().expect("text")),
                Some(len.to_string().as_str())
            );
        }
    }
    let seen = app.requests();
    assert_eq!(seen[0].uri.authority().map(|a| a.as_str()), Some("app.default"));
    let last = seen.last().expect("requests came");
    assert_eq!(last.headers["x-outrigger-peer"].to_str().expect("text"), spiffe("client"));
}

#[tokio::test]
async fn an_app_that_declares_http_1_serves_http_2_callers() {
    let app = App::http(|request| App::answer(&request.body));
    let mesh = Pair::of(&app).declared("http").start();
    let client = H2Client::connect(mesh.service).await;
    let body = pattern(100_000);
    let answer = client.ask(request("POST", "/x?y"), &body).await;
    assert_eq!(answer.status, 200);
    assert!(answer.body == body);
    let get = client.ask(request("GET", "/get"), b"").await;
    assert_eq!(get.status, 200);
    let seen = app.requests();
    assert_eq!(seen[0].start, "POST /x?y HTTP/1.1");
    assert_eq!(seen[0].header("host"), Some("app.default"));
    assert_eq!(seen[1].start, "GET /get HTTP/1.1");
    assert_eq!(seen[1].header("transfer-encoding"), None, "a GET without body has none at the app");
}

#[tokio::test]
async fn cookies_in_crumbs_are_one_header_for_an_http_1_app() {
    let app = App::ok();
    let mesh = Pair::of(&app).declared("http").start();
    let client = H2Client::connect(mesh.service).await;
    let mut crumbs = request("GET", "/");
    crumbs.headers_mut().append("cookie", "a=1".parse().expect("a value"));
    crumbs.headers_mut().append("cookie", "b=2".parse().expect("a value"));
    client.ask(crumbs, b"").await;
    assert_eq!(app.only_request().all("cookie"), ["a=1; b=2"]);
}

#[tokio::test]
async fn a_head_that_is_too_large_is_refused_with_a_reason() {
    let app = App::ok();
    let mesh = Pair::of(&app).declared("http").start();
    let client = H2Client::connect(mesh.service).await;
    for (path, lines, length) in [("/long", 7, 10_000), ("/many", 101, 1), ("/more", 1_000, 1)] {
        let mut large = request("GET", path);
        for nth in 0..lines {
            let name = HeaderName::try_from(format!("x-{nth}")).expect("a name");
            let value = HeaderValue::try_from("v".repeat(length)).expect("a value");
            large.headers_mut().append(name, value);
        }
        let answer = client.ask(large, b"").await;
        assert_eq!(
            (answer.status, answer.header("x-outrigger-reason")),
            (431, Some("headers-too-large"))
        );
        let entry = mesh.outbound.await_entry(path);
        assert_eq!(
            (&entry["reason"], &entry["status"]),
            (&json!("headers-too-large"), &json!(431))
        );
    }
    assert_eq!(client.ask(request("GET", "/"), b"").await.status, 200, "the others go on");
    assert_eq!(app.requests().len(), 1);
}

#[tokio::test]
async fn streams_of_one_connection_do_not_wait_for_each_other() {
    let app = App::http(|request| {
        if request.target() == "/slow" {
            std::thread::sleep(Duration::from_secs(2));
        }
        App::answer(request.target())
    });
    let mesh = Pair::of(&app).declared("http").start();
    let client = H2Client::connect(mesh.service).await;
    let (slow, _send) = client.open(request("GET", "/slow"), true).await;
    soon("the app has the request", || app.begun() == 1).await;
    let begun = std::time::Instant::now();
    for _ in 0..20 {
        assert_eq!(client.ask(request("GET", "/fast"), b"").await.body, b"/fast");
    }
    assert!(begun.elapsed() < Duration::from_millis(1500), "{:?}", begun.elapsed());
    assert_eq!(reply(slow).await.body, b"/slow");
}

#[tokio::test]
async fn a_stream_that_is_not_read_stalls_no_other() {
    let app = App::http(|request| match request.target() {
        "/big" => App::answer(vec![b'x'; 16 * 1024 * 1024]),
        _ => App::answer("small"),
    });
    let mesh = Pair::of(&app).declared("http").start();
    let client = H2Client::connect(mesh.service).await;
    let (big, _send) = client.open(request("GET", "/big"), true).await;
    let unread = head(big).await;
    let other = H2Client::connect(mesh.service).await;
    for _ in 0..20 {
        assert_eq!(other.ask(request("GET", "/small"), b"").await.body, b"small");
    }
    drop(unread);
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_a_stream_error() {
    let app = App::raw(|mut wire| {
        let _ = wire.message(false);
        wire.send("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf");
        std::thread::sleep(Duration::from_millis(50));
    });
    for pair in [Pair::bare as fn(_) -> Pair, Pair::at] {
        let mesh = pair(app.address).declared("http").start();
        let client = H2Client::connect(mesh.service).await;
        let (answer, _send) = client.open(request("GET", "/"), true).await;
        let mut body = head(answer).await.into_body();
        let (bytes, end) = drain(&mut body).await;
        assert!(end.is_err(), "a clean end after {:?}", String::from_utf8_lossy(&bytes));
    }
}

#[tokio::test]
async fn a_stream_of_the_app_that_is_reset_is_an_error_for_an_http_1_caller() {
    let app = H2App::start(|_, mut respond| async move {
        let mut send = respond.send_response(http::Response::new(()), false).expect("sent");
        send_all(&mut send, b"half", false).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        send.send_reset(h2::Reason::INTERNAL_ERROR);
    });
    for mesh in over(&app) {
        let mut wire = mesh.connect();
        wire.send(crate::harness::get("/"));
        let mut answer = wire.head().expect("the head came");
        let end = wire.body(&mut answer, false);
        assert!(matches!(end, Err(Broken::Cut | Broken::Reset)), "{end:?} {answer:?}");
    }
}

#[tokio::test]
async fn a_request_that_its_caller_resets_is_an_error_for_the_app() {
    for pair in [Pair::bare as fn(_) -> Pair, Pair::at] {
        let app = App::ok();
        let mesh = pair(app.address).declared("http").start();
        let client = H2Client::connect(mesh.service).await;
        let (_answer, mut send) = client.open(request("POST", "/"), false).await;
        send_all(&mut send, b"half", false).await;
        soon("the app has the beginning", || app.begun() == 1).await;
        send.send_reset(h2::Reason::CANCEL);
        soon("the app sees the end", || !app.broken().is_empty()).await;
        assert!(app.requests().is_empty());
    }
}

#[tokio::test]
async fn expect_100_and_connection_headers_do_not_reach_an_http_2_app() {
    let app = echo();
    let mesh = Pair::at(app.address).declared("http2").start();
    let mut wire = mesh.connect();
    let answer = wire.ask(
        "POST / HTTP/1.1\r\nHost: app.default\r\nConnection: keep-alive, x-a\r\nX-A: 1\r\nKeep-Alive: 5\r\n\
         Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
    );
    assert_eq!(answer.text(), "hi");
    let seen = &app.requests()[0];
    for name in ["connection", "keep-alive", "x-a", "transfer-encoding"] {
        assert!(!seen.headers.contains_key(name), "{name}");
    }
}

#[tokio::test]
async fn pseudo_headers_that_play_tricks_are_refused() {
    let app = App::ok();
    let mesh = Pair::of(&app).declared("http").start();
    // h2's client builds no such thing: frames by hand, one HEADERS of literals each.
    let tricks: [(&str, &[(&str, &str)]); 6] = [
        (
            "CR LF in a value",
            &[
                (":method", "GET"),
                (":scheme", "http"),
                (":path", "/"),
                (":authority", "a"),
                ("x", "a\r\nb: c"),
            ],
        ),
        (
            "CR LF in the path",
            &[
                (":method", "GET"),
                (":scheme", "http"),
                (":path", "/ HTTP/1.1\r\nx: y"),
                (":authority", "a"),
            ],
        ),
        (
            "a space in the path",
            &[(":method", "GET"), (":scheme", "http"), (":path", "/a b"), (":authority", "a")],
        ),
        (
            "a space in the method",
            &[(":method", "GET /x"), (":scheme", "http"), (":path", "/"), (":authority", "a")],
        ),
        (
            "a connection header",
            &[
                (":method", "GET"),
                (":scheme", "http"),
                (":path", "/"),
                (":authority", "a"),
                ("connection", "x"),
            ],
        ),
        (
            "another host",
            &[
                (":method", "GET"),
                (":scheme", "http"),
                (":path", "/"),
                (":authority", "a"),
                ("host", "b"),
            ],
        ),
    ];
    for (what, fields) in tricks {
        let mut wire = mesh.connect();
        wire.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").send([0, 0, 0, 4, 0, 0, 0, 0, 0]);
        let mut block = Vec::new();
        for (name, value) in fields {
            block.extend_from_slice(&[0, name.len() as u8]);
            block.extend_from_slice(name.as_bytes());
            block.push(value.len() as u8);
            block.extend_from_slice(value.as_bytes());
        }
        wire.send([&[0, 0, block.len() as u8, 1, 5, 0, 0, 0, 1], &block[..]].concat());
        // Whatever the form of the refusal, something comes back beside SETTINGS, and the app
        // sees nothing.
        let refused = loop {
            let frame = wire.take(9);
            let length = usize::from(frame[1]) * 256 + usize::from(frame[2]);
            wire.take(length);
            match frame[3] {
                1 | 3 | 7 => break frame[3],
                _ => {}
            }
        };
        assert!([1, 3, 7].contains(&refused), "{what}");
        assert!(app.requests().is_empty(), "{what}: {:?}", app.requests());
    }
}

#[tokio::test]
async fn many_streams_at_once_are_all_served() {
    let app = App::http(|request| App::answer(request.target()));
    let mesh = Pair::of(&app).declared("http").start();
    let client = H2Client::connect(mesh.service).await;
    let calls: Vec<_> = (0..200)
        .map(|n| {
            let client = H2Client(client.0.clone());
            tokio::spawn(async move {
                let path = format!("/{n}");
                (client.ask(request("GET", &path), b"").await.body, path)
            })
        })
        .collect();
    for call in calls {
        let (body, path) = call.await.expect("no panic");
        assert_eq!(body, path.as_bytes());
    }
}

#[tokio::test]
async fn draining_sends_goaway_and_open_streams_finish() {
    let app = App::http(|_| {
        std::thread::sleep(Duration::from_secs(1));
        App::answer("done")
    });
    let mut mesh = Pair::of(&app).declared("http").start();
    let client = H2Client::connect(mesh.service).await;
    let (answer, _send) = client.open(request("GET", "/"), true).await;
    soon("the app has the request", || app.begun() == 1).await;
    mesh.outbound.sigterm();
    assert_eq!(reply(answer).await.body, b"done");
    let gone = tokio::time::timeout(SOON, async {
        while client.0.clone().ready().await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    gone.await.expect("a GOAWAY ends the connection");
    assert_eq!(mesh.outbound.exit(SOON).code(), Some(0));
}

#[test]
fn an_empty_data_frame_is_no_message() {
    // Kept apart from h2's own coalescing: the body's only frame is empty and ends the stream.
    let app = App::http(|request| App::answer(request.body.len().to_string()));
    let mesh = Pair::of(&app).declared("http").start();
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let client = H2Client::connect(mesh.service).await;
        let (answer, mut send) = client.open(request("POST", "/"), false).await;
        send.send_data(Bytes::new(), true).expect("sent");
        assert_eq!(reply(answer).await.body, b"0");
    });
    eventually("one request", || app.requests().len() == 1);
}

#[tokio::test]
async fn http_2_on_an_undeclared_port_is_http_2_for_the_app() {
    let app = echo();
    for pair in [Pair::bare as fn(_) -> Pair, Pair::at] {
        let mesh = pair(app.address).start();
        let client = H2Client::connect(mesh.service).await;
        assert_eq!(client.ask(request("POST", "/"), b"hello").await.body, b"hello");
    }
}
