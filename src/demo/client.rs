//! A small HTTP/1.1 client with kept connections: what the apps and the load call each other with.
//!
//! Invariant: a request is sent once. A kept connection that turns out to be closed before it took
//! the request is replaced; nothing else is tried again, because failures are what the demo counts.

use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;

use bytes::Bytes;
use http::header::{HOST, HeaderMap, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::explain;
use super::idle::Idle;
use crate::http::headers::REASON;
use crate::runtime::hyper_io::HyperIo;
use crate::wire::ChannelError;

/// Why a call has no answer, or none that helps.
#[derive(Debug, thiserror::Error)]
pub(super) enum CallError {
    #[error("it can't be reached")]
    Connect(#[source] io::Error),
    #[error("the exchange broke off")]
    Http(#[source] hyper::Error),
    #[error("the call got nowhere")]
    Channel(#[source] ChannelError),
    #[error("the request can't be made")]
    Request(#[source] http::Error),
    #[error("it answered {status}{}: {body}", reason_text(.reason))]
    Answer { status: StatusCode, reason: Option<String>, body: String },
    #[error("it answered {code}{}: {message}", reason_text(.reason))]
    Grpc {
        code: tonic::Code,
        reason: Option<String>,
        message: String,
        /// The connection leaves, and the far side did not take the call.
        is_untaken: bool,
    },
    #[error("the connection broke off")]
    Tcp(#[source] io::Error),
    #[error("{received:?} came back for {sent:?}")]
    Echo { sent: String, received: String },
    #[error("no answer within {0:?}")]
    Timeout(std::time::Duration),
}

fn reason_text(reason: &Option<String>) -> String {
    reason.as_ref().map(|reason| format!(" ({reason})")).unwrap_or_default()
}

impl From<tonic::Status> for CallError {
    fn from(status: tonic::Status) -> CallError {
        let reason = status.metadata().get(REASON.as_str());
        let reason = reason.and_then(|reason| reason.to_str().ok()).map(str::to_owned);
        // Without an answer the message is only the first part of the cause.
        let message = status.source().map(explain).unwrap_or_else(|| status.message().to_owned());
        let is_untaken = status.source().is_some_and(is_farewell);
        CallError::Grpc { code: status.code(), reason, message, is_untaken }
    }
}

/// HTTP/2's GOAWAY without an error (RFC 9113, section 6.8).
fn is_farewell(error: &(dyn Error + 'static)) -> bool {
    let found = error.downcast_ref::<h2::Error>();
    let farewell = found
        .is_some_and(|error| error.is_go_away() && error.reason() == Some(h2::Reason::NO_ERROR));
    farewell || error.source().is_some_and(is_farewell)
}

type Sender = SendRequest<Full<Bytes>>;

/// Calls one address; clones share their connections.
#[derive(Clone)]
pub(super) struct Client {
    address: SocketAddr,
    host: Rc<str>,
    idle: Idle<Sender>,
}

impl Client {
    /// `host` is who is meant, whatever listens at `address`.
    pub(super) fn new(address: SocketAddr, host: &str) -> Client {
        Client { address, host: host.into(), idle: Idle::new() }
    }

    /// Status and body, whatever they are.
    ///
    /// # Errors
    /// When there is no answer.
    pub(super) async fn get(&self, path: &str) -> Result<(StatusCode, Bytes), CallError> {
        let (parts, body) = self.exchange(Method::GET, path, &HeaderMap::new()).await?.into_parts();
        Ok((parts.status, body))
    }

    /// The body of a successful answer.
    ///
    /// # Errors
    /// When there is none, or it says something else than success.
    pub(super) async fn call(
        &self,
        method: Method,
        path: &str,
        headers: &HeaderMap,
    ) -> Result<Bytes, CallError> {
        let (parts, body) = self.exchange(method, path, headers).await?.into_parts();
        if parts.status.is_success() {
            return Ok(body);
        }
        let reason = parts.headers.get(REASON).and_then(|reason| reason.to_str().ok());
        Err(CallError::Answer {
            status: parts.status,
            reason: reason.map(str::to_owned),
            body: String::from_utf8_lossy(&body).trim().to_owned(),
        })
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        headers: &HeaderMap,
    ) -> Result<Response<Bytes>, CallError> {
        let mut request = Request::new(Full::default());
        *request.method_mut() = method;
        *request.uri_mut() = path.parse().map_err(|e| CallError::Request(http::Error::from(e)))?;
        *request.headers_mut() = headers.clone();
        let host = HeaderValue::from_str(&self.host)
            .map_err(|error| CallError::Request(http::Error::from(error)))?;
        request.headers_mut().insert(HOST, host);
        loop {
            let (mut sender, born) = self.sender().await?;
            match sender.try_send_request(request).await {
                Ok(response) => {
                    let (parts, body) = response.into_parts();
                    let body = body.collect().await.map_err(CallError::Http)?.to_bytes();
                    self.idle.put(sender, born);
                    return Ok(Response::from_parts(parts, body));
                }
                Err(mut error) => match error.take_message() {
                    Some(unsent) => request = unsent,
                    None => return Err(CallError::Http(error.into_error())),
                },
            }
        }
    }

    /// A kept connection that is still good, or a new one.
    async fn sender(&self) -> Result<(Sender, Instant), CallError> {
        while let Some((mut sender, born)) = self.idle.take() {
            if sender.ready().await.is_ok() {
                return Ok((sender, born));
            }
        }
        let stream = TcpStream::connect(self.address).await.map_err(CallError::Connect)?;
        stream.set_nodelay(true).map_err(CallError::Connect)?;
        let (sender, connection) = handshake(HyperIo(stream)).await.map_err(CallError::Http)?;
        // Its error is also that of the exchange.
        tokio::task::spawn_local(connection);
        Ok((sender, Instant::now()))
    }
}
