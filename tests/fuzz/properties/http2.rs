//! HTTP/2: whatever is said on a connection, and however it is cut, what reaches the app is a sound
//! request, and its body is as long as it says. And header blocks: what is read of one is written so
//! that it is read as the same.

use std::cell::RefCell;
use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;

use http::{Request, Response};
use http_body_util::BodyExt;
use outrigger::http::Body;
use outrigger::http::http2::Connection;
use outrigger::http::http2::hpack::{Decoder, Encoder, Field};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// The preface, and SETTINGS that say nothing.
const HELLO: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

type Answer = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>>>>;

pub fn hold(data: &[u8]) {
    for step in [data.len().max(1), 1, 13] {
        serve(data, step);
    }
    blocks(data);
}

/// Says all of it, `step` bytes at a time.
fn serve(data: &[u8], step: usize) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    let runtime = runtime.expect("a runtime");
    tokio::task::LocalSet::new().block_on(&runtime, async {
        let (near, far) = tokio::io::duplex(64 * 1024);
        let wrong = Rc::new(RefCell::new(None));
        let told = Rc::clone(&wrong);
        let served = tokio::task::spawn_local(Connection::new(
            far,
            move |request| -> Answer {
                let told = Rc::clone(&told);
                Box::pin(async move {
                    // A panic here would be contained.
                    if let Err(why) = look(request).await {
                        *told.borrow_mut() = Some(why);
                    }
                    Ok(Response::new(Body::full("seen")))
                })
            },
            false,
        ));
        let (mut hears, mut says) = tokio::io::split(near);
        let heard = tokio::task::spawn_local(async move {
            let mut bytes = [0; 4096];
            while hears.read(&mut bytes).await.is_ok_and(|read| read > 0) {}
        });
        for piece in [HELLO].into_iter().chain(data.chunks(step)) {
            if says.write_all(piece).await.is_err() {
                break;
            }
            tokio::task::yield_now().await;
        }
        let _ = says.shutdown().await;
        let served = served.await;
        assert!(served.is_ok(), "the connection panicked");
        heard.abort();
        assert_eq!(*wrong.borrow(), None);
    });
}

/// What is wrong with a request.
async fn look(request: Request<Body>) -> Result<(), String> {
    let (parts, body) = request.into_parts();
    for name in ["connection", "transfer-encoding", "upgrade", "keep-alive"] {
        if parts.headers.contains_key(name) {
            return Err(format!("{name} came through"));
        }
    }
    let is_odd = |byte: &u8| matches!(byte, b'\r' | b'\n' | 0);
    if parts.headers.values().any(|value| value.as_bytes().iter().any(is_odd)) {
        return Err("a value has a line break".to_owned());
    }
    if parts.method != http::Method::CONNECT && parts.uri.path_and_query().is_none() {
        return Err("it has no path".to_owned());
    }
    let length = parts.headers.get("content-length").map(|length| length.as_bytes().to_vec());
    let Ok(whole) = body.collect().await else { return Ok(()) };
    let come = whole.to_bytes().len();
    let says = |length: &Vec<u8>| std::str::from_utf8(length).ok()?.parse::<usize>().ok();
    match length {
        Some(length) if says(&length) != Some(come) => Err(format!("{come} bytes of {length:?}")),
        _ => Ok(()),
    }
}

/// A header block for each 64 bytes.
fn blocks(data: &[u8]) {
    let (mut first, mut second) = (Decoder::default(), Decoder::default());
    let mut encoder = Encoder::default();
    for block in data.chunks(64) {
        let (mut read, mut again) = (Vec::new(), Vec::new());
        let whole = first.decode(block, |field, _| read.extend(header(field)));
        let mut written = Vec::new();
        encoder.begin(&mut written);
        for (name, value) in &read {
            encoder.field(&mut written, name, value, false);
        }
        let rewritten = second.decode(&written, |field, _| again.extend(header(field)));
        assert!(rewritten.is_ok(), "what we write is no block");
        assert_eq!(read, again, "it is another block");
        if whole.is_err() {
            return;
        }
    }
}

fn header(field: &Field) -> Option<(String, Vec<u8>)> {
    match field {
        Field::Header(name, value) => Some((name.as_str().to_owned(), value.as_bytes().to_vec())),
        _ => None,
    }
}
