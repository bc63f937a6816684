//! A span that was kept: what one sidecar saw of one request or opaque connection.
//!
//! Written once, when the exchange ends, and only where it is sampled, failed or was slow. Whoever
//! exports or reports takes it from a queue of its own; nobody changes it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::model::{Direction, Reason, SpiffeId};

/// Bytes of one text of a span, at most; what is longer is cut. Arbitrary: a path that a person
/// would read is far shorter, and a full queue of such spans is some megabytes.
pub const TEXT: usize = 1024;

/// A text of at most so many bytes: cut between letters, and then it ends in `…`.
pub fn cut(text: &str, bytes: usize) -> Box<str> {
    if text.len() <= bytes {
        return text.into();
    }
    let end = text.floor_char_boundary(bytes - '…'.len_utf8());
    format!("{}…", &text[..end]).into()
}

/// One request at one sidecar.
#[derive(Clone, Debug, PartialEq)]
pub struct Span {
    /// Never zero.
    pub trace_id: u128,
    /// Never zero.
    pub span_id: u64,
    /// The span that called; none begins the trace.
    pub parent_id: Option<u64>,
    pub kept: Kept,
    /// Inbound is a server's span, outbound a client's.
    pub direction: Direction,
    pub started: SystemTime,
    /// To the last byte of the answer.
    pub duration: Duration,
    /// `http/1.1`, `http/2`, `grpc` or `tcp`.
    pub protocol: &'static str,
    /// None for opaque connections, and for requests whose head could not be read.
    pub method: Option<http::Method>,
    pub authority: Option<Box<str>>,
    /// Without the query, which may hold secrets.
    pub path: Option<Box<str>>,
    pub request_id: Option<Box<str>>,
    pub user_agent: Option<Box<str>>,
    pub status: Option<u16>,
    pub grpc_status: Option<u8>,
    pub reason: Option<Reason>,
    /// What the proxy said of a failure.
    pub sentence: Option<Box<str>>,
    /// The service that was called, as `name.namespace:port`, and the route that it fell under.
    pub service: Option<Arc<str>>,
    pub route: Option<Arc<str>>,
    /// Where the last attempt went.
    pub endpoint: Option<SocketAddr>,
    /// Who is at the far end of it: the caller inbound, the endpoint outbound.
    pub peer: Option<SpiffeId>,
    /// Where the caller's connection came from; inbound only.
    pub client: Option<SocketAddr>,
    /// `mtls`, `tls` or `none`, downstream.
    pub tls: &'static str,
    pub attempts: Vec<Attempt>,
    /// From the caller.
    pub bytes_in: u64,
    /// To the caller.
    pub bytes_out: u64,
}

impl Span {
    /// About how many bytes it takes to tell it.
    pub fn size(&self) -> usize {
        let owned =
            [&self.authority, &self.path, &self.request_id, &self.user_agent, &self.sentence];
        let owned: usize = owned.into_iter().flatten().map(|text| text.len()).sum();
        let shared = [&self.service, &self.route].into_iter().flatten();
        let shared: usize = shared.map(|text| text.len()).sum();
        let peer = self.peer.as_ref().map_or(0, |peer| peer.as_str().len());
        120 + owned + shared + peer + 50 * self.attempts.len()
    }

    /// Whether it ended as a failure of the mesh or the app, whyever it is kept.
    pub fn has_failed(&self) -> bool {
        has_failed(self.status.unwrap_or(0), self.grpc_status, self.reason)
    }
}

/// Whether a request that ended so failed: the app could not serve it, or a proxy did not let it. What
/// only says that the caller asked for the wrong thing is no failure, nor that it went away.
pub fn has_failed(status: u16, grpc_status: Option<u8>, reason: Option<Reason>) -> bool {
    match reason {
        Some(Reason::ClientClosed) => false,
        // A pooled connection is closed so every few minutes.
        Some(Reason::IdleTimeout) if status == 0 => false,
        Some(_) => true,
        // Unknown, deadline-exceeded, unimplemented, internal, unavailable, data-loss: what
        // OpenTelemetry takes for a server's error.
        None => status >= 500 || matches!(grpc_status, Some(2 | 4 | 12..=15)),
    }
}

/// Why a span is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    Sampled,
    Failed,
    Slow,
}

impl Kept {
    /// The word of attributes and pages.
    pub fn as_str(self) -> &'static str {
        match self {
            Kept::Sampled => "sampled",
            Kept::Failed => "failed",
            Kept::Slow => "slow",
        }
    }
}

/// One try at one endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attempt {
    pub endpoint: SocketAddr,
    /// After the span's beginning.
    pub began: Duration,
    /// To the head of the answer, or to the failure.
    pub took: Duration,
    /// Of the answer, where there was one.
    pub status: Option<u16>,
    /// How it failed, or what the peer's sidecar said.
    pub reason: Option<Reason>,
    /// What it was to the endpoint's circuit, where that was not simply closed.
    pub circuit: Option<Circuit>,
}

/// What an attempt was to a circuit that was not closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Circuit {
    /// A probe of a half-open one.
    HalfOpen,
    /// Sent although it was open: there was nobody else to ask.
    Ignored,
}

impl Circuit {
    /// The word of attributes and pages.
    pub fn as_str(self) -> &'static str {
        match self {
            Circuit::HalfOpen => "half-open",
            Circuit::Ignored => "ignored",
        }
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// A sampled client's span of one request that was answered at the second attempt.
    pub fn example() -> Span {
        let endpoint = "10.0.0.7:8080".parse().expect("an address");
        let attempt = Attempt {
            endpoint,
            began: Duration::from_micros(100),
            took: Duration::from_millis(2),
            status: None,
            reason: Some(Reason::ConnectFailure),
            circuit: None,
        };
        let second = Attempt {
            began: Duration::from_millis(30),
            status: Some(200),
            reason: None,
            circuit: Some(Circuit::HalfOpen),
            ..attempt
        };
        Span {
            trace_id: 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736,
            span_id: 0x00f0_67aa_0ba9_02b7,
            parent_id: Some(0x0102_0304_0506_0708),
            kept: Kept::Sampled,
            direction: Direction::Outbound,
            started: SystemTime::UNIX_EPOCH + Duration::from_micros(1_795_298_400_123_456),
            duration: Duration::from_micros(45_678),
            protocol: "http/1.1",
            method: Some(http::Method::GET),
            authority: Some("api.default".into()),
            path: Some("/orders/7".into()),
            request_id: Some("r-1".into()),
            user_agent: Some("curl/8".into()),
            status: Some(200),
            grpc_status: None,
            reason: None,
            sentence: None,
            service: Some("api.default:80".into()),
            route: Some("default/api".into()),
            endpoint: Some(endpoint),
            peer: SpiffeId::parse("spiffe://cluster.local/ns/default/sa/api").ok(),
            client: None,
            tls: "none",
            attempts: vec![attempt, second],
            bytes_in: 0,
            bytes_out: 512,
        }
    }

    #[test]
    fn long_texts_are_cut_between_letters() {
        assert_eq!(&*cut("/orders", TEXT), "/orders");
        let long = cut(&"ä".repeat(TEXT), TEXT);
        assert!(long.len() <= TEXT && long.ends_with("ä…"), "{long}");
    }

    #[test]
    fn what_is_a_failure() {
        let table = [
            (200, None, None, false),
            (404, None, None, false),
            (499, None, Some(Reason::ClientClosed), false),
            (500, None, None, true),
            (503, None, Some(Reason::ClientClosed), false),
            (429, None, Some(Reason::RateLimited), true),
            (403, None, Some(Reason::Denied), true),
            (0, None, Some(Reason::DrainDeadline), true),
            (0, None, Some(Reason::IdleTimeout), false),
            (504, None, Some(Reason::IdleTimeout), true),
            (200, Some(0), None, false),
            (200, Some(3), None, false),
            (200, Some(8), None, false),
            (200, Some(13), None, true),
        ];
        for (status, grpc, reason, failed) in table {
            assert_eq!(has_failed(status, grpc, reason), failed, "{status} {grpc:?} {reason:?}");
        }
    }
}
