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

/// A call without an answer.
#[derive(Debug, thiserror::Error)]
#[error("the call got nowhere")]
pub struct Unsent {
    #[source]
    pub error: ChannelError,
    /// The request, if nothing of it was sent.
    pub request: Option<Box<Request<Body>>>,
}

/// Calls over one connection.
#[derive(Clone)]
pub struct Channel {
    sender: SendRequest<Body>,
    scheme: Scheme,
    authority: Authority,
}

impl Channel {
    /// Speaks HTTP/2 on an open connection that keeps secrets, on this thread's runtime.
    ///
    /// # Errors
    /// When the far side doesn't.
    pub async fn over<IO>(io: IO, authority: Authority) -> Result<Self, ChannelError>
    where
        IO: AsyncRead + AsyncWrite + Unpin + 'static,
    {
        Self::open(io, Scheme::HTTPS, authority).await
    }

    /// As [`Channel::over`], on a connection that everybody may read.
    ///
    /// # Errors
    /// When the far side doesn't speak HTTP/2.
    pub async fn plain<IO>(io: IO, authority: Authority) -> Result<Self, ChannelError>
    where
        IO: AsyncRead + AsyncWrite + Unpin + 'static,
    {
        Self::open(io, Scheme::HTTP, authority).await
    }

    async fn open<IO>(io: IO, scheme: Scheme, authority: Authority) -> Result<Self, ChannelError>
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
        Ok(Self { sender, scheme, authority })
    }

    /// Waits until a call can be made.
    ///
    /// # Errors
    /// When the connection takes none any more.
    pub async fn ready(&mut self) -> Result<(), ChannelError> {
        self.sender.ready().await.map_err(ChannelError::Broken)
    }

    /// Whether it takes no call any more.
    pub fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }

    /// Makes a call.
    ///
    /// # Errors
    /// With the request, when nothing of it was sent: it may go over another connection.
    pub async fn send(&mut self, mut request: Request<Body>) -> Result<Response<Incoming>, Unsent> {
        let mut uri = std::mem::take(request.uri_mut()).into_parts();
        uri.scheme = Some(self.scheme.clone());
        uri.authority = Some(self.authority.clone());
        *request.uri_mut() = Uri::from_parts(uri).map_err(|error| {
            let error = ChannelError::Request(error.into());
            Unsent { error, request: None }
        })?;
        self.sender.try_send_request(request).await.map_err(|mut unsent| {
            let request = unsent.take_message().map(Box::new);
            Unsent { error: ChannelError::Broken(unsent.into_error()), request }
        })
    }
}

impl Service<Request<Body>> for Channel {
    type Response = Response<Incoming>;
    type Error = ChannelError;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Incoming>, ChannelError>>>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ChannelError>> {
        self.sender.poll_ready(cx).map_err(ChannelError::Broken)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let mut channel = self.clone();
        Box::pin(async move { channel.send(request).await.map_err(|unsent| unsent.error) })
    }
}
