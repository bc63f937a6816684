//! What is asked of who calls a workload, and who called it without giving it.
//!
//! Said by policies, kept by the access room, reported by the inbound wing.

/// Whether callers must prove who they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mtls {
    /// Those who come in plaintext are let in too.
    Permissive,
    /// Only mutual TLS is let in. The greater of the two: the stricter.
    #[default]
    Strict,
}

impl Mtls {
    /// As policies write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Mtls::Strict => "strict",
            Mtls::Permissive => "permissive",
        }
    }
}

/// Somebody who was let in without proving who it is, at one port of the app.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlaintextCaller {
    pub address: std::net::IpAddr,
    /// The app's.
    pub port: u16,
    /// Since this sidecar began to count.
    pub connections: u64,
    /// How long ago the first of them came.
    pub first: std::time::Duration,
    /// How long ago the last of them came.
    pub last: std::time::Duration,
}
