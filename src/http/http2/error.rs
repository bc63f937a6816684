//! Why a stream or its connection is over before its time.

use std::io;
use std::sync::Arc;

use super::frame::Code;

/// A stream, or its connection, came to no good end.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Broken {
    #[error("the peer reset the stream: {0}")]
    Reset(Code),
    #[error("we reset the stream: {0}")]
    Ended(Code),
    #[error("the peer's message is malformed: {0}")]
    Malformed(&'static str),
    #[error("the peer leaves, and has not taken the request")]
    NotTaken,
    #[error("the peer ended the connection: {0}")]
    GoneAway(Code),
    #[error("the peer does not keep to HTTP/2: {1} ({0})")]
    Protocol(Code, &'static str),
    #[error("the connection broke")]
    Io(#[source] Arc<io::Error>),
    #[error("the peer closed the connection")]
    Closed,
    #[error("the peer answered no ping for 5 s")]
    Silent,
}

impl Broken {
    pub(super) fn protocol(why: &'static str) -> Self {
        Broken::Protocol(Code::PROTOCOL_ERROR, why)
    }

    /// What the other end of a stream is told, where this is why its message breaks off.
    pub fn code(&self) -> Option<Code> {
        match self {
            Broken::Reset(code) | Broken::Ended(code) => Some(*code),
            _ => None,
        }
    }

    /// Whether we ended the connection to be left in peace.
    pub fn is_flood(&self) -> bool {
        matches!(self, Broken::Protocol(Code::ENHANCE_YOUR_CALM, _))
    }
}

impl From<io::Error> for Broken {
    fn from(error: io::Error) -> Self {
        Broken::Io(Arc::new(error))
    }
}
