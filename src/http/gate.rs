//! What a connection and the service that answers its requests say to each other beside those.

use std::cell::Cell;

use super::guard::Violation;
use super::respond::Failure;
use crate::model::Reason;

/// Why a request was not let through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    Violation(Violation),
    /// The head did not come to its end in ten seconds.
    HeadTimeout,
}

impl Refusal {
    /// What the caller is told; its connection closes.
    pub fn failure(self) -> Failure {
        match self {
            Refusal::Violation(violation) if violation.too_large() => {
                Failure::new(Reason::HeadersTooLarge, violation.sentence()).closing()
            }
            Refusal::Violation(violation) => {
                Failure::new(Reason::BadRequest, violation.sentence()).closing()
            }
            Refusal::HeadTimeout => Failure::plain(Reason::HeaderTimeout).closing(),
        }
    }
}

/// Nothing is answered: the connection, or the stream, is reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the request was aborted on purpose")]
pub struct Aborted;

/// Shared by the two.
#[derive(Debug, Default)]
pub struct Gate {
    /// Why the next request is to be refused, which is none of the caller's.
    refused: Cell<Option<Refusal>>,
    /// A violation inside the body of the newest request.
    body: Cell<Option<Violation>>,
    aborted: Cell<bool>,
}

impl Gate {
    /// Called by the service at each request: is this the one to refuse?
    pub fn next_request(&self) -> Option<Refusal> {
        self.refused.get()
    }

    /// Whether the next request is one to refuse: what it shows is none of the caller's.
    pub fn refuses_next(&self) -> bool {
        self.refused.get().is_some()
    }

    /// The violation that broke the body of the newest request, if one did.
    pub fn body_violation(&self) -> Option<Violation> {
        self.body.get()
    }

    /// The connection ends without an answer, and its client shall see a reset.
    pub fn abort(&self) {
        self.aborted.set(true);
    }

    /// Whether it ends so.
    pub fn is_aborted(&self) -> bool {
        self.aborted.get()
    }

    /// The service is asked to refuse, which is the last that it is asked.
    pub(super) fn refuse_next(&self, refusal: Refusal) {
        self.refused.set(Some(refusal));
    }

    pub(super) fn refuse_body(&self, violation: Violation) {
        self.body.set(Some(violation));
    }
}
