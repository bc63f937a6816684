//! Looks after a running demo: draws the live table, notices sidecars that leave, and asks the
//! ledger's sidecars who is connected (opaque bytes carry no header that could say it).

use std::cell::RefCell;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::client::Client;
use super::fleet::Fleet;
use super::table::{self, Screen};
use super::tally::{Edge, Tally};
use super::toll::Toll;
use super::{Options, is_watched};

/// Fast enough to look alive, slow enough to read.
const FRAME: Duration = Duration::from_millis(500);

/// What is looked at.
pub(super) struct Watch {
    tally: Arc<Tally>,
    ledger: Arc<Edge>,
    /// The admin ports of the ledger's sidecars.
    admins: Vec<Client>,
    screen: Option<Screen>,
    rate: u32,
}

impl Watch {
    pub(super) fn new(fleet: &Fleet, tally: Arc<Tally>, options: &Options) -> Watch {
        let admin = |address: std::net::SocketAddr| Client::new(address, &address.to_string());
        Watch {
            ledger: tally.to("ledger"),
            admins: fleet.of("ledger").map(|instance| admin(instance.admin)).collect(),
            screen: is_watched().then(Screen::default),
            rate: options.rate,
            tally,
        }
    }

    /// Until it is dropped. `toll`: what the chaos does, where there is one.
    pub(super) async fn follow(
        &mut self,
        fleet: &RefCell<Fleet>,
        toll: Option<&RefCell<Toll>>,
    ) -> Infallible {
        let count = fleet.borrow().members.len();
        let mut frames = interval(FRAME);
        frames.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            frames.tick().await;
            self.look(fleet).await;
            if let Some(screen) = &mut self.screen {
                let head = format!("{} sidecars · {} requests/s", count, self.rate);
                let toll = toll.map(|toll| toll.borrow().to_string());
                screen.draw(&table::live(&self.tally, &head, toll.as_deref()));
            }
        }
    }

    /// A last look, before anything is closed; the live table goes, the result replaces it.
    pub(super) async fn finish(&mut self, fleet: &RefCell<Fleet>) {
        self.look(fleet).await;
        if let Some(screen) = &mut self.screen {
            screen.draw("");
        }
    }

    async fn look(&mut self, fleet: &RefCell<Fleet>) {
        let lost = fleet.borrow_mut().newly_lost();
        for lost in lost {
            self.tally.happened(lost);
        }
        for admin in &self.admins {
            // Without an answer nothing is observed, and what was not observed is not claimed.
            if let Ok(Ok((_, body))) = timeout(FRAME, admin.get("/connections")).await {
                observe(&body, &self.ledger);
            }
        }
    }
}

/// Records the peers of the connections that came in. One that is not known to be TCP is still
/// introducing itself.
fn observe(answer: &[u8], edge: &Edge) {
    let Ok(answer) = serde_json::from_slice::<Value>(answer) else {
        return;
    };
    let connections = answer.get("connections").and_then(Value::as_array);
    for connection in connections.into_iter().flatten() {
        let text = |field| connection.get(field).and_then(Value::as_str);
        if text("direction") == Some("inbound") && text("protocol") == Some("tcp") {
            edge.observe(text("peer"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peers_are_those_of_inbound_connections() {
        let (named, nameless) = (
            r#"{"direction":"inbound","protocol":"tcp","peer":"spiffe://a"}"#,
            r#"{"direction":"inbound","protocol":"tcp","peer":null}"#,
        );
        let rows = [
            (named.to_owned(), true),
            (nameless.to_owned(), false),
            (format!("{named},{nameless}"), false),
            (named.replace("inbound", "outbound"), false),
            (format!("{named},{}", nameless.replace("tcp", "unknown")), true),
            (String::new(), false),
        ];
        for (answer, mtls) in rows {
            let edge = Edge::new("orders", "ledger", "tcp");
            observe(format!("{{\"connections\":[{answer}]}}").as_bytes(), &edge);
            assert_eq!(edge.is_mtls(), mtls, "{answer}");
        }
    }
}
