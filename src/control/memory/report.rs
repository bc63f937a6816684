//! What a sidecar reports, as the house's nouns. Whose report it is stands nowhere in it: that is
//! the session's to say, by its certificate.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::model::Reason;
use crate::telemetry::metrics::BOUNDS;
use crate::telemetry::span::has_failed;

/// Requests by bucket of [`BOUNDS`], and beyond the last.
pub type Buckets = [u64; BOUNDS.len() + 1];

/// Everything of one report.
#[derive(Debug, Default)]
pub struct Report {
    /// How long the counts took to come together.
    pub period: Duration,
    /// What the sidecar's clock said, in microseconds since 1970.
    pub now_us: i64,
    pub requests: Vec<Requests>,
    pub latencies: Vec<Latencies>,
    pub endpoints: Vec<Unready>,
    pub spans: Vec<Kept>,
    /// What is open now, all of it.
    pub open: Vec<Opened>,
}

/// Requests that ended in the same way.
#[derive(Debug)]
pub struct Requests {
    pub inbound: bool,
    /// As metrics name it: `name.namespace:port`.
    pub service: Arc<str>,
    pub route: Arc<str>,
    pub spoken: Spoken,
    /// A SPIFFE id; empty: nobody proved who it is.
    pub peer: Arc<str>,
    pub outcome: Outcome,
    pub count: u64,
}

/// How requests ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    pub failed: bool,
    /// With somebody at the far end who proved who it is.
    pub proved: bool,
    /// With somebody who did not.
    pub plain: bool,
}

/// What was spoken, as far as people tell it apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Spoken {
    Tcp,
    #[default]
    Http,
    Grpc,
}

impl Spoken {
    pub fn as_str(self) -> &'static str {
        match self {
            Spoken::Tcp => "tcp",
            Spoken::Http => "http",
            Spoken::Grpc => "grpc",
        }
    }
}

/// Connections, tunnels and requests that last, and are open. Names as in [`Requests`].
#[derive(Debug)]
pub struct Opened {
    pub inbound: bool,
    pub service: Arc<str>,
    pub route: Arc<str>,
    pub spoken: Spoken,
    pub peer: Arc<str>,
    pub count: u64,
}

/// How long requests of a route took.
#[derive(Debug)]
pub struct Latencies {
    pub inbound: bool,
    pub service: Arc<str>,
    pub route: Arc<str>,
    pub counts: Buckets,
}

/// Those endpoints of a service that are not simply ready.
#[derive(Debug)]
pub struct Unready {
    pub service: Arc<str>,
    pub endpoints: Vec<(SocketAddr, State)>,
    /// Otherwise nothing is said of it any more.
    pub is_used: bool,
}

/// How a sidecar finds an endpoint, from good to bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    Ready,
    Connecting,
    HalfOpen,
    Ejected,
}

impl State {
    pub fn as_str(self) -> &'static str {
        match self {
            State::Ready => "ready",
            State::Connecting => "connecting",
            State::HalfOpen => "half-open",
            State::Ejected => "ejected",
        }
    }
}

/// Why a request was kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    Sampled,
    Failed,
    Slow,
}

impl Why {
    pub fn as_str(self) -> &'static str {
        match self {
            Why::Sampled => "sampled",
            Why::Failed => "failed",
            Why::Slow => "slow",
        }
    }
}

/// A request that was kept, as one sidecar saw it. Empty texts stand for nothing.
#[derive(Clone, Debug)]
pub struct Kept {
    pub trace_id: u128,
    pub span_id: u64,
    /// 0: it begins the trace.
    pub parent_id: u64,
    pub why: Why,
    pub inbound: bool,
    /// In microseconds since 1970.
    pub started_us: i64,
    pub duration_us: u64,
    pub protocol: Box<str>,
    pub method: Box<str>,
    pub path: Box<str>,
    /// 0: there was none.
    pub status: u16,
    pub grpc: Option<u8>,
    pub reason: Box<str>,
    pub sentence: Box<str>,
    /// `name.namespace:port`.
    pub service: Box<str>,
    pub route: Box<str>,
    pub endpoint: Option<SocketAddr>,
    pub peer: Box<str>,
    pub tls: Box<str>,
    pub attempts: Box<[Attempt]>,
}

/// One try at one endpoint.
#[derive(Clone, Debug)]
pub struct Attempt {
    pub endpoint: Option<SocketAddr>,
    /// After the request's beginning.
    pub offset_us: u64,
    pub duration_us: u64,
    /// 0: there was no answer.
    pub status: u16,
    pub reason: Box<str>,
}

impl Kept {
    pub fn failed(&self) -> bool {
        failed(self.status, self.grpc, &self.reason)
    }

    /// What it takes, in bytes.
    pub fn bytes(&self) -> usize {
        let texts = [
            &self.protocol,
            &self.method,
            &self.path,
            &self.reason,
            &self.sentence,
            &self.service,
            &self.route,
            &self.peer,
            &self.tls,
        ];
        let attempt = |of: &Attempt| std::mem::size_of::<Attempt>() + of.reason.len() + ALLOCATION;
        std::mem::size_of::<Self>()
            + texts.iter().map(|text| text.len() + ALLOCATION).sum::<usize>()
            + self.attempts.iter().map(attempt).sum::<usize>()
            + ALLOCATION
    }
}

/// What an allocation costs beside its bytes, at most, where they are few.
pub const ALLOCATION: usize = 16;

/// Whether a request failed that ended so: by the server's fault, or because a proxy said why. A
/// caller that left is nobody's failure, nor is a pooled connection that nobody used; an app that
/// asks to be spared fails nobody yet. A reason that is not known here is a newer sidecar's.
pub fn failed(status: u16, grpc: Option<u8>, reason: &str) -> bool {
    let known = Reason::parse(reason.as_bytes());
    let is_news = known.is_none() && !reason.is_empty();
    is_news || has_failed(status, grpc, known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_the_servers_and_the_proxies_own() {
        let rows = [
            ((200, None, ""), false),
            ((404, None, ""), false),
            ((404, None, "no-route"), true),
            ((499, None, "client-closed"), false),
            ((500, None, ""), true),
            ((503, None, "connect-failure"), true),
            ((200, Some(0), ""), false),
            ((200, Some(14), ""), true),
            ((200, Some(8), ""), false),
            ((200, Some(5), ""), false),
            ((0, None, ""), false),
            ((0, None, "upstream-reset"), true),
            ((0, None, "idle-timeout"), false),
            ((504, None, "idle-timeout"), true),
            ((0, None, "one-to-come"), true),
        ];
        for ((status, grpc, reason), expected) in rows {
            assert_eq!(failed(status, grpc, reason), expected, "{status} {grpc:?} {reason}");
        }
    }
}
