//! Why a command got nowhere, as one sentence with its cure, and the exit code that goes with it:
//! 2 for what has to be said differently, 1 for what didn't work.

use std::io;
use std::process::ExitCode;

use http::StatusCode;

use super::super::{FAILED, INVALID, chain, complain, refuse};
use super::place::Field;
use super::refusal::Refusal;
use crate::identity;
use crate::model::NameError;
use crate::resources::Origin;
use crate::tls::PeerError;
use crate::wire::ChannelError;

/// Why a command got nowhere.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("{} faults in the input", .0.len())]
    Faults(Vec<String>),
    #[error("nothing to do: the paths hold no *.yaml, *.yml or *.json file")]
    NoDocuments,
    #[error("no {} known: {}", .0.row().what, .0.cure())]
    Missing(Field),
    #[error("{at}: {path} can't be read")]
    Unreadable { at: Origin, path: String, source: io::Error },
    #[error("{at}: {path} can't be used")]
    Unusable { at: Origin, path: String, source: identity::Error },
    #[error("{at}: {path} holds no token: it must be one line of printable characters")]
    NoToken { at: Origin, path: String },
    #[error("{at}: {text:?} is not an address: write host:port, such as 127.0.0.1:15010")]
    Address { at: Origin, text: String },
    #[error("{at}")]
    TrustDomain { at: Origin, source: NameError },
    #[error("{at}: there is no context {name:?} in {file}; {known}")]
    NoContext { at: Origin, name: String, file: String, known: String },
    #[error("no folder for the contexts is known: set OUTRIGGER_CONTEXT_FILE or HOME")]
    Homeless,
    #[error("{path} can't be written")]
    Unwritable { path: String, source: io::Error },
    #[error("no control plane answers at {address} (another one? {})", Field::ControlPlane.cure())]
    Unreachable { address: String, source: io::Error },
    #[error("no pages of a control plane are at {address} (elsewhere? name them with --admin)")]
    NoPages { address: String, source: io::Error },
    #[error("the pages at {address} were not given: {status}: {sentence}")]
    NotGiven { address: String, status: StatusCode, sentence: String },
    #[error("{address} does not answer like a control plane's pages")]
    NotPages { address: String, source: hyper::Error },
    #[error("no port of this machine can be listened on")]
    Port(#[source] io::Error),
    #[error("this machine gives no random numbers")]
    Random,
    #[error(
        "who answers at {address} did not prove to be the control plane (are --trust-anchors and \
         --trust-domain its own?)"
    )]
    Stranger { address: String, source: PeerError },
    #[error("{address} does not answer like a control plane")]
    Broken { address: String, source: ChannelError },
    #[error("the connection to the control plane was lost: {0}")]
    Lost(String),
    #[error("the control plane gave no answer within {0:?}: try again, or look at its log")]
    Silent(std::time::Duration),
    #[error("{0}")]
    Refused(Refusal),
    #[error("the control plane answered what this version does not understand: {0}")]
    Nonsense(String),
    #[error("standard output can't be written")]
    Output(#[source] io::Error),
    #[error("no runtime")]
    Runtime(#[source] io::Error),
}

impl Error {
    /// Says it on standard error.
    pub(super) fn report(&self) -> ExitCode {
        if let Error::Faults(faults) = self {
            return refuse(faults);
        }
        complain(&format!("error: {}", chain(self)));
        ExitCode::from(self.code())
    }

    fn code(&self) -> u8 {
        match self {
            Error::Faults(_)
            | Error::NoDocuments
            | Error::Missing(_)
            | Error::Unreadable { .. }
            | Error::Unusable { .. }
            | Error::NoToken { .. }
            | Error::Address { .. }
            | Error::TrustDomain { .. }
            | Error::NoContext { .. }
            | Error::Homeless => INVALID,
            Error::Refused(refusal) if refusal.is_invalid() => INVALID,
            _ => FAILED,
        }
    }

    /// Whether the same may well work in a moment: the control plane restarts, or the way to it is
    /// cut.
    pub(super) fn is_passing(&self) -> bool {
        match self {
            Error::Unreachable { .. }
            | Error::Broken { .. }
            | Error::Lost(_)
            | Error::Silent(_) => true,
            Error::Stranger { source, .. } => !source.is_identity(),
            Error::Refused(refusal) => refusal.is_passing(),
            _ => false,
        }
    }
}

impl From<tonic::Status> for Error {
    /// What the connection did is told from what the control plane said: only the former has a
    /// source, or happens before a call begins.
    fn from(status: tonic::Status) -> Self {
        let unknown = status.code() == tonic::Code::Unknown;
        if let Some(cause) = std::error::Error::source(&status).filter(|_| unknown) {
            return Error::Lost(if is_end(cause) { "it ended".into() } else { chain(cause) });
        }
        match status.message().strip_prefix("Service was not ready: ").filter(|_| unknown) {
            Some(cause) => Error::Lost(cause.to_owned()),
            None => Error::Refused(Refusal::from(&status)),
        }
    }
}

/// Whether the far end is simply gone, which TLS words like an attack.
fn is_end(mut cause: &(dyn std::error::Error + 'static)) -> bool {
    loop {
        let http = cause.downcast_ref::<h2::Error>().and_then(h2::Error::get_io);
        let io = cause.downcast_ref::<io::Error>().or(http);
        if io.is_some_and(|error| error.kind() == io::ErrorKind::UnexpectedEof) {
            return true;
        }
        match cause.source() {
            Some(source) => cause = source,
            None => return false,
        }
    }
}
