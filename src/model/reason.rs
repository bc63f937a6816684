//! Why a proxy answered or closed by itself: exactly one word for every such response.
//!
//! The same word is the header `x-outrigger-reason`, the metric label, the log field and the span
//! attribute. Status codes and sentences are `http/respond.rs`'s; what to do about each, `advice`'s.

macro_rules! reasons {
    ($($variant:ident = $word:literal,)*) => {
        /// See the table "Reasons" in the documentation.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum Reason { $($variant,)* }

        impl Reason {
            /// Every reason, in the order of the table.
            pub const ALL: &[Reason] = &[$(Reason::$variant,)*];

            /// The word that users see.
            pub const fn as_str(self) -> &'static str {
                match self { $(Reason::$variant => $word,)* }
            }

            /// The reason that a peer's header names.
            pub fn parse(word: &[u8]) -> Option<Reason> {
                Reason::ALL.iter().copied().find(|reason| reason.as_str().as_bytes() == word)
            }
        }
    };
}

reasons! {
    BadRequest = "bad-request",
    HeadersTooLarge = "headers-too-large",
    HeaderTimeout = "header-timeout",
    BodyTimeout = "body-timeout",
    NoRoute = "no-route",
    NoBackends = "no-backends",
    NoEndpoints = "no-endpoints",
    CircuitOpen = "circuit-open",
    OverflowConnections = "overflow-connections",
    OverflowPending = "overflow-pending",
    OverflowRequests = "overflow-requests",
    QueueTimeout = "queue-timeout",
    Overloaded = "overloaded",
    Draining = "draining",
    NotReady = "not-ready",
    LoopDetected = "loop-detected",
    TlsHandshakeFailed = "tls-handshake-failed",
    MtlsRequired = "mtls-required",
    Flood = "flood",
    ClientClosed = "client-closed",
    ConnectFailure = "connect-failure",
    UpstreamReset = "upstream-reset",
    UpstreamProtocolError = "upstream-protocol-error",
    UpstreamTlsFailure = "upstream-tls-failure",
    PeerIdentityRefused = "peer-identity-refused",
    PerTryTimeout = "per-try-timeout",
    ResponseTimeout = "response-timeout",
    RequestTimeout = "request-timeout",
    DeadlinePassed = "deadline-passed",
    IdleTimeout = "idle-timeout",
    FaultInjected = "fault-injected",
    Denied = "denied",
    DestinationDenied = "destination-denied",
    PermissionWithdrawn = "permission-withdrawn",
    TokenMissing = "token-missing",
    TokenInvalid = "token-invalid",
    RateLimited = "rate-limited",
    Revoked = "revoked",
    DrainDeadline = "drain-deadline",
    Internal = "internal",
}

impl Reason {
    /// True when a peer's answer with this reason means that its app never saw the request, so that
    /// any request may be sent again.
    pub fn is_never_sent(self) -> bool {
        matches!(self, Reason::ConnectFailure | Reason::NotReady | Reason::Draining)
    }
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::Reason;

    #[test]
    fn every_word_is_unique_and_reads_back() {
        for &reason in Reason::ALL {
            assert_eq!(Reason::parse(reason.as_str().as_bytes()), Some(reason));
        }
        assert_eq!(Reason::parse(b"no-such-reason"), None);
    }
}
