//! What the configuration says about traffic from the app. Filled by `config`,
//! read once, when the listeners are opened.

use std::net::SocketAddr;

use crate::model::ServiceName;

/// The outbound wing's listeners, and what happens to strangers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Transparent listeners; HTTP sent here on purpose is routed by its Host.
    pub listen: Vec<SocketAddr>,
    /// Explicit listeners, one for each service.
    pub upstreams: Vec<Upstream>,
    /// What is done with destinations that the mesh doesn't know.
    pub unknown: Unknown,
}

/// A listener whose traffic goes to one service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upstream {
    /// Where the app connects.
    pub listen: SocketAddr,
    /// Where it gets.
    pub service: ServiceName,
}

/// What is done with destinations that the mesh doesn't know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Unknown {
    /// They are reached unmeshed.
    #[default]
    Pass,
    /// They are refused.
    Deny,
}
