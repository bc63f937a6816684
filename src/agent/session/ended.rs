//! Why a session ended, and what that says about trying again.

use std::time::Duration;

use tonic::Status;

use super::link::LinkError;
use crate::runtime::supervise::Panicked;

/// Why there is no session any more.
#[derive(Debug, thiserror::Error)]
pub enum Ended {
    #[error("the control plane closed the session")]
    Closed,
    #[error("the control plane fell silent")]
    Silent,
    #[error("the control plane is not ready for another session; it said to come back in {0:?}")]
    ComeBack(Duration),
    /// It does not know our certificate any more: only a token helps.
    #[error("the control plane takes the certificate no longer: {}", .0.message())]
    Disowned(Box<Status>),
    #[error("the session broke: {}", .0.message())]
    Broke(Box<Status>),
    #[error("the control plane can't be reached")]
    Link(#[source] LinkError),
    #[error("the session is over")]
    Panicked(#[source] Panicked),
    /// Waiting does not help: a person has to change something.
    #[error("the control plane can't be joined")]
    Unfit(#[source] LinkError),
}

impl Ended {
    /// Whether the next try begins with the token, though there is a certificate; `before`: whether
    /// this one had to. A control plane that takes the certificate no longer will not take it at the
    /// next try either. Where the token is no good, the certificate has its turn: what gave it may be
    /// restored.
    pub fn needs_token(&self, before: bool) -> bool {
        match self {
            Ended::Disowned(_) => true,
            Ended::Unfit(_) => false,
            _ => before,
        }
    }
}

impl From<LinkError> for Ended {
    fn from(error: LinkError) -> Self {
        use tonic::Code::{InvalidArgument, PermissionDenied, Unauthenticated};
        match &error {
            LinkError::Connect(..) | LinkError::Silent(_) | LinkError::Channel(_) => {
                Ended::Link(error)
            }
            LinkError::Refused(status)
                if !matches!(
                    status.code(),
                    InvalidArgument | PermissionDenied | Unauthenticated
                ) =>
            {
                pushback(status).map_or(Ended::Link(error), Ended::ComeBack)
            }
            _ => Ended::Unfit(error),
        }
    }
}

impl From<Status> for Ended {
    fn from(status: Status) -> Self {
        match pushback(&status) {
            Some(later) => Ended::ComeBack(later),
            None if status.code() == tonic::Code::Unauthenticated => {
                Ended::Disowned(Box::new(status))
            }
            None => Ended::Broke(Box::new(status)),
        }
    }
}

/// When the control plane wants to see us again, if it said so.
fn pushback(status: &Status) -> Option<Duration> {
    let value = status.metadata().get("grpc-retry-pushback-ms")?;
    value.to_str().ok()?.parse().ok().map(Duration::from_millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disowned_certificate_is_not_tried_while_the_token_may_help() {
        let status = |code| Box::new(Status::new(code, "no"));
        let disowned = Ended::from(*status(tonic::Code::Unauthenticated));
        assert!(matches!(disowned, Ended::Disowned(_)) && disowned.needs_token(false));
        let passing = [
            Ended::from(LinkError::Silent("control:15010".into())),
            Ended::from(LinkError::Refused(status(tonic::Code::Unavailable))),
            Ended::ComeBack(Duration::from_secs(1)),
            Ended::Closed,
        ];
        for ended in passing {
            assert!(ended.needs_token(true) && !ended.needs_token(false), "{ended:?}");
        }
        let used_up = LinkError::Refused(status(tonic::Code::Unauthenticated));
        for error in [used_up, LinkError::NoToken] {
            assert!(!Ended::from(error).needs_token(true));
        }
    }
}
