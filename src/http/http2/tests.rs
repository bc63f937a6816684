//! Both ends over a pipe: with each other, and with another implementation.

mod late;
mod raw;

use std::cell::Cell;
use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response};
use http_body_util::BodyExt;
use tokio::io::{AsyncWriteExt, DuplexStream, duplex};
use tokio::task::{LocalSet, spawn_local};

use super::*;
use crate::http::Body;
use crate::http::pipe;

type Answer = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>>>>;

/// A pipe that holds so little that everything has to wait for room.
const NARROW: usize = 3_000;

fn run(test: impl Future<Output = ()>) {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_time().start_paused(true).build().expect("a runtime");
    LocalSet::new().block_on(&runtime, async {
        tokio::time::timeout(Duration::from_secs(600), test).await.expect("it does not hang");
    });
}

fn serve(io: DuplexStream, service: impl Fn(Request<Body>) -> Answer + 'static) {
    spawn_local(async move { Connection::new(io, service, false).await });
}

/// Answers with what it was sent, and its trailers, as it comes.
fn echo(request: Request<Body>) -> Answer {
    Box::pin(async move {
        let mut answer = Response::new(Body::empty());
        for (name, value) in request.headers() {
            answer.headers_mut().append(name, value.clone());
        }
        *answer.body_mut() = request.into_body();
        Ok(answer)
    })
}

fn ask(io: DuplexStream) -> Client {
    let (client, connection) = start(io, true);
    spawn_local(connection);
    client
}

fn request(method: Method, path: &str) -> http::request::Parts {
    let uri = format!("http://a.example{path}");
    let request = Request::builder().method(method).uri(uri).body(()).expect("a request");
    request.into_parts().0
}

/// Sends a request with its body, as the dialer does.
async fn send(client: &Client, parts: http::request::Parts, body: Body) -> Response<Body> {
    try_send(client, parts, body).await.expect("an answer")
}

async fn try_send(
    client: &Client,
    parts: http::request::Parts,
    body: Body,
) -> Result<Response<Body>, Broken> {
    let handle = client.send(&parts, body.is_empty())?;
    if !body.is_empty() {
        spawn_local(Pump::new(Rc::clone(&handle), body, Code::CANCEL));
    }
    let head = poll_fn(|cx| handle.poll_head(cx)).await?;
    Ok(head.map(|()| Body::stream(Receiver::new(handle))))
}

fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at * 7 % 251) as u8).collect()
}

async fn whole(body: Body) -> (Vec<u8>, Option<HeaderMap>) {
    let whole = body.collect().await.expect("all of it");
    let trailers = whole.trailers().cloned();
    (whole.to_bytes().to_vec(), trailers)
}

#[test]
fn what_is_sent_comes_back_through_the_narrowest_pipe() {
    run(async {
        let (near, far) = duplex(NARROW);
        serve(far, echo);
        let client = ask(near);
        let asked: Vec<_> = [0, 1, 1_000, 16_384, 100_000, 1 << 20]
            .into_iter()
            .flat_map(|length| [length; 3])
            .map(|length| {
                let mut parts = request(Method::POST, "/echo");
                parts.headers.insert("x-length", HeaderValue::from(length));
                let answer = send(&client, parts, Body::full(pattern(length)));
                async move {
                    let answer = answer.await;
                    assert_eq!(answer.headers()["x-length"], length.to_string());
                    assert_eq!(whole(answer.into_body()).await, (pattern(length), None));
                }
            })
            .collect();
        futures_util::future::join_all(asked).await;
        assert!(client.core_is_idle(), "nothing is kept of what is over");
    });
}

#[test]
fn trailers_and_a_body_without_a_length_are_passed_on() {
    run(async {
        let (near, far) = duplex(NARROW);
        serve(far, echo);
        let client = ask(near);
        let (mut writer, body) = pipe::duplex(Body::empty());
        let answer = send(&client, request(Method::POST, "/"), body).await;
        let mut body = answer.into_body();
        for piece in ["one", "two"] {
            writer.write_all(piece.as_bytes()).await.expect("room");
            let data = body.frame().await.expect("data").expect("whole").into_data();
            assert_eq!(data.expect("data"), piece);
        }
        writer.shutdown().await.expect("an end");
        assert!(body.frame().await.is_none());
        // Trailers, by another implementation.
        let (near, far) = duplex(NARROW);
        serve(far, echo);
        let (mut theirs, connection) = h2::client::handshake(near).await.expect("a connection");
        spawn_local(connection);
        let head = Request::post("http://a.example/").body(()).expect("a request");
        let (answer, mut body) = theirs.send_request(head, false).expect("sent");
        body.send_data("data".into(), false).expect("sent");
        let mut trailers = HeaderMap::new();
        trailers.insert("x-sum", HeaderValue::from_static("4"));
        body.send_trailers(trailers.clone()).expect("sent");
        let mut body = answer.await.expect("an answer").into_body();
        assert_eq!(body.data().await.expect("data").expect("whole"), "data");
        assert_eq!(body.trailers().await.expect("whole"), Some(trailers));
    });
}

#[test]
fn another_implementation_is_asked_and_answered() {
    run(async {
        // Theirs asks, with large bodies on many streams.
        let (near, far) = duplex(NARROW);
        serve(far, echo);
        let (theirs, connection) = h2::client::handshake(near).await.expect("a connection");
        spawn_local(connection);
        let asked = (0..40usize).map(|nth| {
            let mut theirs = theirs.clone();
            async move {
                let head = Request::post("http://a.example/").header("x-nth", nth).body(());
                let sent = theirs.send_request(head.expect("a request"), false);
                let (answer, mut to) = sent.expect("sent");
                let sent = pattern(nth * 5_000);
                to.send_data(sent.clone().into(), true).expect("sent");
                let answer = answer.await.expect("an answer");
                assert_eq!(answer.headers()["x-nth"], nth.to_string());
                let mut body = answer.into_body();
                let mut come = Vec::new();
                while let Some(data) = body.data().await {
                    let data = data.expect("whole");
                    let _ = body.flow_control().release_capacity(data.len());
                    come.extend_from_slice(&data);
                }
                assert_eq!(come, sent);
            }
        });
        futures_util::future::join_all(asked).await;
        // Theirs answers.
        let (near, far) = duplex(NARROW);
        spawn_local(async move {
            let mut theirs = h2::server::handshake(far).await.expect("a connection");
            while let Some(come) = theirs.accept().await {
                let (request, mut answer) = come.expect("a request");
                spawn_local(async move {
                    let head = Response::builder().header("x-path", request.uri().path()).body(());
                    let mut to = answer.send_response(head.expect("one"), false).expect("sent");
                    let mut body = request.into_body();
                    while let Some(data) = body.data().await {
                        let data = data.expect("whole");
                        let _ = body.flow_control().release_capacity(data.len());
                        to.send_data(data, false).expect("sent");
                    }
                    to.send_data(Bytes::new(), true).expect("sent");
                });
            }
        });
        let client = ask(near);
        for nth in 0..100usize {
            let path = format!("/{}", nth % 7);
            let sent = pattern(nth * 3_000);
            let answer = send(&client, request(Method::PUT, &path), Body::full(sent.clone())).await;
            assert_eq!(answer.headers()["x-path"], path);
            assert_eq!(whole(answer.into_body()).await.0, sent);
        }
    });
}

#[test]
fn an_answer_that_nobody_reads_stalls_nobody_else_and_keeps_little() {
    run(async {
        let (near, far) = duplex(64 * 1024);
        let sent = Rc::new(Cell::new(0));
        let told = Rc::clone(&sent);
        serve(far, move |request| {
            let told = Rc::clone(&told);
            Box::pin(async move {
                if request.uri().path() != "/endless" {
                    return Ok(Response::new(Body::full("short")));
                }
                let (mut writer, body) = pipe::duplex(Body::empty());
                spawn_local(async move {
                    while writer.write_all(&[0; 1_000]).await.is_ok() {
                        told.set(told.get() + 1_000);
                    }
                });
                Ok(Response::new(body))
            })
        });
        let client = ask(near);
        let endless = send(&client, request(Method::GET, "/endless"), Body::empty()).await;
        for _ in 0..50 {
            let answer = send(&client, request(Method::GET, "/"), Body::empty()).await;
            assert_eq!(whole(answer.into_body()).await.0, b"short");
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        let stalled = sent.get();
        assert!(stalled < 300_000, "{stalled}");
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(sent.get(), stalled, "it waits");
        drop(endless);
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(client.core_is_idle(), "it was reset");
    });
}

#[test]
fn a_request_that_is_taken_back_is_no_longer_answered() {
    run(async {
        let (near, far) = duplex(NARROW);
        let ended = Rc::new(Cell::new(0));
        let told = Rc::clone(&ended);
        struct Ends(Rc<Cell<u32>>);
        impl Drop for Ends {
            fn drop(&mut self) {
                self.0.set(self.0.get() + 1);
            }
        }
        serve(far, move |_| {
            let ends = Ends(Rc::clone(&told));
            Box::pin(async move {
                std::future::pending::<()>().await;
                drop(ends);
                Ok(Response::new(Body::empty()))
            })
        });
        let client = ask(near);
        for nth in 1..=500 {
            let handle = client.send(&request(Method::GET, "/"), true).expect("sent");
            tokio::time::sleep(Duration::from_millis(1)).await;
            assert_eq!(ended.get(), nth - 1);
            drop(handle);
            tokio::time::sleep(Duration::from_millis(1)).await;
            assert_eq!(ended.get(), nth);
        }
    });
}

#[test]
fn a_request_that_panics_takes_no_other_with_it() {
    run(async {
        let (near, far) = duplex(NARROW);
        serve(far, |request| {
            Box::pin(async move {
                assert!(request.uri().path() != "/panic", "rehearsed");
                tokio::time::sleep(Duration::from_secs(1)).await;
                Ok(Response::new(Body::full("well")))
            })
        });
        let client = ask(near);
        let well = send(&client, request(Method::GET, "/"), Body::empty());
        let panics = try_send(&client, request(Method::GET, "/panic"), Body::empty());
        let (well, panics) = tokio::join!(well, panics);
        assert!(matches!(panics, Err(Broken::Reset(Code::INTERNAL_ERROR))));
        assert_eq!(whole(well.into_body()).await.0, b"well");
    });
}

#[test]
fn whoever_leaves_answers_what_has_come_and_takes_nothing_new() {
    run(async {
        let (near, far) = duplex(NARROW);
        let leave = Rc::new(tokio::sync::Notify::new());
        let told = Rc::clone(&leave);
        let ended = spawn_local(async move {
            let answer = |_| -> Answer {
                Box::pin(async {
                    tokio::time::sleep(Duration::from_secs(2)).await;
                    Ok(Response::new(Body::full("late")))
                })
            };
            let mut connection = Connection::new(far, answer, false);
            tokio::select! {
                ended = &mut connection => return ended,
                () = told.notified() => connection.leave(),
            }
            connection.await
        });
        let client = ask(near);
        let first = send(&client, request(Method::GET, "/"), Body::empty());
        let ask = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            leave.notify_one();
            tokio::time::sleep(Duration::from_millis(100)).await;
            assert!(!client.is_open());
            let refused = client.send(&request(Method::GET, "/"), true).err();
            assert!(matches!(refused, Some(Broken::NotTaken)));
        };
        let (first, ()) = tokio::join!(first, ask);
        assert_eq!(whole(first.into_body()).await.0, b"late");
        assert!(ended.await.expect("no panic").is_ok());
    });
}

#[test]
fn a_client_without_requests_leaves_in_order_and_a_dead_peer_is_noticed() {
    run(async {
        let (near, far) = duplex(NARROW);
        let ended = spawn_local(Connection::new(far, echo, false));
        drop(ask(near));
        assert!(ended.await.expect("no panic").is_ok());
        // A peer that takes everything and says nothing.
        let (near, far) = duplex(1 << 20);
        let begun = tokio::time::Instant::now();
        let broken = try_send(&ask(near), request(Method::GET, "/"), Body::empty()).await;
        assert!(matches!(broken, Err(Broken::Silent)), "{:?}", broken.err());
        assert_eq!(begun.elapsed().as_secs(), 10);
        drop(far);
    });
}
