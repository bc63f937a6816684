//! Calls to the API server: each with an end, and with an answer that tells what to do next.
//!
//! An answer that did not come may stand for something that was done all the same: whoever writes
//! has to look before they try again ([`Error::is_settled`]).

use std::future::Future;
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use kube::core::Status;
use tokio::time::timeout;

/// The name under which the control plane writes, as `kubectl --show-managed-fields` shows it.
pub(super) const MANAGER: &str = "outrigger-control-plane";

/// No call is worth waiting longer for: the next try may reach another API server.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// Why the API server did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the API server refuses: {}", sentence(.0))]
    Refused(Box<Status>),
    #[error("the API server can't be asked")]
    Unreachable(#[source] kube::Error),
    #[error("the API server did not answer within {} seconds", PATIENCE.as_secs())]
    Late,
}

fn sentence(status: &Status) -> &str {
    if status.message.is_empty() { &status.reason } else { &status.message }
}

impl From<kube::Error> for Error {
    fn from(error: kube::Error) -> Self {
        match error {
            kube::Error::Api(status) => Error::Refused(status),
            error => Error::Unreachable(error),
        }
    }
}

impl Error {
    /// Somebody else was first: what stands there is not what the write was made from.
    pub fn is_conflict(&self) -> bool {
        self.status().is_some_and(|status| {
            status.is_conflict() || status.is_already_exists() || status.is_not_found()
        })
    }

    pub fn is_not_found(&self) -> bool {
        self.status().is_some_and(Status::is_not_found)
    }

    /// Nothing can be made in a namespace that is going away.
    pub fn is_terminating(&self) -> bool {
        let causes = |status: &Status| {
            let causes = status.details.iter().flat_map(|details| &details.causes);
            causes.into_iter().any(|cause| cause.reason == "NamespaceTerminating")
        };
        self.status().is_some_and(causes)
    }

    /// Whether it is certain that nothing was written.
    pub fn is_settled(&self) -> bool {
        // A server that fails in the middle may have written before.
        self.status().is_some_and(|status| (400..500).contains(&status.code))
    }

    fn status(&self) -> Option<&Status> {
        match self {
            Error::Refused(status) => Some(status),
            Error::Unreachable(_) | Error::Late => None,
        }
    }
}

/// The answer to a call.
pub(super) async fn asked<T>(
    call: impl Future<Output = Result<T, kube::Error>>,
) -> Result<T, Error> {
    match timeout(PATIENCE, call).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(Error::Late),
    }
}

/// The wall clock, to the second, as Kubernetes writes times.
pub(super) fn now() -> Timestamp {
    let seconds = Timestamp::now().as_second();
    Timestamp::from_second(seconds).unwrap_or_default()
}
