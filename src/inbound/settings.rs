//! What the configuration says about traffic to the app. Filled by `config`,
//! which has already refused addresses that can't work (an app address that is
//! one of the sidecar's own); read once, when the listeners are opened.

use std::net::SocketAddr;

use crate::model::Protocol;

/// The inbound wing's listeners.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Transparent listeners: the original destination names the app's port.
    pub listen: Vec<SocketAddr>,
    /// How connections come to those.
    pub mode: Mode,
    /// Explicit listeners, one for each port of the app.
    pub ports: Vec<Port>,
}

/// How the interception rules hand a connection over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Its destination is rewritten, and netfilter knows what it was. The app sees a connection of
    /// its own pod.
    #[default]
    Redirect,
    /// It comes as it was. The app sees the client's address. Needs CAP_NET_ADMIN at run time.
    Tproxy,
}

/// A listener for one port of the app.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    /// What services' `targetPort` calls it.
    pub name: Option<String>,
    /// Where peers connect.
    pub listen: SocketAddr,
    /// Where the app listens.
    pub app: SocketAddr,
    /// What the port carries, when declared.
    pub protocol: Protocol,
}
