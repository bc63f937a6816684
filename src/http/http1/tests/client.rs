//! The end that asks: answers and requests, byte by byte.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, Version};
use http_body::Body as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};

use super::super::spelling::{Phrase, Spelling};
use super::super::{Broken, Client};
use super::{come, read};
use crate::http::Body;
use crate::http::pipe;

type Answer = Result<(Response<()>, Result<(Vec<u8>, Vec<String>), String>), Broken>;

fn get(method: Method) -> Request<Body> {
    let request = Request::builder().method(method).uri("/a?b").header("host", "a");
    request.body(Body::empty()).expect("a request")
}

async fn ask(
    client: &mut Client<DuplexStream>,
    request: Request<Body>,
) -> Result<Response<Body>, Broken> {
    let mut request = Some(request);
    poll_fn(|cx| {
        if let Some(request) = request.take() {
            client.begin(request, cx).map_err(|unsent| unsent.0)?;
        }
        client.poll_head(cx)
    })
    .await
}

/// The whole answer; the body is read while the connection is moved.
async fn exchange(client: &mut Client<DuplexStream>, request: Request<Body>) -> Answer {
    let (head, body) = ask(client, request).await?.into_parts();
    let mut body = pin!(read(body));
    let body = poll_fn(|cx| {
        let polled = body.as_mut().poll(cx);
        client.poll(cx);
        match polled {
            Poll::Pending => body.as_mut().poll(cx),
            ready => ready,
        }
    });
    Ok((Response::from_parts(head, ()), body.await))
}

/// A server that says this and closes, or goes on listening.
fn server(said: &[u8], step: usize, closes: bool) -> Client<DuplexStream> {
    let (near, mut far) = duplex(1 << 16);
    let said = said.to_vec();
    tokio::spawn(async move {
        let mut request = [0; 1024];
        let _ = far.read(&mut request).await;
        for piece in said.chunks(step.max(1)) {
            far.write_all(piece).await.expect("it is read");
            tokio::task::yield_now().await;
        }
        if !closes {
            while matches!(far.read(&mut request).await, Ok(1..)) {}
        }
    });
    Client::new(near, true)
}

/// What a server says, whether it closes then, the body that is read, and whether the connection is
/// taken again.
const ANSWERS: &[(&str, bool, &str, bool)] = &[
    ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nab", false, "ab", true),
    ("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", false, "", true),
    ("HTTP/1.1 200 OK\r\ncontent-length: 2, 2\r\ncontent-length: 2\r\n\r\nab", false, "ab", true),
    ("HTTP/1.1 204 No Content\r\n\r\n", false, "", true),
    ("HTTP/1.1 304 Not Modified\r\ncontent-length: 9\r\n\r\n", false, "", true),
    (
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n1;x=y\r\nc\r\n0\r\n\r\n",
        false,
        "abc",
        true,
    ),
    (
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2  \r\nab\r\n0 \r\nx: y\r\n\r\n",
        false,
        "ab[x: y]",
        true,
    ),
    (
        "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\ncontent-length: 1\r\n\r\n1\r\na\r\n0\r\n\r\n",
        false,
        "a",
        false,
    ),
    (
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\na",
        false,
        "a",
        true,
    ),
    ("HTTP/1.1 200 OK\r\ncontent-length: 1\r\nconnection: close\r\n\r\na", false, "a", false),
    ("HTTP/1.0 200 OK\r\ncontent-length: 1\r\n\r\na", false, "a", false),
    ("HTTP/1.0 200 OK\r\ncontent-length: 1\r\nconnection: keep-alive\r\n\r\na", false, "a", true),
    ("HTTP/1.1 200 OK\r\n\r\nabc", true, "abc", false),
    ("HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\nabc", true, "abc", false),
    ("HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nab", false, "a", false),
    ("HTTP/1.1 200 OK\ncontent-length: 1\n\na", false, "a", true),
    ("HTTP/1.1 200\r\ncontent-length: 1\r\n\r\na", false, "a", true),
    ("HTTP/1.1 200 \r\ncontent-length: 1\r\n\r\na", false, "a", true),
    ("HTTP/1.1 299\ncontent-length: 1\n\na", false, "a", true),
    ("HTTP/1.1 200 \u{fc}ber\r\ncontent-length: 1\r\n\r\na", false, "a", true),
];

#[tokio::test]
async fn answers_are_read_however_they_are_cut() {
    for &(said, closes, expected, again) in ANSWERS {
        for step in [1, 3, 7, said.len()] {
            let mut client = server(said.as_bytes(), step, closes);
            let (_, body) = exchange(&mut client, get(Method::GET)).await.expect(said);
            let (body, trailers) = body.expect(said);
            let mut body = String::from_utf8(body).expect("text");
            if !trailers.is_empty() {
                body += &format!("[{}]", trailers.join(", "));
            }
            assert_eq!(body, expected, "{said:?} by {step}");
            // What comes behind the answer may come later.
            if step == said.len() || again {
                assert_eq!(client.is_ready(), again, "{said:?} by {step}");
            }
        }
    }
}

#[tokio::test]
async fn what_is_no_answer_is_none() {
    for said in [
        "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab",
        "HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\nab",
        "HTTP/1.1 200 OK\r\ncontent-length: 99999999999999999999\r\n\r\nab",
        "HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/2.0 200 OK\r\n\r\n",
        "HTTP/1.1 2xx OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\na b: c\r\n\r\n",
        "SSH-2.0-OpenSSH_9.2\r\n",
    ] {
        for step in [1, said.len()] {
            let mut client = server(said.as_bytes(), step, false);
            let broken = exchange(&mut client, get(Method::GET)).await.err();
            assert!(matches!(broken, Some(Broken::Malformed(_))), "{said:?}: {broken:?}");
            assert!(!client.is_ready());
        }
    }
    let endless = [&b"HTTP/1.1 200 OK\r\na: "[..], &[b'x'; 200_000]].concat();
    let broken = exchange(&mut server(&endless, 10_000, false), get(Method::GET)).await.err();
    assert!(matches!(broken, Some(Broken::Malformed(_))), "{broken:?}");
}

#[tokio::test]
async fn what_breaks_off_is_not_taken_for_whole() {
    for said in [
        "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nab",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nx\r\n",
    ] {
        let mut client = server(said.as_bytes(), 1, true);
        let (_, body) = exchange(&mut client, get(Method::GET)).await.expect(said);
        assert!(body.is_err(), "{said:?}: {body:?}");
        assert!(!client.is_ready());
    }
    for said in ["", "HTTP/1.1 200 OK\r\n"] {
        let broken = exchange(&mut server(said.as_bytes(), 1, true), get(Method::GET)).await.err();
        assert!(matches!(broken, Some(Broken::Closed)), "{said:?}: {broken:?}");
    }
}

#[tokio::test]
async fn an_answer_to_head_has_no_body() {
    let said = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n";
    let mut client = server(said, said.len(), false);
    let (head, body) = exchange(&mut client, get(Method::HEAD)).await.expect("an answer");
    assert_eq!(
        (&head.headers()["content-length"], body.expect("none").0.len()),
        (&"5".parse().expect("a value"), 0)
    );
    assert!(client.is_ready());
}

#[tokio::test]
async fn letter_case_and_reason_are_kept() {
    let said = b"HTTP/1.1 200 Splendid\r\nContent-Length: 0\r\nX-a: b\r\n\r\n";
    let mut client = server(said, said.len(), false);
    let (head, _) = exchange(&mut client, get(Method::GET)).await.expect("an answer");
    assert_eq!(head.extensions().get::<Phrase>().expect("a phrase").0, "Splendid");
    assert!(head.extensions().get::<Spelling>().is_some());
    assert_eq!(head.headers()["x-a"], "b");
}

#[tokio::test]
async fn a_request_that_was_not_sent_comes_back() {
    let (near, far) = duplex(1024);
    drop(far);
    let mut client = Client::new(near, false);
    let given = poll_fn(|cx| Poll::Ready(client.begin(get(Method::PUT), cx)));
    let (broken, request) = *given.await.expect_err("it is closed");
    assert!(matches!(broken, Broken::Closed));
    assert_eq!(request.method(), Method::PUT);
    assert!(!client.is_ready());
}

/// What is written of a request with this body.
async fn written(request: Request<Body>) -> String {
    let (near, mut far) = duplex(1 << 16);
    let mut client = Client::new(near, true);
    let come = tokio::select! {
        _ = ask(&mut client, request) => panic!("nobody answers"),
        come = come(&mut far) => come,
    };
    come
}

#[tokio::test]
async fn requests_are_written_as_they_are_framed() {
    let post = |version, headers: &[(&str, &str)], body| {
        let mut request = Request::builder().method("POST").uri("/x").version(version);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(body).expect("a request")
    };
    let (http_10, http_11) = (Version::HTTP_10, Version::HTTP_11);
    let full = || Body::full("ab");
    for (request, expected) in [
        (get(Method::GET), "GET /a?b HTTP/1.1\r\nhost: a\r\n\r\n"),
        (
            post(http_11, &[("content-length", "2")], full()),
            "POST /x HTTP/1.1\r\ncontent-length: 2\r\n\r\nab",
        ),
        (
            post(http_11, &[("content-length", "0")], Body::empty()),
            "POST /x HTTP/1.1\r\ncontent-length: 0\r\n\r\n",
        ),
        (
            post(http_11, &[("transfer-encoding", "gzip")], full()),
            "POST /x HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n",
        ),
        (post(http_10, &[], full()), "POST /x HTTP/1.0\r\ncontent-length: 2\r\n\r\nab"),
        // More than was announced would be another request.
        (
            post(http_11, &[("content-length", "1")], full()),
            "POST /x HTTP/1.1\r\ncontent-length: 1\r\n\r\na",
        ),
    ] {
        assert_eq!(written(request).await, expected);
    }
    let connect = Request::builder().method("CONNECT").uri("a:1").body(Body::empty());
    assert_eq!(written(connect.expect("a request")).await, "CONNECT a:1 HTTP/1.1\r\n\r\n");
    let query = http::Uri::from_static("http://a?b").into_parts().path_and_query;
    let query = Request::builder().uri(http::Uri::from(query.expect("a query")));
    let query = query.body(Body::empty()).expect("a request");
    assert_eq!(written(query).await, "GET /?b HTTP/1.1\r\n\r\n");
    let absolute = Request::builder().uri("http://a/b").body(Body::empty());
    assert_eq!(written(absolute.expect("a request")).await, "GET http://a/b HTTP/1.1\r\n\r\n");
    let names = ["Host", "X-b"].map(|name| Bytes::from_static(name.as_bytes()));
    let mut spelt = get(Method::GET);
    spelt.extensions_mut().insert(Spelling::of(names.into_iter()).expect("capitals"));
    assert_eq!(written(spelt).await, "GET /a?b HTTP/1.1\r\nHost: a\r\n\r\n");
}

#[tokio::test]
async fn who_drops_an_answer_wakes_its_connection() {
    let said = b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nab";
    let mut client = server(said, said.len(), false);
    let mut body = ask(&mut client, get(Method::GET)).await.expect("an answer").into_body();
    let moved = tokio::task::LocalSet::new();
    let connection = moved.spawn_local(poll_fn(move |cx| {
        client.poll(cx);
        if client.is_through() { Poll::Ready(()) } else { Poll::Pending }
    }));
    let reads = async {
        let frame = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await.expect("a frame");
        assert_eq!(frame.expect("data").into_data().expect("data"), "ab");
        // It waits for more when it is given up.
        let more = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx));
        assert!(tokio::time::timeout(Duration::from_millis(20), more).await.is_err());
        drop(body);
        tokio::time::timeout(Duration::from_secs(5), connection).await
    };
    moved.run_until(reads).await.expect("it hears of it").expect("it ends");
}

#[tokio::test]
async fn chunks_may_be_padded_as_often_as_they_like() {
    let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    let said = format!("{head}{}0\r\n\r\n", "1        \r\na\r\n".repeat(4000));
    let mut client = server(said.as_bytes(), said.len(), false);
    let (_, body) = exchange(&mut client, get(Method::GET)).await.expect("an answer");
    assert_eq!(body.expect("a body").0.len(), 4000);
}

#[tokio::test]
async fn a_request_that_falls_short_is_not_finished() {
    let request = Request::builder().method("POST").uri("/").header("content-length", "3");
    let (near, _far) = duplex(1 << 16);
    let request = request.body(Body::full("ab")).expect("a request");
    let sent = ask(&mut Client::new(near, false), request).await;
    assert!(matches!(sent, Err(Broken::Short)));
}

#[tokio::test]
async fn an_answer_may_come_before_the_request_is_through() {
    let (near, mut far) = duplex(1 << 16);
    let mut client = Client::new(near, false);
    let (mut source, body) = pipe::duplex(Body::empty());
    let request = Request::builder().method("POST").uri("/").body(body).expect("a request");
    let answer = async {
        let mut head = [0; 1024];
        let _ = far.read(&mut head).await;
        far.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await
    };
    let (response, wrote) = tokio::join!(ask(&mut client, request), answer);
    wrote.expect("it is read");
    let mut body = response.expect("an answer").into_body();
    // Each piece of the request comes back.
    for piece in ["a", "bc"] {
        source.write_all(piece.as_bytes()).await.expect("room");
        let frame = async {
            poll_fn(|cx| {
                let polled = Pin::new(&mut body).poll_frame(cx);
                client.poll(cx);
                match polled {
                    Poll::Pending => Pin::new(&mut body).poll_frame(cx),
                    ready => ready,
                }
            })
            .await
        };
        let echo = async {
            let mut chunk = vec![0; piece.len() + 5];
            far.read_exact(&mut chunk).await.expect("a chunk");
            far.write_all(&chunk).await.expect("it is read");
        };
        let (frame, ()) = tokio::join!(frame, echo);
        let data = frame.expect("a frame").expect("data").into_data();
        assert_eq!(data.expect("data"), piece.as_bytes());
    }
}
