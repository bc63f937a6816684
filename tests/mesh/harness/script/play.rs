//! How the steps of a script are done, over HTTP/1 and over HTTP/2.

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream};
use http::{HeaderMap, HeaderValue, Request, Response};

use super::super::grpc::{drain, frame, send_all};
use super::{Act, Message, Script, Step, Wire};

/// A body that drips, stalls or is cut.
const BODY: &[u8] = b"0123456789";

pub fn http(mut wire: Wire, script: &Script) {
    let Ok(at) = wire.stream.local_addr() else { return };
    while let Ok(request) = wire.message(false) {
        let is_head = request.method() == "HEAD";
        let (number, step) = script.take(at, request);
        thread::sleep(step.after);
        match step.act {
            Act::Status(code) => {
                let body = format!("{code} of call {number}");
                let body = if code == 200 { "ok".to_owned() } else { body };
                let head = head(code, &step, body.len());
                let body = if is_head { "" } else { &body };
                if wire.try_send([head.as_bytes(), body.as_bytes()].concat()).is_err() {
                    return script.was_left(number);
                }
            }
            Act::Drip(ms) => {
                let _ = wire.try_send(head(200, &step, BODY.len()));
                for byte in BODY {
                    thread::sleep(Duration::from_millis(ms));
                    if wire.try_send([*byte]).is_err() {
                        return script.was_left(number);
                    }
                }
            }
            _ => return end(wire, script, number, &step),
        }
    }
}

/// The steps that a connection does not outlive.
fn end(mut wire: Wire, script: &Script, number: usize, step: &Step) {
    let half = [head(200, step, BODY.len()).as_bytes(), &BODY[..4]].concat();
    match step.act {
        Act::Reset => wire.reset(),
        Act::HalfHead => {
            let _ = wire.try_send("HTTP/1.1 200 OK\r\ncontent-le");
        }
        Act::Cut => {
            let _ = wire.try_send(half);
            // What was sent is on its way before the end is.
            thread::sleep(Duration::from_millis(50));
            wire.reset();
        }
        Act::Stall | Act::Hang => {
            if matches!(step.act, Act::Stall) {
                let _ = wire.try_send(half);
            }
            if wire.is_over() {
                script.was_left(number);
            }
        }
        _ => {}
    }
}

fn head(code: u16, step: &Step, len: usize) -> String {
    let fields: String =
        step.headers().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    format!("HTTP/1.1 {code} Scripted\r\ncontent-length: {len}\r\n{fields}\r\n")
}

pub async fn grpc(
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    script: Arc<Script>,
    at: Option<SocketAddr>,
) {
    let (parts, mut body) = request.into_parts();
    let fields = parts.headers.iter().map(|(name, value)| {
        (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned())
    });
    let mut message = Message {
        start: format!("{} {} HTTP/2", parts.method, parts.uri.path()),
        headers: fields.collect(),
        ..Message::default()
    };
    message.body = drain(&mut body).await.0;
    let at = at.expect("it was told where it is before anyone could call it");
    let (number, step) = script.take(at, message);
    tokio::time::sleep(step.after).await;
    match step.act {
        Act::Grpc(code) if code != 0 => {
            let mut only = answer(200, &step);
            only.headers_mut().insert("grpc-status", HeaderValue::from(u16::from(code)));
            let _ = respond.send_response(only, true);
        }
        Act::Status(code) if code != 200 => {
            let _ = respond.send_response(answer(code, &step), true);
        }
        Act::Status(_) => message_and_status(respond, &step, 0).await,
        Act::Grpc(code) | Act::Late(code) => message_and_status(respond, &step, code).await,
        Act::Refused => respond.send_reset(Reason::REFUSED_STREAM),
        Act::Reset => respond.send_reset(Reason::INTERNAL_ERROR),
        _ => {
            if std::future::poll_fn(|cx| respond.poll_reset(cx)).await.is_ok() {
                script.was_left(number);
            }
        }
    }
}

async fn message_and_status(mut respond: SendResponse<Bytes>, step: &Step, code: u8) {
    let Ok(mut send) = respond.send_response(answer(200, step), false) else { return };
    send_all(&mut send, &frame(b"ok"), false).await;
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from(u16::from(code)));
    let _ = send.send_trailers(trailers);
}

fn answer(code: u16, step: &Step) -> Response<()> {
    let mut answer = Response::builder().status(code).header("content-type", "application/grpc");
    for (name, value) in step.headers() {
        answer = answer.header(name, value);
    }
    answer.body(()).expect("a response")
}
