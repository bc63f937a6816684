//! The control plane's admin port: who is connected, what the mesh is taken to be, who signs.
//!
//! `/live`, `/ready` and `/metrics` answer anyone. In plaintext everything else answers this machine
//! only, under the rules of every admin port; over TLS, on the same port, it answers operators, by
//! their token or certificate. It changes nothing but the log's level: what the mesh is told is changed
//! through the API. `/` is the dashboard, `/pages` lists all that stands here as JSON. The process's
//! wiring calls [`serve`] once.

mod api;
mod guard;
mod pages;
mod server;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use arc_swap::ArcSwap;
use guard::Way;
use http::Request;
use serde_json::Value;

use super::Operators;
use super::catalog::Catalog;
use super::kube::Health;
use super::plaintext::Plaintext;
use super::sessions::Sessions;
use crate::runtime::Readiness;
use crate::telemetry::log::{LogHandle, Repeats};
use crate::telemetry::metrics::Registry;
use crate::tls::ControlServer;

pub use api::Api;
pub use server::serve;

/// Everything that the pages show.
pub struct View {
    pub catalog: Arc<Catalog>,
    pub registry: Registry,
    pub readiness: Readiness,
    pub log: LogHandle,
    pub sessions: Arc<Sessions>,
    pub plaintext: Arc<Plaintext>,
    /// What `/api` answers from.
    pub api: Api,
    /// How the cluster is watched, where one is.
    pub health: Option<Health>,
    /// The settings; secrets are not in it.
    pub config: Value,
    /// What `/ca` shows: the roots and the issuer, each with subject, serial, not-before and
    /// not-after. Called for each page, on a thread that may block.
    pub authorities: Box<dyn Fn() -> Value + Send + Sync>,
    /// How the lease of a registration stands (held, or when it ends), by `namespace/name`. Called
    /// as `authorities` is.
    pub lease_of: Box<dyn Fn(&str) -> Value + Send + Sync>,
}

/// The port: what it shows, and to whom.
pub struct Port {
    view: View,
    operators: Operators,
    tls: Arc<ArcSwap<ControlServer>>,
    /// Wrong tokens, by client.
    guesses: Mutex<Repeats>,
}

impl Port {
    /// Who comes over TLS must be one of `operators`. `tls`, which serves pages, is swapped when the
    /// control plane's certificate rotates.
    pub fn new(view: View, operators: Operators, tls: Arc<ArcSwap<ControlServer>>) -> Self {
        Self { view, operators, tls, guesses: Mutex::default() }
    }

    fn check<B>(
        &self,
        request: &Request<B>,
        client: SocketAddr,
        way: &Way,
    ) -> Result<(), guard::Refusal> {
        guard::check(request, client, way, &self.operators, &self.view.catalog.revoked())
    }

    /// Somebody guessed. Whoever does so in a loop is in the log every few seconds.
    fn guessed(&self, client: SocketAddr) {
        let mut guesses = self.guesses.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(left_out) = guesses.note(&client.ip().to_string(), Instant::now()) else { return };
        tracing::warn!(%client, left_out, "a wrong operator token was shown on the admin port");
    }
}
