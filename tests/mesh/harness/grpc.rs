//! HTTP/2 and gRPC clients over `h2`: every frame is the scenario's own.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use h2::client::{ResponseFuture, SendRequest};
use h2::ext::Protocol;
use h2::{RecvStream, SendStream};
use http::{HeaderMap, Method, Request, Response};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::SOON;

/// A connection with prior knowledge.
pub struct H2Client(pub SendRequest<Bytes>);

/// A whole answer.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
    pub trailers: HeaderMap,
}

impl H2Client {
    pub async fn connect(to: SocketAddr) -> Self {
        Self::over(TcpStream::connect(to).await.expect("the sidecar listens")).await
    }

    /// The same on a stream that is there already.
    pub async fn over(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Self {
        let (send, connection) = h2::client::handshake(stream).await.expect("it speaks HTTP/2");
        tokio::spawn(async move {
            let _ = connection.await;
        });
        Self(send)
    }

    /// Begins a request; `end` when it has no body.
    pub async fn open(
        &self,
        request: Request<()>,
        end: bool,
    ) -> (ResponseFuture, SendStream<Bytes>) {
        let mut send = self.0.clone().ready().await.expect("the connection is open");
        send.send_request(request, end).expect("a request that may be sent")
    }

    /// Opens a WebSocket, by extended CONNECT (RFC 8441).
    pub async fn websocket(&self, uri: &str) -> (RecvStream, SendStream<Bytes>) {
        let enabled = || self.0.is_extended_connect_protocol_enabled();
        soon("SETTINGS_ENABLE_CONNECT_PROTOCOL", enabled).await;
        let mut request = Request::builder()
            .method(Method::CONNECT)
            .uri(uri)
            .header("sec-websocket-version", "13")
            .body(())
            .expect("a request");
        request.extensions_mut().insert(Protocol::from_static("websocket"));
        let (answer, send) = self.open(request, false).await;
        let response = head(answer).await;
        assert_eq!(response.status(), 200);
        (response.into_body(), send)
    }

    /// One request with its whole body.
    pub async fn ask(&self, request: Request<()>, body: &[u8]) -> Reply {
        let (answer, mut send) = self.open(request, body.is_empty()).await;
        if !body.is_empty() {
            send_all(&mut send, body, true).await;
        }
        reply(answer).await
    }

    /// One gRPC call, all messages at once.
    pub async fn call(&self, request: Request<()>, messages: &[&[u8]]) -> Reply {
        let (answer, mut send) = self.open(request, false).await;
        for message in messages {
            send_all(&mut send, &frame(message), false).await;
        }
        // A call that was refused at once may be over already.
        let _ = send.send_data(Bytes::new(), true);
        reply(answer).await
    }
}

impl Reply {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// From the trailers, or from the headers of a trailers-only answer.
    pub fn grpc_status(&self) -> Option<&str> {
        self.trailers.get("grpc-status").or(self.headers.get("grpc-status"))?.to_str().ok()
    }

    pub fn grpc_message(&self) -> Option<&str> {
        self.trailers.get("grpc-message").or(self.headers.get("grpc-message"))?.to_str().ok()
    }

    pub fn messages(&self) -> Vec<Vec<u8>> {
        unframe(&self.body)
    }
}

/// A gRPC request's head.
pub fn grpc_request(path: &str) -> http::request::Builder {
    Request::post(format!("http://app.default{path}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
}

/// A length-prefixed message.
pub fn frame(message: &[u8]) -> Bytes {
    let mut framed = BytesMut::with_capacity(message.len() + 5);
    framed.put_u8(0);
    framed.put_u32(u32::try_from(message.len()).expect("a message below 4 GiB"));
    framed.put_slice(message);
    framed.freeze()
}

/// The messages in a body.
pub fn unframe(mut body: &[u8]) -> Vec<Vec<u8>> {
    let mut messages = Vec::new();
    while !body.is_empty() {
        let len = u32::from_be_bytes([body[1], body[2], body[3], body[4]]) as usize;
        messages.push(body[5..5 + len].to_vec());
        body = &body[5 + len..];
    }
    messages
}

/// Waits for the whole answer.
pub async fn reply(answer: ResponseFuture) -> Reply {
    let response = head(answer).await;
    let (parts, mut body) = response.into_parts();
    let mut bytes = Vec::new();
    while let Some(data) = next(&mut body).await {
        bytes.extend_from_slice(&data.expect("the body comes whole"));
    }
    let trailers =
        timeout(SOON, body.trailers()).await.expect("in time").expect("trailers or none");
    Reply {
        status: parts.status.as_u16(),
        headers: parts.headers,
        body: bytes,
        trailers: trailers.unwrap_or_default(),
    }
}

/// Waits for the head of the answer.
pub async fn head(answer: ResponseFuture) -> Response<RecvStream> {
    timeout(SOON, answer).await.expect("in time").expect("an answer")
}

/// The next piece of a body; its window is given back.
pub async fn next(body: &mut RecvStream) -> Option<Result<Bytes, h2::Error>> {
    let data = timeout(SOON, body.data()).await.expect("in time")?;
    if let Ok(data) = &data {
        let _ = body.flow_control().release_capacity(data.len());
    }
    Some(data)
}

/// The next bytes of a body, at least so many.
pub async fn take(body: &mut RecvStream, len: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while bytes.len() < len {
        bytes.extend_from_slice(&next(body).await.expect("bytes").expect("no error"));
    }
    bytes
}

/// The whole body as far as it came, and how it ended.
pub async fn drain(body: &mut RecvStream) -> (Vec<u8>, Result<(), h2::Error>) {
    let mut bytes = Vec::new();
    while let Some(data) = next(body).await {
        match data {
            Ok(data) => bytes.extend_from_slice(&data),
            Err(error) => return (bytes, Err(error)),
        }
    }
    (bytes, Ok(()))
}

/// Sends within the other side's window.
pub async fn send_all(send: &mut SendStream<Bytes>, mut body: &[u8], end: bool) {
    while !body.is_empty() {
        send.reserve_capacity(body.len());
        let granted = timeout(SOON, std::future::poll_fn(|cx| send.poll_capacity(cx))).await;
        let Ok(Some(Ok(granted))) = granted else {
            return;
        };
        let (now, later) = body.split_at(granted.min(body.len()));
        let last = end && later.is_empty();
        if send.send_data(Bytes::copy_from_slice(now), last).is_err() {
            return;
        }
        body = later;
    }
}

/// As [`super::eventually`], without stopping the clients of this thread.
#[track_caller]
pub fn soon(what: &str, mut condition: impl FnMut() -> bool) -> impl Future<Output = ()> {
    let caller = std::panic::Location::caller();
    async move {
        let until = std::time::Instant::now() + SOON;
        while !condition() {
            assert!(std::time::Instant::now() < until, "{caller}: not within {SOON:?}: {what}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}
