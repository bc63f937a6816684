//! A port of the app, and where the app listens.

use std::net::SocketAddr;
use std::sync::Arc;

use http::uri::Authority;

use crate::dial::Far;
use crate::model::{Endpoint, Protocol, Timeouts};

/// Where inbound traffic of one port goes.
#[derive(Debug)]
pub struct AppPort {
    /// The metric label and log field: `service-account.namespace:port`.
    pub label: Arc<str>,
    pub protocol: Protocol,
    pub app: Endpoint,
    pub authority: Authority,
    pub timeouts: Timeouts,
}

impl AppPort {
    /// `workload` is the service account and namespace, joined by a dot.
    pub fn new(workload: &str, app: SocketAddr, protocol: Protocol) -> Arc<Self> {
        Arc::new(Self {
            label: format!("{workload}:{}", app.port()).into(),
            protocol,
            app: Endpoint::new(app, None, workload.into(), None, 1),
            authority: Authority::try_from(app.to_string())
                .unwrap_or_else(|_| Authority::from_static("app")),
            timeouts: Timeouts::default(),
        })
    }

    /// `keeps_case` where header names came as the caller wrote them.
    pub fn far(&self, keeps_case: bool) -> Far<'static> {
        Far::plain(self.app.address, self.timeouts.connect, keeps_case)
    }
}
