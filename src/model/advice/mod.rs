//! What to do about each reason: what happened, where to look, what to change.
//!
//! The one source of these sentences. The program (`outrigger explain circuit-open`), both admin
//! ports (`/reasons`) and the documentation show them; `http/respond.rs` has the status codes and
//! the one sentence that a caller gets. A reason without advice does not compile. The entries stand
//! in one file for each place where the cure is: the caller, the service, the mesh, the policies.

mod caller;
mod mesh;
mod policies;
mod service;

use super::Reason;

/// What a person needs to know who meets a reason. Whole sentences, with full stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Advice {
    pub happened: &'static str,
    pub look: &'static str,
    pub change: &'static str,
    /// Fields of resources and of the configuration, as the documentation writes them.
    pub settings: &'static [&'static str],
    /// What to watch besides `outrigger_requests_total` with this reason.
    pub metrics: &'static [&'static str],
}

impl Reason {
    /// What to do about it.
    pub const fn advice(self) -> &'static Advice {
        match self {
            Reason::BadRequest => &caller::BAD_REQUEST,
            Reason::HeadersTooLarge => &caller::HEADERS_TOO_LARGE,
            Reason::HeaderTimeout => &caller::HEADER_TIMEOUT,
            Reason::BodyTimeout => &caller::BODY_TIMEOUT,
            Reason::NoRoute => &policies::NO_ROUTE,
            Reason::NoBackends => &policies::NO_BACKENDS,
            Reason::NoEndpoints => &service::NO_ENDPOINTS,
            Reason::CircuitOpen => &service::CIRCUIT_OPEN,
            Reason::OverflowConnections => &policies::OVERFLOW_CONNECTIONS,
            Reason::OverflowPending => &policies::OVERFLOW_PENDING,
            Reason::OverflowRequests => &policies::OVERFLOW_REQUESTS,
            Reason::QueueTimeout => &policies::QUEUE_TIMEOUT,
            Reason::Overloaded => &service::OVERLOADED,
            Reason::Draining => &mesh::DRAINING,
            Reason::NotReady => &mesh::NOT_READY,
            Reason::LoopDetected => &mesh::LOOP_DETECTED,
            Reason::TlsHandshakeFailed => &mesh::TLS_HANDSHAKE_FAILED,
            Reason::MtlsRequired => &policies::MTLS_REQUIRED,
            Reason::Flood => &caller::FLOOD,
            Reason::ClientClosed => &caller::CLIENT_CLOSED,
            Reason::ConnectFailure => &service::CONNECT_FAILURE,
            Reason::UpstreamReset => &service::UPSTREAM_RESET,
            Reason::UpstreamProtocolError => &service::UPSTREAM_PROTOCOL_ERROR,
            Reason::UpstreamTlsFailure => &mesh::UPSTREAM_TLS_FAILURE,
            Reason::PeerIdentityRefused => &mesh::PEER_IDENTITY_REFUSED,
            Reason::PerTryTimeout => &service::PER_TRY_TIMEOUT,
            Reason::ResponseTimeout => &service::RESPONSE_TIMEOUT,
            Reason::RequestTimeout => &service::REQUEST_TIMEOUT,
            Reason::DeadlinePassed => &caller::DEADLINE_PASSED,
            Reason::IdleTimeout => &policies::IDLE_TIMEOUT,
            Reason::FaultInjected => &policies::FAULT_INJECTED,
            Reason::Denied => &policies::DENIED,
            Reason::DestinationDenied => &policies::DESTINATION_DENIED,
            Reason::PermissionWithdrawn => &policies::PERMISSION_WITHDRAWN,
            Reason::TokenMissing => &caller::TOKEN_MISSING,
            Reason::TokenInvalid => &caller::TOKEN_INVALID,
            Reason::RateLimited => &policies::RATE_LIMITED,
            Reason::Revoked => &mesh::REVOKED,
            Reason::DrainDeadline => &mesh::DRAIN_DEADLINE,
            Reason::Internal => &mesh::INTERNAL,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn each_says_something_of_its_own() {
        let mut seen = HashSet::new();
        for &reason in Reason::ALL {
            let advice = reason.advice();
            for (part, text) in
                [("happened", advice.happened), ("look", advice.look), ("change", advice.change)]
            {
                assert!(text.ends_with('.') && !text.contains("  "), "{reason}: {part}: {text}");
                let begins = text.starts_with(|c: char| c.is_uppercase() || c == '`');
                assert!(begins, "{reason}: {part}: {text}");
            }
            assert!(seen.insert(advice.happened), "{reason} says what another one says");
        }
    }

    #[test]
    fn settings_and_metrics_are_documented() {
        let readme = include_str!("../../../README.md");
        for &reason in Reason::ALL {
            let advice = reason.advice();
            for metric in advice.metrics {
                assert!(readme.contains(&format!("`{metric}`")), "{reason}: {metric}");
            }
            for setting in advice.settings {
                // Below a part of a policy the documentation may write the field alone.
                let last = setting.rsplit('.').next().unwrap_or(setting);
                assert!(readme.contains(last), "{reason}: {setting}");
            }
        }
    }
}
