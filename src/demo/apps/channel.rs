//! gRPC's way out of an app: one HTTP/2 connection, made when it is first needed and again when it
//! is gone. Generated clients bring the messages.

use std::cell::RefCell;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use http::uri::Authority;
use http::{Request, Response};
use hyper::body::Incoming;
use tokio::net::TcpStream;
use tonic::body::Body;
use tonic::codegen::Service;

use crate::demo::client::CallError;
use crate::wire;

/// Calls one address; clones share the connection.
#[derive(Clone)]
pub(super) struct Channel {
    address: SocketAddr,
    authority: Authority,
    kept: Rc<RefCell<Option<wire::Channel>>>,
}

impl Channel {
    /// `authority` is who is meant, whatever listens at `address`.
    pub(super) fn new(address: SocketAddr, authority: Authority) -> Channel {
        Channel { address, authority, kept: Rc::default() }
    }

    /// A request that a leaving connection did not take any more goes over the next.
    async fn call(self, mut request: Request<Body>) -> Result<Response<Incoming>, CallError> {
        loop {
            let mut connection = self.connection().await?;
            match connection.send(request).await {
                Ok(response) => return Ok(response),
                Err(wire::Unsent { request: Some(unsent), .. }) => request = *unsent,
                Err(wire::Unsent { error, .. }) => return Err(CallError::Channel(error)),
            }
        }
    }

    async fn connection(&self) -> Result<wire::Channel, CallError> {
        let kept = self.kept.borrow().clone();
        if let Some(mut connection) = kept
            && connection.ready().await.is_ok()
        {
            return Ok(connection);
        }
        let stream = TcpStream::connect(self.address).await.map_err(CallError::Connect)?;
        stream.set_nodelay(true).map_err(CallError::Connect)?;
        let made = wire::Channel::plain(stream, self.authority.clone()).await;
        let connection = made.map_err(CallError::Channel)?;
        *self.kept.borrow_mut() = Some(connection.clone());
        Ok(connection)
    }
}

impl Service<Request<Body>> for Channel {
    type Response = Response<Incoming>;
    type Error = CallError;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Incoming>, CallError>>>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), CallError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        Box::pin(self.clone().call(request))
    }
}
