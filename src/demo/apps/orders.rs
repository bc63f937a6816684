//! `orders`: HTTP in, TCP out. Every order is a line in the ledger.

use std::cell::Cell;
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
    number: Cell<u64>,
    ledger: Ledger,
    callers: Arc<Edge>,
    to_ledger: Arc<Edge>,
}

impl Orders {
    /// `ledger` is where the ledger is called.
    pub(super) fn new(name: String, ledger: SocketAddr, tally: &Tally) -> Orders {
        Orders {
            name,
            number: Cell::new(0),
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
        let item = path.strip_prefix("/orders/").filter(|_| method == Method::POST)?;
        self.number.set(self.number.get() + 1);
        let order = format!("order {} of {item} at {}", self.number.get(), self.name);
        let entered = self.to_ledger.timed(self.ledger.enter(&order)).await;
        Some(entered.map(|by| format!("{order}, entered by {by}")))
    }
}
