//! What the control plane's gRPC statuses mean to a person, and what would help.

use std::fmt;

use tonic::{Code, Status};

/// A status that is no success.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    code: Code,
    message: String,
}

impl From<&Status> for Refusal {
    fn from(status: &Status) -> Self {
        Refusal { code: status.code(), message: status.message().to_owned() }
    }
}

impl Refusal {
    /// Whether the question itself was wrong.
    pub(super) fn is_invalid(&self) -> bool {
        matches!(self.code, Code::InvalidArgument | Code::OutOfRange)
    }

    /// Whether asking again in the same way may work.
    pub(super) fn is_passing(&self) -> bool {
        matches!(
            self.code,
            Code::Unavailable
                | Code::Unknown
                | Code::Internal
                | Code::Cancelled
                | Code::Aborted
                | Code::DeadlineExceeded
                | Code::ResourceExhausted
        )
    }

    /// What happened, and what to do about it; either may be empty.
    fn words(&self) -> (&'static str, &'static str) {
        match self.code {
            Code::Unauthenticated => (
                "the control plane does not take who this is",
                "the operator's token of this control plane is in its data folder, \
                 `operator.token`: name it with --token-file, OUTRIGGER_TOKEN_FILE or tokenFile of \
                 a context",
            ),
            Code::PermissionDenied => (
                "this identity is no operator",
                "use the operator's token (--token-file), or start the control plane with \
                 --operator and this identity",
            ),
            Code::Unavailable => ("the control plane can't answer now", "try again"),
            Code::Aborted => (
                "somebody else changed it meanwhile",
                "read it again (outrigger get -o yaml) and change that",
            ),
            Code::Unimplemented => (
                "this control plane does not know the command",
                "it may be older than this program: compare `outrigger version`",
            ),
            Code::ResourceExhausted => ("the control plane refused so much at once", "try less"),
            Code::DeadlineExceeded => ("the control plane took too long", "try again"),
            Code::InvalidArgument
            | Code::NotFound
            | Code::AlreadyExists
            | Code::FailedPrecondition
            | Code::OutOfRange => ("", ""),
            _ => ("the control plane failed", "look at its log"),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, cure) = self.words();
        let message = if self.message.is_empty() && what.is_empty() {
            self.code.description()
        } else {
            &self.message
        };
        let parts = [what, message].into_iter().filter(|part| !part.is_empty());
        f.write_str(&parts.collect::<Vec<_>>().join(": "))?;
        if cure.is_empty() { Ok(()) } else { write!(f, " ({cure})") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_status_is_a_sentence_with_a_cure() {
        let rows = [
            (Code::Unauthenticated, "no token", "operator.token", false),
            (Code::PermissionDenied, "spiffe://x/ns/a/sa/b", "--operator", false),
            (Code::Unavailable, "starting", "starting (try again)", true),
            (Code::Aborted, "Service web.shop", "outrigger get -o yaml", true),
            (Code::Unimplemented, "", "older", false),
            (Code::NotFound, "there is no token t", "there is no token t", false),
            (Code::InvalidArgument, "", "Client specified an invalid argument", false),
            (Code::Internal, "store", "store (look at its log)", true),
        ];
        for (code, message, part, passing) in rows {
            let refusal = Refusal::from(&Status::new(code, message));
            let text = refusal.to_string();
            assert!(text.contains(part) && text.contains(message), "{code:?}: {text}");
            assert!(!text.starts_with(": ") && !text.contains(":  "), "{code:?}: {text}");
            assert_eq!(refusal.is_passing(), passing, "{code:?}");
        }
    }
}
