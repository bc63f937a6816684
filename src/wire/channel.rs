//! One HTTP/2 connection as a channel for generated clients.
//!
//! Who makes the connection checks whom it leads to; this only carries calls. Clones share it. When
//! it is gone every call fails, and whoever owns it makes another.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use http::uri::{Authority, Scheme};
use http::{Request, Response, Uri};
use hyper::body::Incoming;
use hyper::client::conn::http2::{Builder, SendRequest};
use tokio::io::{AsyncRead, AsyncWrite};
use tonic::body::Body;
use tonic::codegen::Service;

use crate::runtime::hyper_io::{HyperIo, OnWorker, WorkerTimer};

/// Between two pings on a connection without traffic.
const PING: Duration = Duration::from_secs(10);
/// A ping that is not answered for this long ends the connection.
const PONG: Duration = Duration::from_secs(5);

/// Why a call got nowhere.
#[derive(Debug, thiserror::Error)]
pub enum ChannelError {
    #[error("the connection broke off")]
    Broken(#[source] hyper::Error),
    #[error("the request can't be made")]
    Request(#[source] http::Error),
}

/// Calls over one connection.
#[derive(Clone)]
pub struct Channel {
    sender: SendRequest<Body>,
    authority: Authority,
}

impl Channel {
    /// Speaks HTTP/2 on an open connection, on this thread's runtime.
    ///
    /// # Errors
    /// When the far side doesn't.
    pub async fn over<IO>(io: IO, authority: Authority) -> Result<Self, ChannelError>
    where
        IO: AsyncRead + AsyncWrite + Unpin + 'static,
    {
        let (sender, connection) = Builder::new(OnWorker)
            .timer(WorkerTimer)
            .keep_alive_interval(PING)
            .keep_alive_timeout(PONG)
            .keep_alive_while_idle(true)
            .handshake(HyperIo(io))
            .await
            .map_err(ChannelError::Broken)?;
        // Its error is also that of the calls.
        tokio::task::spawn_local(connection);
        Ok(Self { sender, authority })
    }
}

impl Service<Request<Body>> for Channel {
    type Response = Response<Incoming>;
    type Error = ChannelError;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Incoming>, ChannelError>>>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ChannelError>> {
        self.sender.poll_ready(cx).map_err(ChannelError::Broken)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let mut uri = std::mem::take(request.uri_mut()).into_parts();
        uri.scheme = Some(Scheme::HTTPS);
        uri.authority = Some(self.authority.clone());
        let uri = Uri::from_parts(uri).map_err(|error| ChannelError::Request(error.into()));
        let mut sender = self.sender.clone();
        Box::pin(async move {
            *request.uri_mut() = uri?;
            sender.send_request(request).await.map_err(ChannelError::Broken)
        })
    }
}
