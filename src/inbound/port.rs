//! A port of the app, and where the app listens.

use std::net::SocketAddr;
use std::sync::Arc;

use http::uri::Authority;

use crate::dial::Far;
use crate::model::{Endpoint, Protocol, Timeouts};
use crate::runtime::Exempt;

/// Where inbound traffic of one port goes.
#[derive(Debug)]
pub struct AppPort {
    /// The metric label and log field: `service-account.namespace:port`.
    pub label: Arc<str>,
    pub protocol: Protocol,
    pub app: Endpoint,
    pub authority: Authority,
    pub timeouts: Timeouts,
    pub exempt: Exempt,
}

impl AppPort {
    /// `workload` is the service account and namespace, joined by a dot.
    pub fn new(workload: &str, app: SocketAddr, protocol: Protocol, exempt: Exempt) -> Arc<Self> {
        Arc::new(Self {
            label: format!("{workload}:{}", app.port()).into(),
            protocol,
            app: Endpoint::new(app, None, workload.into(), None, 1),
            authority: Authority::try_from(app.to_string())
                .unwrap_or_else(|_| Authority::from_static("app")),
            timeouts: Timeouts::default(),
            exempt,
        })
    }

    /// The app's.
    pub fn number(&self) -> u16 {
        self.app.address.port()
    }

    /// `keeps_case` where header names came as the caller wrote them.
    pub fn far(&self, keeps_case: bool) -> Far<'static> {
        let plain = Far::plain(self.app.address, self.timeouts.connect, keeps_case);
        Far { exempt: self.exempt, ..plain }
    }
}
