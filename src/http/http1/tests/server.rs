//! The end that is asked: requests and answers, byte by byte.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::future::{Future, pending, poll_fn};
use std::pin::Pin;
use std::rc::Rc;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};

use super::super::spelling::{Phrase, Spelling};
use super::super::{Broken, Connection, Over};
use super::{come, read};
use crate::http::{Body, Gate, Refusal};

type Answer = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>>>>;

/// Serves one end of a pipe, and gives what came of the connection, with what was not taken.
async fn serve(
    io: DuplexStream,
    service: impl Fn(Request<Body>, &Gate) -> Answer,
) -> (Result<Over, Broken>, Bytes) {
    let gate = Rc::new(Gate::default());
    let asked = Rc::clone(&gate);
    let service = move |request| service(request, &asked);
    let mut connection = Connection::new(Bytes::new(), io, gate, service, true);
    let over = poll_fn(|cx| connection.poll(cx)).await;
    (over, connection.into_parts().0)
}

/// Says what it was asked: method, target, body and trailers.
fn echo(request: Request<Body>, gate: &Gate) -> Answer {
    if let Some(Refusal::Violation(violation)) = gate.next_request() {
        let sentence = violation.sentence();
        return Box::pin(async move {
            let mut response = Response::new(Body::full(sentence));
            *response.status_mut() = StatusCode::BAD_REQUEST;
            Ok(response)
        });
    }
    Box::pin(async move {
        let (parts, body) = request.into_parts();
        let said = match read(body).await {
            Ok((body, trailers)) => {
                let body = String::from_utf8_lossy(&body).into_owned();
                format!("{} {} {body}{}", parts.method, parts.uri, trailers.join(","))
            }
            Err(error) => error,
        };
        Ok(Response::new(Body::full(said)))
    })
}

/// What a client reads that says this in pieces of `step`, and what came of the connection.
async fn talk(
    said: &[u8],
    step: usize,
    service: impl Fn(Request<Body>, &Gate) -> Answer,
) -> (String, Option<(Result<Over, Broken>, Bytes)>) {
    let (near, far) = duplex(1 << 16);
    let (mut hears, mut says) = tokio::io::split(far);
    let client = async {
        for piece in said.chunks(step.max(1)) {
            if says.write_all(piece).await.is_err() {
                break;
            }
            tokio::task::yield_now().await;
        }
        come(&mut hears).await
    };
    let over = RefCell::new(None);
    let served = async {
        let came = serve(near, service).await;
        over.replace(Some(came));
        pending::<()>().await;
    };
    let heard = tokio::select! {
        heard = client => heard,
        () = served => unreachable!(),
    };
    (heard, over.into_inner())
}

const HOST: &str = "host: a\r\n";

#[tokio::test]
async fn requests_are_answered_in_turn_however_they_are_cut() {
    let large = "x".repeat(5000);
    let said = format!(
        "GET /1 HTTP/1.1\r\n{HOST}\r\n\
         POST /2 HTTP/1.1\r\n{HOST}content-length: 3\r\n\r\nabc\
         POST /3 HTTP/1.1\r\n{HOST}transfer-encoding: chunked\r\n\r\n2\r\nab\r\n3;x=y\r\ncde\r\n0\r\nx-t: u\r\n\r\n\
         PUT /4 HTTP/1.1\r\n{HOST}content-length: 5000\r\n\r\n{large}\
         GET /5 HTTP/1.1\r\n{HOST}connection: close\r\n\r\n\
         GET /6 HTTP/1.1\r\n{HOST}\r\n"
    );
    let answer = |body: &str, close| {
        let close = if close { "connection: close\r\n" } else { "" };
        format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n{close}\r\n{body}", body.len())
    };
    let expected = [
        answer("GET /1 ", false),
        answer("POST /2 abc", false),
        answer("POST /3 abcdex-t: u", false),
        answer(&format!("PUT /4 {large}"), false),
        answer("GET /5 ", true),
    ];
    for step in [1, 2, 31, 997, said.len()] {
        let (heard, over) = talk(said.as_bytes(), step, echo).await;
        assert_eq!(heard, expected.concat(), "by {step}");
        let _ = over;
    }
}

#[tokio::test]
async fn what_two_could_read_in_two_ways_is_refused() {
    let said = format!("GET /1 HTTP/1.1\r\n{HOST}\r\nGET /2 HTTP/1.1\r\n{HOST}{HOST}\r\n");
    let (heard, _) = talk(said.as_bytes(), said.len(), echo).await;
    assert!(heard.contains("HTTP/1.1 400 Bad Request\r\n"), "{heard}");
    assert!(heard.ends_with("connection: close\r\n\r\nA request may have only one Host header"));
}

#[tokio::test]
async fn a_body_that_breaks_the_rules_ends_with_the_rule() {
    let said = format!("POST / HTTP/1.1\r\n{HOST}transfer-encoding: chunked\r\n\r\n2\r\nabc\r\n");
    let (heard, _) = talk(said.as_bytes(), said.len(), echo).await;
    assert!(heard.contains("A chunk must end in CRLF"), "{heard}");
    assert!(heard.contains("connection: close\r\n"), "{heard}");
}

#[tokio::test]
async fn word_is_given_once_the_body_is_wanted() {
    let head =
        format!("POST / HTTP/1.1\r\n{HOST}expect: 100-continue\r\ncontent-length: 2\r\n\r\n");
    let (near, mut far) = duplex(1 << 16);
    let client = async {
        far.write_all(head.as_bytes()).await.expect("room");
        assert_eq!(come(&mut far).await, "HTTP/1.1 100 Continue\r\n\r\n");
        far.write_all(b"ab").await.expect("room");
        come(&mut far).await
    };
    let heard = tokio::select! {
        heard = client => heard,
        _ = serve(near, echo) => panic!("it stays"),
    };
    assert!(heard.ends_with("POST / ab"), "{heard}");
    // Who does not wait is not told, nor is who gets an answer without having been read.
    let (heard, _) = talk(format!("{head}ab").as_bytes(), 1000, echo).await;
    assert!(heard.starts_with("HTTP/1.1 200 OK"), "{heard}");
    let unread = |_: Request<Body>, _: &Gate| -> Answer {
        Box::pin(async { Ok(Response::new(Body::full("no"))) })
    };
    let (heard, _) = talk(head.as_bytes(), 1000, unread).await;
    assert!(heard.starts_with("HTTP/1.1 200 OK") && heard.ends_with("no"), "{heard}");
}

/// An answer of unknown length.
fn stream(_: Request<Body>, _: &Gate) -> Answer {
    Box::pin(async {
        let (mut source, body) = crate::http::pipe::duplex(Body::empty());
        source.write_all(b"abc").await.expect("room");
        source.shutdown().await.expect("it ends");
        let mut response = Response::new(body);
        response.headers_mut().insert("trailer", http::HeaderValue::from_static("x-t"));
        Ok(response)
    })
}

#[tokio::test]
async fn http_1_0_is_answered_as_it_asks() {
    let stays = format!("GET /1 HTTP/1.0\r\n{HOST}connection: keep-alive\r\n\r\n");
    let goes = "GET /2 HTTP/1.0\r\n\r\n";
    let (heard, over) = talk(format!("{stays}{goes}").as_bytes(), 1000, echo).await;
    assert_eq!(
        heard,
        "HTTP/1.0 200 OK\r\ncontent-length: 7\r\nconnection: keep-alive\r\n\r\nGET /1 \
         HTTP/1.0 200 OK\r\ncontent-length: 7\r\nconnection: close\r\n\r\nGET /2 "
    );
    assert!(matches!(over, Some((Ok(Over::Closed), _))));
    // It has no chunks: the end is the connection's.
    let (heard, over) = talk(stays.as_bytes(), 1000, stream).await;
    assert!(heard.ends_with("connection: close\r\n\r\nabc"), "{heard}");
    assert!(matches!(over, Some((Ok(Over::Closed), _))));
}

#[tokio::test]
async fn what_has_no_length_comes_in_chunks() {
    let said = format!("GET / HTTP/1.1\r\n{HOST}\r\n");
    let (heard, _) = talk(said.as_bytes(), 1000, stream).await;
    assert_eq!(
        heard,
        "HTTP/1.1 200 OK\r\ntrailer: x-t\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
    );
}

#[tokio::test]
async fn a_granted_switch_leaves_http_with_what_was_sent_behind_it() {
    let said = format!("GET / HTTP/1.1\r\n{HOST}connection: upgrade\r\nupgrade: x\r\n\r\n\x01\x02");
    let granted = |_: Request<Body>, _: &Gate| -> Answer {
        Box::pin(async {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
            Ok(response)
        })
    };
    let (heard, over) = talk(said.as_bytes(), said.len(), granted).await;
    assert_eq!(heard, "HTTP/1.1 101 Switching Protocols\r\n\r\n");
    let (over, rest) = over.expect("it is over");
    assert_eq!((over.ok(), &rest[..]), (Some(Over::Switched), &b"\x01\x02"[..]));
    // Refused, what follows is HTTP again.
    let said = format!("GET /1 HTTP/1.1\r\n{HOST}upgrade: x\r\n\r\nGET /2 HTTP/1.1\r\n{HOST}\r\n");
    let (heard, _) = talk(said.as_bytes(), said.len(), echo).await;
    assert!(heard.contains("GET /1 ") && heard.ends_with("GET /2 "), "{heard}");
}

#[tokio::test]
async fn answers_that_have_no_body_say_so() {
    for (status, length, expected) in [
        (200, None, "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"),
        (204, Some("0"), "HTTP/1.1 204 No Content\r\n\r\n"),
        (304, Some("7"), "HTTP/1.1 304 Not Modified\r\ncontent-length: 7\r\n\r\n"),
        (500, Some("7"), "HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\n\r\n"),
        (599, None, "HTTP/1.1 599 \r\ncontent-length: 0\r\n\r\n"),
    ] {
        let service = move |_: Request<Body>, _: &Gate| -> Answer {
            Box::pin(async move {
                let mut response = Response::builder().status(status);
                if let Some(length) = length {
                    response = response.header("content-length", length);
                }
                Ok(response.body(Body::empty()).expect("a response"))
            })
        };
        let said = format!("GET / HTTP/1.1\r\n{HOST}\r\n");
        assert_eq!(talk(said.as_bytes(), 1000, service).await.0, expected);
    }
}

#[tokio::test]
async fn letter_case_and_reason_go_out_as_they_are_kept() {
    let service = |request: Request<Body>, _: &Gate| -> Answer {
        let spelling = request.extensions().get::<Spelling>().cloned().expect("capitals");
        Box::pin(async move {
            let mut response = Response::new(Body::empty());
            response.headers_mut().insert("x-new", http::HeaderValue::from_static("1"));
            response.headers_mut().insert("host", http::HeaderValue::from_static("2"));
            response.extensions_mut().insert(spelling);
            response.extensions_mut().insert(Phrase(Bytes::from_static(b"Splendid")));
            Ok(response)
        })
    };
    let said = b"GET / HTTP/1.1\r\nHoSt: a\r\n\r\n";
    let (heard, _) = talk(said, 1000, service).await;
    assert_eq!(heard, "HTTP/1.1 200 Splendid\r\nx-new: 1\r\nHoSt: 2\r\ncontent-length: 0\r\n\r\n");
}

/// Tells when it is dropped.
struct Dropped(Rc<Cell<bool>>);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.set(true);
    }
}

#[tokio::test]
async fn who_goes_takes_the_request_along() {
    let dropped = Rc::new(Cell::new(false));
    let (near, mut far) = duplex(1 << 16);
    let count = Rc::clone(&dropped);
    let service = move |_: Request<Body>, _: &Gate| -> Answer {
        let held = Dropped(Rc::clone(&count));
        Box::pin(async move {
            let _held = held;
            pending().await
        })
    };
    far.write_all(format!("GET / HTTP/1.1\r\n{HOST}\r\n").as_bytes()).await.expect("room");
    drop(far);
    let (over, _) = serve(near, service).await;
    assert!(matches!(over, Err(Broken::Closed)), "{over:?}");
    assert!(dropped.get());
}

#[tokio::test]
async fn who_asks_twice_and_says_no_more_is_answered() {
    let (near, mut far) = duplex(1 << 16);
    let said = format!("GET /1 HTTP/1.1\r\n{HOST}\r\nGET /2 HTTP/1.1\r\n{HOST}\r\n");
    far.write_all(said.as_bytes()).await.expect("room");
    far.shutdown().await.expect("it is open");
    let later = |request: Request<Body>, gate: &Gate| -> Answer {
        let answer = echo(request, gate);
        Box::pin(async {
            tokio::task::yield_now().await;
            answer.await
        })
    };
    serve(near, later).await.0.expect_err("nobody would read the second");
    assert!(come(&mut far).await.ends_with("GET /1 "));
}

#[tokio::test]
async fn who_goes_is_missed_though_nobody_wants_its_body() {
    let (near, mut far) = duplex(1 << 16);
    let silent = |_: Request<Body>, _: &Gate| -> Answer {
        let (source, body) = crate::http::pipe::duplex(Body::empty());
        Box::leak(Box::new(source));
        Box::pin(async move { Ok(Response::new(body)) })
    };
    let client = async {
        let head = format!("POST / HTTP/1.1\r\n{HOST}content-length: 1000000\r\n\r\n");
        far.write_all(head.as_bytes()).await.expect("room");
        assert!(come(&mut far).await.starts_with("HTTP/1.1 200 OK\r\n"));
        far.write_all(&[b'x'; 200_000]).await.expect("it is dropped");
        drop(far);
    };
    let ((over, _), ()) = tokio::join!(serve(near, silent), client);
    assert!(matches!(over, Err(Broken::Closed)), "{over:?}");
}

#[tokio::test(start_paused = true)]
async fn an_early_answer_is_read_before_the_connection_goes() {
    let unread = |_: Request<Body>, _: &Gate| -> Answer {
        Box::pin(async { Ok(Response::new(Body::full("no"))) })
    };
    let (near, mut far) = duplex(64);
    let client = async move {
        let head = format!("POST / HTTP/1.1\r\n{HOST}content-length: 100000\r\n\r\n");
        far.write_all(head.as_bytes()).await.expect("it is read");
        // More than the pipe holds goes nowhere, but does not break it.
        far.write_all(&[b'x'; 50_000]).await.expect("it is read");
        let mut heard = String::new();
        far.read_to_string(&mut heard).await.expect("it ends");
        heard
    };
    let (heard, (over, _)) = tokio::join!(client, async {
        let (over, rest) = serve(near, unread).await;
        (over, rest)
    });
    assert!(
        heard.ends_with("connection: close\r\n\r\nno") || heard.ends_with("\r\n\r\nno"),
        "{heard}"
    );
    assert!(matches!(over, Ok(Over::Closed)));
}
