//! Our code's way to the API server: it can be cut, and somebody may stand in it who changes what
//! our code asks for.
//!
//! The same before a real server and before a transcript, so that what a cut breaks is the same.

use std::io::Error;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::BodyExt;
use kube::Client;
use kube::client::Body;
use serde_json::Value;
use tokio::sync::watch;
use tower::BoxError;

use super::door;

/// Changes a request, or keeps it.
pub type Fault = fn(&str, &mut String, &mut Value) -> Fate;

pub enum Fate {
    Passes,
    /// As if our code had never come to it.
    IsNeverMade,
}

/// Nothing is changed.
pub fn sound(_: &str, _: &mut String, _: &mut Value) -> Fate {
    Fate::Passes
}

/// Whether it is cut.
#[derive(Clone)]
pub struct Way(Arc<watch::Sender<bool>>);

impl Way {
    pub fn new() -> Self {
        Self(Arc::new(watch::Sender::new(false)))
    }

    /// Breaks what is open, and lets nothing begin.
    pub fn cut(&self) {
        self.0.send_replace(true);
    }

    pub fn mend(&self) {
        self.0.send_replace(false);
    }

    /// A client on this way.
    pub fn over(&self, client: Client, fault: Fault) -> Client {
        let namespace = client.default_namespace().to_owned();
        let way = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let (client, way) = (client.clone(), way.clone());
            async move { way.pass(client, request, fault).await }
        });
        Client::new(service, namespace)
    }

    async fn pass(
        self,
        client: Client,
        request: Request<Body>,
        fault: Fault,
    ) -> Result<Response<door::Body>, BoxError> {
        let mut cut = self.0.subscribe();
        if *cut.borrow() {
            return Err("cut off".into());
        }
        let request = altered(request, fault).await?;
        let (head, mut said) = client.send(request).await?.into_parts();
        let (feed, body) = door::body();
        tokio::spawn(async move {
            loop {
                let frame = tokio::select! {
                    _ = cut.wait_for(|cut| *cut) => Err(Error::other("cut off")),
                    () = feed.closed() => return,
                    frame = said.frame() => match frame {
                        Some(frame) => frame.map_err(Error::other),
                        None => return,
                    },
                };
                let is_end = frame.is_err();
                if feed.send(frame).await.is_err() || is_end {
                    return;
                }
            }
        });
        Ok(Response::from_parts(head, body))
    }
}

async fn altered(request: Request<Body>, fault: Fault) -> Result<Request<Body>, BoxError> {
    let (mut head, body) = request.into_parts();
    let bytes = body.collect_bytes().await?;
    let mut path = head.uri.to_string();
    let mut body: Value = serde_json::from_slice(&bytes).unwrap_or_default();
    let before = body.clone();
    if let Fate::IsNeverMade = fault(head.method.as_str(), &mut path, &mut body) {
        return std::future::pending().await;
    }
    head.uri = path.parse()?;
    let bytes = if body == before { bytes } else { Bytes::from(body.to_string()) };
    Ok(Request::from_parts(head, Body::from(bytes)))
}
