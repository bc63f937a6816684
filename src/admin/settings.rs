//! What the configuration says about the admin port. Filled by `config`, read
//! once, when the listener is opened.

use std::net::{Ipv4Addr, SocketAddr};

/// The admin port's listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Where it listens; 127.0.0.1:15000 unless said.
    pub listen: SocketAddr,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings { listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 15000)) }
    }
}
