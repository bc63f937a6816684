//! Plain HTTP on loopback, in place of an API server's own port.
//!
//! Recorder and replay both stand behind one. Who asks is told by the token of their kubeconfig.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;

use bytes::Bytes;
use http::{HeaderMap, Request, Response, header};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use outrigger::runtime::hyper_io::HyperIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::transcript::{Asked, Who};

/// Bytes on their way to whoever asked; an error breaks the connection.
pub type Parts = mpsc::Sender<Result<Frame<Bytes>, std::io::Error>>;
pub type Body = StreamBody<ReceiverStream<Result<Frame<Bytes>, std::io::Error>>>;

/// A body that is told piece by piece.
pub fn body() -> (Parts, Body) {
    let (parts, said) = mpsc::channel(64);
    (parts, StreamBody::new(ReceiverStream::new(said)))
}

/// A whole answer.
pub fn whole(status: u16, kind: &str, text: String) -> Response<Body> {
    let (parts, answer) = body();
    // There is room for one.
    let _ = parts.try_send(Ok(Frame::data(Bytes::from(text))));
    begin(status, kind, answer)
}

/// An answer of which more will be told.
pub fn begin(status: u16, kind: &str, answer: Body) -> Response<Body> {
    let response = Response::builder().status(status).header(header::CONTENT_TYPE, kind);
    response.body(answer).expect("a status and a type as a server sent them")
}

/// A request as it came, and its bytes.
pub async fn asked(request: Request<Incoming>) -> (Asked, Bytes) {
    let (head, body) = request.into_parts();
    let bytes = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let by = match text(&head.headers, header::AUTHORIZATION) {
        "Bearer mesh" => Who::Mesh,
        _ => Who::People,
    };
    let asked = Asked {
        by,
        method: head.method.as_str().to_owned(),
        path: head.uri.path_and_query().map_or("/", |path| path.as_str()).to_owned(),
        kind: match bytes.is_empty() {
            true => String::new(),
            false => text(&head.headers, header::CONTENT_TYPE).to_owned(),
        },
        body: serde_json::from_slice(&bytes).unwrap_or_default(),
    };
    (asked, bytes)
}

/// A header's text; empty where there is none.
pub fn text(headers: &HeaderMap, name: header::HeaderName) -> &str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

/// Serves until the runtime ends.
pub async fn serve<F, A>(answer: F) -> SocketAddr
where
    F: Fn(Request<Incoming>) -> A + Clone + Send + 'static,
    A: Future<Output = Response<Body>> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("it is bound");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let answer = answer.clone();
            let service = service_fn(move |request| {
                let answered = answer(request);
                async move { Ok::<_, Infallible>(answered.await) }
            });
            tokio::spawn(async move {
                let http = hyper::server::conn::http1::Builder::new();
                // Who went away is none of ours.
                let _ = http.serve_connection(HyperIo(stream), service).await;
            });
        }
    });
    address
}

/// How `who` reaches it.
pub fn kubeconfig(address: SocketAddr, who: Who) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "door",
        "clusters": [{"name": "door", "cluster": {"server": format!("http://{address}")}}],
        "users": [{"name": "who", "user": {"token": who.token()}}],
        "contexts": [{"name": "door", "context": {"cluster": "door", "user": "who"}}],
    })
}
