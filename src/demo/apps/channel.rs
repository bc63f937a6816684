//! gRPC's way out of an app: one HTTP/2 connection, made when it is first needed and again when it
//! is gone. Generated clients bring the messages.

use std::cell::RefCell;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::http2::{SendRequest, handshake};
use tokio::net::TcpStream;
use tonic::body::Body;
use tonic::codegen::Service;

use crate::demo::client::CallError;
use crate::runtime::hyper_io::{HyperIo, OnWorker};

/// Calls one address; clones share the connection.
#[derive(Clone)]
pub(super) struct Channel {
    address: SocketAddr,
    kept: Rc<RefCell<Option<SendRequest<Body>>>>,
}

impl Channel {
    pub(super) fn new(address: SocketAddr) -> Channel {
        Channel { address, kept: Rc::default() }
    }

    async fn call(self, request: Request<Body>) -> Result<Response<Incoming>, CallError> {
        let mut sender = self.sender().await?;
        sender.send_request(request).await.map_err(CallError::Http)
    }

    async fn sender(&self) -> Result<SendRequest<Body>, CallError> {
        let kept = self.kept.borrow().clone();
        if let Some(mut sender) = kept
            && sender.ready().await.is_ok()
        {
            return Ok(sender);
        }
        let stream = TcpStream::connect(self.address).await.map_err(CallError::Connect)?;
        stream.set_nodelay(true).map_err(CallError::Connect)?;
        let made = handshake(OnWorker, HyperIo(stream)).await;
        let (sender, connection) = made.map_err(CallError::Http)?;
        // Its error is also that of the calls.
        tokio::task::spawn_local(connection);
        *self.kept.borrow_mut() = Some(sender.clone());
        Ok(sender)
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
