//! The proxy's own answers: one table from a reason to status, gRPC code and sentence.
//!
//! Every such answer carries its reason in `x-outrigger-reason` and says in one plain sentence what
//! happened and to whom. gRPC callers get it as a trailers-only answer, because their libraries
//! show nothing else.

use std::borrow::Cow;
use std::time::Duration;

use http::header::{self, HeaderValue};
use http::{Response, StatusCode};
use http_body::Body as _;

use super::Body;
use super::headers::{GRPC_STATUS, REASON};
use crate::model::Reason;

/// How a caller wants its errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    Http,
    Grpc,
}

/// A failure on its way to the caller.
#[derive(Clone, Debug)]
pub struct Failure {
    pub reason: Reason,
    /// What happened, as one sentence without a full stop; empty takes the table's.
    pub sentence: Cow<'static, str>,
    /// The caller's connection can't be used any further.
    pub close: bool,
    /// The HTTP status and gRPC code, where they are not the table's.
    pub codes: Option<(u16, u8)>,
    /// Nothing is answered: the connection, or the stream, is reset.
    pub reset: bool,
    /// When it is worth while to come again.
    pub retry_after: Option<Duration>,
    /// How a caller may show who it is (RFC 9110, 11.6.1).
    pub challenge: Option<Challenge>,
}

/// What a caller may come with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Challenge {
    /// A token (RFC 6750).
    Bearer,
    ApiKey,
}

impl Failure {
    /// With the table's sentence.
    pub fn plain(reason: Reason) -> Self {
        Self::new(reason, "")
    }

    pub fn new(reason: Reason, sentence: impl Into<Cow<'static, str>>) -> Self {
        Self {
            reason,
            sentence: sentence.into(),
            close: false,
            codes: None,
            reset: false,
            retry_after: None,
            challenge: None,
        }
    }

    #[must_use]
    pub fn closing(mut self) -> Self {
        self.close = true;
        self
    }

    #[must_use]
    pub fn retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }

    /// With a word on how to be let in.
    #[must_use]
    pub fn challenging(mut self, challenge: Challenge) -> Self {
        self.challenge = Some(challenge);
        self
    }

    pub fn sentence(&self) -> &str {
        if self.sentence.is_empty() { row(self.reason).2 } else { &self.sentence }
    }

    pub fn into_sentence(self) -> Cow<'static, str> {
        if self.sentence.is_empty() { Cow::Borrowed(row(self.reason).2) } else { self.sentence }
    }
}

impl Challenge {
    fn header(self, reason: Reason, sentence: &str) -> HeaderValue {
        let usual = match self {
            Challenge::Bearer => "Bearer",
            Challenge::ApiKey => "ApiKey",
        };
        let said = (self, reason) == (Challenge::Bearer, Reason::TokenInvalid);
        // Neither may stand in a description (RFC 6750, 3).
        let is_plain = |c: char| (' '..='~').contains(&c) && !matches!(c, '"' | '\\');
        let description: String = sentence.chars().filter(|c| is_plain(*c)).collect();
        let text = format!("Bearer error=\"invalid_token\", error_description=\"{description}\"");
        let full = said.then(|| HeaderValue::try_from(text).ok()).flatten();
        full.unwrap_or(HeaderValue::from_static(usual))
    }
}

/// HTTP status, gRPC code, sentence. Reasons that only ever close have the status that they would
/// have had, for logs.
const fn row(reason: Reason) -> (u16, u8, &'static str) {
    match reason {
        Reason::BadRequest => (400, 13, "the request breaks the rules of HTTP"),
        Reason::HeadersTooLarge => {
            (431, 13, "the request's headers are larger than 64 KiB or more than 100")
        }
        Reason::HeaderTimeout => (408, 4, "the request's headers did not arrive within 10 s"),
        Reason::BodyTimeout => (408, 1, "the request's body stopped arriving"),
        Reason::NoRoute => (404, 12, "no route of the service matches the request"),
        Reason::NoBackends => (500, 14, "the route has no backend"),
        Reason::NoEndpoints => (503, 14, "the service has no ready endpoint"),
        Reason::CircuitOpen => (503, 14, "the circuit of every endpoint is open"),
        Reason::OverflowConnections => {
            (503, 14, "the service has as many connections as it may have")
        }
        Reason::OverflowPending => (503, 14, "too many requests already wait for a connection"),
        Reason::OverflowRequests => {
            (503, 14, "the service has as many requests under way as it may have")
        }
        Reason::QueueTimeout => (503, 14, "the request waited too long for a connection"),
        Reason::Overloaded => (503, 8, "the workload is overloaded and shed the request"),
        Reason::Draining => (503, 14, "the sidecar is shutting down"),
        Reason::NotReady => (503, 14, "the sidecar is not ready yet"),
        Reason::LoopDetected => (508, 13, "the request would come back to this sidecar for ever"),
        Reason::TlsHandshakeFailed => (503, 14, "the TLS handshake failed"),
        Reason::MtlsRequired => {
            (403, 7, "the workload takes mutual TLS only, and the caller came in plaintext")
        }
        Reason::Flood => (503, 8, "the connection was flooded"),
        Reason::ClientClosed => (499, 1, "the caller went away"),
        Reason::ConnectFailure => (503, 14, "no connection could be made"),
        Reason::UpstreamReset => (502, 14, "the connection broke before the answer came"),
        Reason::UpstreamProtocolError => (502, 13, "the answer breaks the rules of HTTP"),
        Reason::UpstreamTlsFailure => (503, 14, "the TLS handshake with the endpoint failed"),
        Reason::PeerIdentityRefused => {
            (503, 14, "the endpoint proved another identity than the one announced")
        }
        Reason::PerTryTimeout => (504, 4, "no attempt was answered in its time"),
        Reason::ResponseTimeout => (504, 4, "the answer did not begin in time"),
        Reason::RequestTimeout => (504, 4, "the request took longer than it may"),
        Reason::DeadlinePassed => (504, 4, "the caller's deadline has passed"),
        Reason::IdleTimeout => (408, 1, "nothing moved for too long"),
        Reason::FaultInjected => (503, 14, "a fault was injected on purpose"),
        Reason::Denied => (403, 7, "the caller may not do this"),
        Reason::DestinationDenied => {
            (403, 7, "the destination is not part of the mesh, and others are denied")
        }
        Reason::PermissionWithdrawn => (403, 7, "the permission was withdrawn"),
        Reason::TokenMissing => (401, 16, "a token is required and none came"),
        Reason::TokenInvalid => (401, 16, "the token is not valid"),
        Reason::RateLimited => (429, 8, "too many requests"),
        Reason::Revoked => (403, 7, "the identity was revoked"),
        Reason::DrainDeadline => (503, 14, "the sidecar's time to drain was over"),
        Reason::Internal => (500, 13, "the sidecar failed; its log says more"),
    }
}

/// The HTTP status of a reason.
pub fn status(reason: Reason) -> u16 {
    row(reason).0
}

/// The gRPC code of a reason.
pub fn grpc_code(reason: Reason) -> u8 {
    row(reason).1
}

/// Builds the answer.
pub fn respond(failure: &Failure, shape: Shape) -> Response<Body> {
    let (status, code, _) = row(failure.reason);
    let (status, code) = failure.codes.unwrap_or((status, code));
    let sentence = failure.sentence();
    let mut response = match shape {
        Shape::Http => {
            let mut response = Response::new(Body::full(format!("{sentence}\n")));
            *response.status_mut() =
                StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            response.headers_mut().insert(
                header::CONTENT_TYPE,
                HeaderValue::from_static("text/plain; charset=utf-8"),
            );
            response
        }
        Shape::Grpc => {
            let mut response = Response::new(Body::empty());
            let headers = response.headers_mut();
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
            headers.insert(GRPC_STATUS, HeaderValue::from(u16::from(code)));
            headers.insert("grpc-message", percent_encoded(sentence));
            response
        }
    };
    let headers = response.headers_mut();
    headers.insert(REASON, HeaderValue::from_static(failure.reason.as_str()));
    if let Some(wait) = failure.retry_after {
        let seconds = wait.as_nanos().div_ceil(1_000_000_000);
        headers.insert(header::RETRY_AFTER, whole(seconds));
        if shape == Shape::Grpc {
            // What libraries of gRPC go by when they call again.
            headers.insert("grpc-retry-pushback-ms", whole(wait.as_nanos().div_ceil(1_000_000)));
        }
    }
    if let Some(challenge) = failure.challenge {
        headers.insert(header::WWW_AUTHENTICATE, challenge.header(failure.reason, sentence));
    }
    if failure.close {
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

fn whole(number: u128) -> HeaderValue {
    HeaderValue::from(u64::try_from(number).unwrap_or(u64::MAX))
}

/// An answer to HEAD says how long its body would be, and has none.
pub fn without_body(response: &mut Response<Body>) {
    let body = std::mem::take(response.body_mut());
    if let Some(bytes) = body.size_hint().exact().filter(|&bytes| bytes > 0) {
        response.headers_mut().entry(header::CONTENT_LENGTH).or_insert(HeaderValue::from(bytes));
    }
}

/// The error and its causes, as one sentence.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        next = error.source();
    }
    text
}

/// gRPC's percent-encoding of messages: printable ASCII but `%` stands for itself.
fn percent_encoded(sentence: &str) -> HeaderValue {
    let mut text = String::with_capacity(sentence.len());
    for byte in sentence.bytes() {
        match byte {
            b' '..=b'~' if byte != b'%' => text.push(char::from(byte)),
            _ => {
                text.push('%');
                for nibble in [byte >> 4, byte & 15] {
                    text.push(char::from(b"0123456789ABCDEF"[usize::from(nibble)]));
                }
            }
        }
    }
    HeaderValue::from_str(&text).unwrap_or_else(|_| HeaderValue::from_static("unprintable"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_is_answered_in_both_shapes() {
        for &reason in Reason::ALL {
            let failure = Failure::plain(reason);
            let plain = respond(&failure, Shape::Http);
            assert_eq!(plain.headers()[REASON], reason.as_str());
            assert_eq!(plain.status().as_u16(), status(reason));
            let grpc = respond(&failure, Shape::Grpc);
            assert_eq!(
                (grpc.status(), &grpc.headers()[GRPC_STATUS]),
                (StatusCode::OK, &HeaderValue::from(u16::from(grpc_code(reason))))
            );
        }
    }

    #[test]
    fn grpc_messages_are_percent_encoded() {
        assert_eq!(percent_encoded("100 % ü"), "100 %25 %C3%BC");
    }
}
