//! Why a connection was not made, or an exchange on it was not finished.

use std::io;
use std::time::Duration;

use crate::http::http2::{Broken, Code};
use crate::http::respond::chain;
use crate::http::{Body, http1};
use crate::model::Reason;
use crate::retry::Failed;
use crate::tls::{self, PeerError, Refusal};

/// No connection.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    #[error("{0}")]
    Connect(#[source] io::Error),
    #[error("no connection within {0:?}")]
    Timeout(Duration),
    #[error("{0}")]
    Tls(#[source] PeerError),
    #[error("this sidecar has no certificate yet")]
    NoCredentials,
    #[error("this sidecar's own certificate has ended, and it has no other: its log says why")]
    Ended,
    #[error("{0}")]
    Limit(Reason),
}

impl DialError {
    /// The reason that the caller is told.
    pub fn reason(&self) -> Reason {
        match self {
            DialError::Connect(_) | DialError::Timeout(_) => Reason::ConnectFailure,
            DialError::Tls(error) if error.is_wrong_identity() => Reason::PeerIdentityRefused,
            DialError::Tls(_) | DialError::Ended => Reason::UpstreamTlsFailure,
            DialError::NoCredentials => Reason::NotReady,
            DialError::Limit(reason) => *reason,
        }
    }
}

/// A connection, but no answer.
#[derive(Debug)]
pub struct SendError {
    pub failed: Failed,
    pub reason: Reason,
    pub sentence: String,
    /// The request, when no byte of it was sent.
    pub unsent: Option<Box<http::Request<Body>>>,
}

impl SendError {
    /// `is_fresh`: nothing was ever answered on the connection.
    pub(super) fn from_http1(
        broken: &http1::Broken,
        unsent: Option<http::Request<Body>>,
        is_fresh: bool,
    ) -> SendError {
        let refused = match broken {
            http1::Broken::Io(error) if is_fresh => refused_by_peer(error),
            _ => None,
        };
        Self::new(broken, refused, unsent, || judge(broken))
    }

    pub(super) fn from_http2(broken: &Broken, unsent: Option<http::Request<Body>>) -> SendError {
        let refused = match broken {
            Broken::Io(error) => refused_by_peer(error),
            _ => None,
        };
        Self::new(broken, refused, unsent, || judge_stream(broken))
    }

    fn new(
        error: &(dyn std::error::Error + 'static),
        refused: Option<PeerError>,
        unsent: Option<http::Request<Body>>,
        judge: impl FnOnce() -> (Failed, Reason),
    ) -> SendError {
        let was_sent = unsent.is_none();
        let unsent = unsent.map(Box::new);
        // A TLS 1.3 server judges our certificate after we think that the handshake is over; its
        // refusal comes with the first read, and nothing that we sent was read.
        if let Some(refused) = refused {
            let (failed, reason) = (Failed::Connect, Reason::UpstreamTlsFailure);
            return SendError { failed, reason, sentence: refused.to_string(), unsent };
        }
        let (failed, reason) =
            if was_sent { judge() } else { (Failed::Connect, Reason::ConnectFailure) };
        SendError { failed, reason, sentence: chain(error), unsent }
    }
}

/// Other alerts may come when the request is with the app already.
fn refused_by_peer(error: &io::Error) -> Option<PeerError> {
    Some(tls::classify(error)).filter(|error| match error {
        PeerError::Refused(refusal) => !matches!(refusal, Refusal::Alert(_)),
        _ => false,
    })
}

fn judge_stream(broken: &Broken) -> (Failed, Reason) {
    match broken {
        Broken::NotTaken | Broken::Reset(Code::REFUSED_STREAM) => {
            (Failed::Refused, Reason::UpstreamReset)
        }
        Broken::Malformed(_) | Broken::Protocol(..) => {
            (Failed::Other, Reason::UpstreamProtocolError)
        }
        // Our own doing: the caller's body broke.
        Broken::Ended(_) => (Failed::Other, Reason::ClientClosed),
        _ => (Failed::Reset, Reason::UpstreamReset),
    }
}

fn judge(broken: &http1::Broken) -> (Failed, Reason) {
    match broken {
        // Our own doing: the caller's body broke.
        http1::Broken::Body(_) | http1::Broken::Short => (Failed::Other, Reason::ClientClosed),
        http1::Broken::Malformed(_) => (Failed::Other, Reason::UpstreamProtocolError),
        _ => (Failed::Reset, Reason::UpstreamReset),
    }
}

#[cfg(test)]
mod tests {
    use rustls::{AlertDescription, Error};

    use super::*;

    #[test]
    fn only_a_verdict_on_our_certificate_means_that_nothing_was_sent() {
        let said = |alert| io::Error::new(io::ErrorKind::InvalidData, Error::AlertReceived(alert));
        for (alert, failed) in [
            (AlertDescription::UnknownCA, Failed::Connect),
            (AlertDescription::CertificateExpired, Failed::Connect),
            (AlertDescription::AccessDenied, Failed::Connect),
            (AlertDescription::BadRecordMac, Failed::Reset),
            (AlertDescription::InternalError, Failed::Reset),
            (AlertDescription::HandshakeFailure, Failed::Reset),
        ] {
            let error = SendError::from_http2(&Broken::from(said(alert)), None);
            assert_eq!(error.failed, failed, "{alert:?}");
        }
    }
}
