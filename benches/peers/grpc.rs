//! gRPC-like calls: a message of 100 bytes each way and trailers, over plaintext HTTP/2.

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::client::SendRequest;
use h2::{RecvStream, server};
use http::{HeaderMap, HeaderValue, Request, Response};
use tokio::net::TcpStream;

use super::app;
use super::load::alone;

const CONNECTIONS: usize = 8;
const STREAMS: usize = 32;
/// Five bytes before a message: not compressed, and its length.
const MESSAGE: [u8; 100] = {
    let mut message = [b'm'; 100];
    (message[0], message[1], message[2], message[3], message[4]) = (0, 0, 0, 0, 95);
    message
};

/// Answers every call.
pub fn app() -> SocketAddr {
    app::start(serve)
}

async fn serve(stream: TcpStream) {
    stream.set_nodelay(true).expect("a TCP socket");
    let mut builder = server::Builder::new();
    builder.max_concurrent_streams(1_000);
    let Ok(mut connection) = builder.handshake::<_, Bytes>(stream).await else { return };
    while let Some(Ok((request, mut respond))) = connection.accept().await {
        tokio::task::spawn_local(async move {
            if read(request.into_body()).await.is_none() {
                return;
            }
            let response = Response::builder().header("content-type", "application/grpc");
            let response = response.body(()).expect("a response");
            // A caller that went away meanwhile needs no answer.
            if let Ok(mut body) = respond.send_response(response, false) {
                let _ = body.send_data(Bytes::from_static(&MESSAGE), false);
                let mut trailers = HeaderMap::new();
                trailers.insert("grpc-status", HeaderValue::from_static("0"));
                let _ = body.send_trailers(trailers);
            }
        });
    }
}

/// Bytes of the whole body, and its trailers.
async fn read(mut body: RecvStream) -> Option<(usize, Option<HeaderMap>)> {
    let mut bytes = 0;
    while let Some(data) = body.data().await {
        let data = data.ok()?;
        bytes += data.len();
        body.flow_control().release_capacity(data.len()).ok()?;
    }
    Some((bytes, body.trailers().await.ok()?))
}

/// Calls for so long; returns how many were answered.
pub fn run(address: SocketAddr, long: Duration) -> f64 {
    let answers = Rc::new(Cell::new(0.0));
    let until = Instant::now() + long;
    alone(async {
        let mut calling = Vec::new();
        for _ in 0..CONNECTIONS {
            let stream = TcpStream::connect(address).await.expect("a connection");
            stream.set_nodelay(true).expect("a TCP socket");
            let (send, connection) = h2::client::handshake(stream).await.expect("HTTP/2");
            tokio::task::spawn_local(connection);
            for _ in 0..STREAMS {
                let (send, answers) = (send.clone(), Rc::clone(&answers));
                calling.push(tokio::task::spawn_local(call(send, until, answers)));
            }
        }
        for calling in calling {
            calling.await.expect("every answer is as it should be");
        }
    });
    answers.get()
}

async fn call(mut send: SendRequest<Bytes>, until: Instant, answers: Rc<Cell<f64>>) {
    while Instant::now() < until {
        send = send.ready().await.expect("a stream");
        let request = Request::post("http://app.default/shop.Orders/Place")
            .header("content-type", "application/grpc")
            .header("te", "trailers");
        let request = request.body(()).expect("a request");
        let (response, mut body) = send.send_request(request, false).expect("sent");
        body.send_data(Bytes::from_static(&MESSAGE), true).expect("sent");
        let response = response.await.expect("an answer");
        assert_eq!(response.status(), 200);
        let (bytes, trailers) = read(response.into_body()).await.expect("a whole answer");
        let status = trailers.and_then(|trailers| trailers.get("grpc-status").cloned());
        assert_eq!((bytes, status), (MESSAGE.len(), Some(HeaderValue::from_static("0"))));
        answers.set(answers.get() + 1.0);
    }
}
