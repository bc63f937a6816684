//! Asks over gRPC: `grpc.health.v1.Health/Check` on an HTTP/2 connection of its own, without TLS.
//! SERVING is well; everything else, a server that has no health service among it, is not.

use bytes::{BufMut, Bytes, BytesMut};
use h2::RecvStream;
use http::{HeaderMap, Request, StatusCode, header};
use prost::Message;

use super::Grpc;
use super::target::{Asker, Verdict, authority, dial_app};
use crate::http::respond::chain;

const CHECK: &str = "/grpc.health.v1.Health/Check";
/// A message's length, after a byte that says whether it is compressed.
const PREFIX_BYTES: usize = 5;
/// The answer has one field. Arbitrary.
const ANSWER_BYTES: usize = 10 << 10;

/// `grpc.health.v1.HealthCheckRequest`
#[derive(Clone, PartialEq, Message)]
struct CheckRequest {
    #[prost(string, tag = "1")]
    service: String,
}

/// `grpc.health.v1.HealthCheckResponse`
#[derive(Clone, PartialEq, Message)]
struct CheckResponse {
    #[prost(int32, tag = "1")]
    status: i32,
}

/// The names of `ServingStatus`, by number.
const STATUSES: [&str; 4] = ["UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN"];
const SERVING: i32 = 1;
const UNIMPLEMENTED: &[u8] = b"12";

pub(super) async fn ask(grpc: &Grpc, asker: &Asker) -> Verdict {
    let stream = dial_app(grpc.port, asker).await?;
    let handshake = h2::client::handshake(stream).await;
    let (send, connection) = handshake.map_err(|error| broke(&error))?;
    let mut call = std::pin::pin!(call(grpc, asker, send));
    // The connection lives in this future, so that a probe that is given up leaves nothing behind.
    tokio::select! {
        verdict = &mut call => verdict,
        _ = connection => call.await,
    }
}

fn broke(error: &h2::Error) -> String {
    format!("the app gave no whole answer over HTTP/2: {}", chain(error))
}

async fn call(grpc: &Grpc, asker: &Asker, send: h2::client::SendRequest<Bytes>) -> Verdict {
    let mut send = send.ready().await.map_err(|error| broke(&error))?;
    let request = Request::post(format!("http://{}{CHECK}", authority(asker.own, grpc.port)))
        .header(header::CONTENT_TYPE, "application/grpc")
        .header(header::TE, "trailers")
        .header(header::USER_AGENT, asker.agent.clone())
        .body(())
        .map_err(|error| format!("the call can't be made: {error}"))?;
    let (answer, mut body) = send.send_request(request, false).map_err(|error| broke(&error))?;
    // A server that refused already says so in its answer.
    let _ = body.send_data(framed(&CheckRequest { service: grpc.service.clone() }), true);
    let (head, mut body) = answer.await.map_err(|error| broke(&error))?.into_parts();
    if head.status != StatusCode::OK {
        return Err(format!("the app answered {} to a gRPC call", head.status));
    }
    if head.headers.contains_key("grpc-status") {
        return judge(&head.headers, &[]);
    }
    let message = read(&mut body).await?;
    let trailers = body.trailers().await.map_err(|error| broke(&error))?;
    judge(&trailers.unwrap_or_default(), &message)
}

fn framed(message: &CheckRequest) -> Bytes {
    let mut framed = BytesMut::with_capacity(PREFIX_BYTES + message.encoded_len());
    framed.put_u8(0);
    framed.put_u32(u32::try_from(message.encoded_len()).unwrap_or(u32::MAX));
    framed.put_slice(&message.encode_to_vec());
    framed.freeze()
}

async fn read(body: &mut RecvStream) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    while let Some(data) = body.data().await {
        let data = data.map_err(|error| broke(&error))?;
        if bytes.len() + data.len() > ANSWER_BYTES {
            return Err(format!("the app answered more than {ANSWER_BYTES} bytes"));
        }
        // Never more than a fraction of the window, so that none is given back.
        bytes.extend_from_slice(&data);
    }
    Ok(bytes)
}

fn judge(trailers: &HeaderMap, message: &[u8]) -> Verdict {
    let status = trailers.get("grpc-status").map(|status| status.as_bytes());
    match status {
        Some(b"0") => {}
        Some(UNIMPLEMENTED) => {
            return Err("the app has no grpc.health.v1.Health, which a gRPC probe asks".into());
        }
        Some(code) => {
            let said = trailers.get("grpc-message").map(|said| said.as_bytes()).unwrap_or_default();
            let (code, said) = (String::from_utf8_lossy(code), String::from_utf8_lossy(said));
            return Err(format!("the app answered gRPC status {code}: {said}"));
        }
        None => return Err("the app's answer ended without a gRPC status".into()),
    }
    let is_plain = message.first() == Some(&0);
    let body = message.get(PREFIX_BYTES..).filter(|_| is_plain);
    let answer = body.and_then(|body| CheckResponse::decode(body).ok());
    let Some(CheckResponse { status }) = answer else {
        return Err("the app's answer is no HealthCheckResponse".into());
    };
    let name = usize::try_from(status).ok().and_then(|at| STATUSES.get(at).copied());
    let said = format!("the app answered {}", name.unwrap_or("a status that nobody knows"));
    if status == SERVING { Ok(said) } else { Err(said) }
}
