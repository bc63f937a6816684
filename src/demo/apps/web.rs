//! `web`, the shop's front: HTTP in, HTTP and gRPC out. It asks `prices` in each of gRPC's four
//! shapes, one a page.

use std::cell::Cell;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::uri::Authority;
use http::{HeaderMap, Method};
use tonic::metadata::MetadataMap;

use super::channel::Channel;
use super::http_server::App;
use super::prices::wire::prices_client::PricesClient;
use super::prices::wire::{Catalogue, Item, Price};
use super::{passed_on, peer};
use crate::demo::client::{CallError, Client};
use crate::demo::tally::{Edge, Tally};

/// What a basket holds.
const BASKET: [&str; 3] = ["rope", "paddle", "sail"];

/// The app, and whom it calls.
pub(super) struct Web {
    name: String,
    /// Of the last order.
    number: Cell<u64>,
    orders: Client,
    prices: PricesClient<Channel>,
    callers: Arc<Edge>,
    to_orders: Arc<Edge>,
    to_prices: Arc<Edge>,
}

impl Web {
    /// `orders` and `prices` are where they are called.
    pub(super) fn new(name: String, orders: SocketAddr, prices: SocketAddr, tally: &Tally) -> Web {
        let prices = Channel::new(prices, Authority::from_static("prices.shop:50051"));
        Web {
            name,
            number: Cell::new(0),
            orders: Client::new(orders, "orders.shop"),
            prices: PricesClient::new(prices),
            callers: tally.to("web"),
            to_orders: tally.to("orders"),
            to_prices: tally.to("prices"),
        }
    }

    async fn checkout(&self, item: &str, headers: &HeaderMap) -> Result<String, CallError> {
        self.number.set(self.number.get() + 1);
        let path = format!("/orders/{}-{}/{item}", self.name, self.number.get());
        let order = self.orders.call(Method::PUT, &path, headers);
        let order: Bytes = self.to_orders.timed(order).await?;
        let price =
            self.to_prices.timed(Self::asked(async || self.quote(item, headers).await)).await?;
        let order = String::from_utf8_lossy(&order);
        Ok(format!("{}; {}", order.trim_end(), show(&price)))
    }

    /// Makes a call, and again when a connection that was about to leave did not take it: what
    /// gRPC's own libraries do.
    async fn asked<T>(call: impl AsyncFn() -> Result<T, CallError>) -> Result<T, CallError> {
        loop {
            match call().await {
                Err(CallError::Grpc { is_untaken: true, .. }) => {}
                answer => return answer,
            }
        }
    }

    async fn quote(&self, item: &str, headers: &HeaderMap) -> Result<Price, CallError> {
        let request = with(Item { name: item.into() }, headers);
        Ok(self.prices.clone().quote(request).await?.into_inner())
    }

    async fn catalogue(&self, headers: &HeaderMap) -> Result<String, CallError> {
        let answers = self.prices.clone().list(with(Catalogue {}, headers)).await?.into_inner();
        all(answers).await
    }

    async fn basket(&self, headers: &HeaderMap) -> Result<String, CallError> {
        let total = self.prices.clone().total(with(basket(), headers)).await?.into_inner();
        Ok(show(&total))
    }

    async fn follow(&self, headers: &HeaderMap) -> Result<String, CallError> {
        let answers = self.prices.clone().follow(with(basket(), headers)).await?.into_inner();
        all(answers).await
    }
}

impl App for Web {
    async fn answer(
        &self,
        method: Method,
        path: &str,
        headers: &HeaderMap,
    ) -> Option<Result<String, CallError>> {
        self.callers.observe(peer(headers));
        let headers = &passed_on(headers);
        if method != Method::GET {
            return None;
        }
        Some(match path {
            "/catalogue" => {
                self.to_prices.timed(Self::asked(async || self.catalogue(headers).await)).await
            }
            "/basket" => {
                self.to_prices.timed(Self::asked(async || self.basket(headers).await)).await
            }
            "/follow" => {
                self.to_prices.timed(Self::asked(async || self.follow(headers).await)).await
            }
            _ => self.checkout(path.strip_prefix("/checkout/")?, headers).await,
        })
    }
}

fn with<T>(message: T, headers: &HeaderMap) -> tonic::Request<T> {
    let metadata = MetadataMap::from_headers(headers.clone());
    tonic::Request::from_parts(metadata, tonic::Extensions::new(), message)
}

fn basket() -> impl tonic::codegen::tokio_stream::Stream<Item = Item> + Send + 'static {
    tonic::codegen::tokio_stream::iter(BASKET.map(|name| Item { name: name.into() }))
}

async fn all(mut answers: tonic::Streaming<Price>) -> Result<String, CallError> {
    let mut lines = Vec::new();
    while let Some(price) = answers.message().await? {
        lines.push(show(&price));
    }
    Ok(lines.join("\n"))
}

fn show(Price { name, cents, by }: &Price) -> String {
    format!("{name} costs {}.{:02}, says {by}", cents / 100, cents % 100)
}
