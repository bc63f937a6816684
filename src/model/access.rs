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

/// Whether what rules say of callers is done, or only recorded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mode {
    /// Decided and recorded: nobody is refused by a rule.
    Observe,
    /// The greater of the two: the stricter.
    #[default]
    Enforce,
}

impl Mode {
    /// As policies write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Mode::Observe => "observe",
            Mode::Enforce => "enforce",
        }
    }
}

/// What is done with a caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Action {
    Allow,
    /// The greater of the two: the stricter.
    Deny,
}

impl Action {
    /// As policies, metrics and audit entries write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Action::Allow => "allow",
            Action::Deny => "deny",
        }
    }
}

/// Which decisions are written down.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Audit {
    #[default]
    None,
    Denied,
    /// The greatest: whoever asks for most is heard.
    All,
}

impl Audit {
    /// As policies write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Audit::None => "none",
            Audit::Denied => "denied",
            Audit::All => "all",
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
