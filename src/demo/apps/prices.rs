//! `prices`: gRPC, one call of each shape.

use std::pin::Pin;
use std::sync::Arc;

use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use tokio::net::TcpListener;
use tonic::codegen::Service;
use tonic::codegen::tokio_stream::{self, Stream, StreamExt};
use tonic::{Request, Response, Status, Streaming};

use super::{attend_each, peer};
use crate::demo::tally::{Edge, Tally};
use crate::runtime::hyper_io::{HyperIo, OnWorker, WorkerTimer};

use wire::prices_server::{Prices, PricesServer};
use wire::{Catalogue, Item, Price};

/// Generated from `proto/outrigger/demo/v1/prices.proto`.
#[allow(clippy::allow_attributes_without_reason, reason = "generated")]
pub(super) mod wire {
    tonic::include_proto!("outrigger.demo.v1");
}

/// What there is, and what it costs in cents.
const PRICES: [(&str, u64); 4] =
    [("rope", 1_250), ("paddle", 4_900), ("sail", 32_000), ("outrigger", 98_000)];

/// The app.
#[derive(Clone)]
pub(super) struct Book {
    name: Arc<str>,
    callers: Arc<Edge>,
}

impl Book {
    pub(super) fn new(name: String, tally: &Tally) -> Book {
        Book { name: name.into(), callers: tally.to("prices") }
    }

    fn observe<T>(&self, request: Request<T>) -> T {
        self.callers.observe(peer(request.metadata().as_ref()));
        request.into_inner()
    }

    fn price(&self, Item { name }: &Item) -> Result<Price, Status> {
        let found = PRICES.iter().find(|(known, _)| known == name);
        match found {
            Some(&(name, cents)) => Ok(self.says(name, cents)),
            None => Err(Status::not_found(format!("the shop has no {name:?}"))),
        }
    }

    fn says(&self, name: &str, cents: u64) -> Price {
        Price { name: name.into(), cents, by: self.name.to_string() }
    }
}

type Answers = Pin<Box<dyn Stream<Item = Result<Price, Status>> + Send>>;

#[tonic::async_trait]
impl Prices for Book {
    type ListStream = Answers;
    type FollowStream = Answers;

    async fn quote(&self, request: Request<Item>) -> Result<Response<Price>, Status> {
        Ok(Response::new(self.price(&self.observe(request))?))
    }

    async fn list(&self, request: Request<Catalogue>) -> Result<Response<Answers>, Status> {
        let Catalogue {} = self.observe(request);
        let prices = PRICES.map(|(name, cents)| Ok(self.says(name, cents)));
        Ok(Response::new(Box::pin(tokio_stream::iter(prices))))
    }

    async fn total(&self, request: Request<Streaming<Item>>) -> Result<Response<Price>, Status> {
        let mut items = self.observe(request);
        let mut cents = 0;
        while let Some(item) = items.message().await? {
            cents += self.price(&item)?.cents;
        }
        Ok(Response::new(self.says("total", cents)))
    }

    async fn follow(&self, request: Request<Streaming<Item>>) -> Result<Response<Answers>, Status> {
        let book = self.clone();
        let items = self.observe(request);
        Ok(Response::new(Box::pin(items.map(move |item| book.price(&item?)))))
    }
}

/// Serves for as long as it is polled.
pub(super) async fn serve(listener: TcpListener, book: Book) {
    let server = PricesServer::new(book);
    let attend = move |stream| {
        let server = server.clone();
        let service =
            service_fn(move |request: http::Request<Incoming>| server.clone().call(request));
        http2::Builder::new(OnWorker).timer(WorkerTimer).serve_connection(HyperIo(stream), service)
    };
    attend_each(listener, attend).await;
}
