//! Between everybody and a real API server: passes everything on, and writes it down.
//!
//! A request is noted before the server hears it and an answer before anybody else does, so that what
//! follows from something always stands after it.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::{Request, Response, header};
use http_body_util::BodyExt;
use hyper::body::{Frame, Incoming};
use serde_json::Value;

use super::door::{self, Body, Parts, asked, begin, text, whole};
use super::transcript::{Asked, Line, Who};

#[derive(Default)]
struct Tape {
    lines: Vec<Line>,
    requests: usize,
}

#[derive(Clone)]
pub struct Recorder {
    tape: Arc<Mutex<Tape>>,
    server: kube::Client,
}

impl Recorder {
    /// Serves on loopback what `server` says.
    pub async fn start(server: kube::Client) -> (Self, SocketAddr) {
        let version = server.apiserver_version().await.expect("it says which it is");
        let recorder = Self { tape: Arc::default(), server };
        let outrigger = env!("CARGO_PKG_VERSION").to_owned();
        recorder.note(Line::About { api_server: version.git_version, outrigger });
        let passing = recorder.clone();
        let address = door::serve(move |request| passing.clone().pass(request)).await;
        (recorder, address)
    }

    pub fn mark(&self, name: &str) {
        self.note(Line::Mark(name.to_owned()));
    }

    /// The server called our webhook: for the write of people that it has not answered yet. What is
    /// tried beside the recording is none.
    pub fn called(&self, review: Value, answer: Value) {
        let mut tape = self.tape.lock().unwrap_or_else(PoisonError::into_inner);
        let is_open = |id: &usize| {
            !tape.lines.iter().any(|line| matches!(line, Line::Head { to, .. } if to == id))
        };
        let to = tape.lines.iter().rev().find_map(|line| match line {
            Line::Request { id, asked } if asked.is_write() && asked.by == Who::People => Some(*id),
            _ => None,
        });
        if let Some(to) = to.filter(is_open) {
            tape.lines.push(Line::Call { to, review, answer });
        }
    }

    /// Everything until now.
    pub fn lines(&self) -> Vec<Line> {
        self.tape.lock().unwrap_or_else(PoisonError::into_inner).lines.clone()
    }

    fn note(&self, line: Line) {
        self.tape.lock().unwrap_or_else(PoisonError::into_inner).lines.push(line);
    }

    fn begin(&self, asked: Asked) -> usize {
        let mut tape = self.tape.lock().unwrap_or_else(PoisonError::into_inner);
        let id = tape.requests;
        tape.requests += 1;
        tape.lines.push(Line::Request { id, asked });
        id
    }

    async fn pass(self, request: Request<Incoming>) -> Response<Body> {
        let accept = text(request.headers(), header::ACCEPT).to_owned();
        let (asked, bytes) = asked(request).await;
        let (to, is_watch) = (self.begin(asked.clone()), asked.is_watch());
        let mut onward = Request::builder().method(&*asked.method).uri(&asked.path);
        for (name, value) in [(header::ACCEPT, &accept), (header::CONTENT_TYPE, &asked.kind)] {
            if !value.is_empty() {
                onward = onward.header(name, value);
            }
        }
        let onward = onward.body(kube::client::Body::from(bytes.to_vec())).expect("as it came");
        let Ok(from) = self.server.send(onward).await else {
            return whole(503, "text/plain", "the API server is away".to_owned());
        };
        let (head, mut said) = from.into_parts();
        let kind = text(&head.headers, header::CONTENT_TYPE).to_owned();
        self.note(Line::Head { to, status: head.status.as_u16() });
        let (feed, answer) = door::body();
        tokio::spawn(async move {
            let mut rest = Vec::new();
            loop {
                let frame = tokio::select! {
                    frame = said.frame() => frame,
                    () = feed.closed() => return,
                };
                match frame {
                    Some(Ok(frame)) => {
                        rest.extend_from_slice(&frame.into_data().unwrap_or_default());
                    }
                    Some(Err(error)) => {
                        let _ = feed.send(Err(std::io::Error::other(error.to_string()))).await;
                        return;
                    }
                    None => {
                        self.part(to, rest, &feed).await;
                        self.note(Line::End { to });
                        return;
                    }
                }
                // Each event of a watch is a line.
                while let Some(end) = rest.iter().position(|byte| is_watch && *byte == b'\n') {
                    let later = rest.split_off(end + 1);
                    self.part(to, std::mem::replace(&mut rest, later), &feed).await;
                }
            }
        });
        begin(head.status.as_u16(), &kind, answer)
    }

    async fn part(&self, to: usize, bytes: Vec<u8>, feed: &Parts) {
        if bytes.is_empty() {
            return;
        }
        let body = serde_json::from_slice(&bytes);
        let body = body.unwrap_or_else(|_| String::from_utf8_lossy(&bytes).into());
        self.note(Line::Part { to, body });
        let _ = feed.send(Ok(Frame::data(Bytes::from(bytes)))).await;
    }
}
