//! Why a connection, and the message on it, came to no good end.

use std::io;
use std::sync::Arc;

use crate::http::BodyError;
use crate::http::guard::Violation;

/// A message is not whole.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Broken {
    #[error("the connection broke")]
    Io(#[source] Arc<io::Error>),
    #[error("the peer closed the connection before its message was complete")]
    Closed,
    #[error("the connection ended before its message was complete")]
    Cut,
    #[error("{}", .0.sentence())]
    Refused(Violation),
    #[error("the peer's answer is malformed: {0}")]
    Malformed(&'static str),
    #[error("the body that was to be sent broke off")]
    Body(#[source] Arc<BodyError>),
    #[error("the body that was to be sent is shorter than its content-length")]
    Short,
    #[error("the peer sent what was not asked for")]
    Unasked,
    #[error("the request was aborted on purpose")]
    Aborted,
}

impl From<io::Error> for Broken {
    fn from(error: io::Error) -> Self {
        Broken::Io(Arc::new(error))
    }
}
