//! `orders`: HTTP in, TCP out. Every order is a line in the ledger.
//!
//! The caller says which order it is, so that one that is placed twice is the same order: PUT, which
//! may be sent again when nobody knows whether it arrived.

use std::net::SocketAddr;
use std::sync::Arc;

use http::{HeaderMap, Method};

use super::http_server::App;
use super::ledger::Ledger;
use super::peer;
use crate::demo::client::CallError;
use crate::demo::tally::{Edge, Tally};

/// The app, and whom it calls.
pub(super) struct Orders {
    name: String,
    ledger: Ledger,
    callers: Arc<Edge>,
    to_ledger: Arc<Edge>,
}

impl Orders {
    /// `ledger` is where the ledger is called.
    pub(super) fn new(name: String, ledger: SocketAddr, tally: &Tally) -> Orders {
        Orders {
            name,
            ledger: Ledger::new(ledger),
            callers: tally.to("orders"),
            to_ledger: tally.to("ledger"),
        }
    }
}

impl App for Orders {
    async fn answer(
        &self,
        method: Method,
        path: &str,
        headers: &HeaderMap,
    ) -> Option<Result<String, CallError>> {
        self.callers.observe(peer(headers));
        let path = path.strip_prefix("/orders/").filter(|_| method == Method::PUT)?;
        let (order, item) = path.split_once('/')?;
        let order = format!("order {order} of {item} at {}", self.name);
        let entering = self.ledger.enter(&order, || self.to_ledger.repeat());
        let entered = self.to_ledger.timed(entering).await;
        Some(entered.map(|by| format!("{order}, entered by {by}")))
    }
}
