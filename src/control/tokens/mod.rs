//! Join tokens: the right to be a service account's workload, as a text that can be handed on.
//!
//! A token is a JWT (RFC 7519) signed by ES256 with a key of our own, so that only what was given
//! out here is taken, whole and for a limited time. How often one may still be used, and whether it
//! was revoked, is kept in the store by its caller, `api`. The text of a token is never logged, and
//! no error holds a piece of it.

mod claims;
mod signer;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::time::SystemTime;

pub use signer::{Claims, Minted, Signer};

use super::FileError;
use crate::model::TrustDomain;

/// The longest token that is read or made.
pub const LONGEST: usize = 8 * 1024;

/// The most labels that a token grants.
pub const MOST_LABELS: usize = 64;

/// Why there is no signer, or no new token.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    File(#[from] FileError),
    #[error(
        "{} can't be used to sign tokens: put it back from a backup, or remove it; then a new key \
         is made, and the tokens that were given out before are no longer taken",
        .path.display()
    )]
    KeyUnusable {
        path: PathBuf,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    #[error(
        "{} is not an EC P-256 key in PKCS#8 (PRIVATE KEY): replace it with one that is",
        .path.display()
    )]
    KeyKind { path: PathBuf },
    #[error(
        "the namespace {namespace:?} and the service account {service_account:?} make no identity: \
         use letters, digits, dots, dashes and underscores"
    )]
    NoIdentity { namespace: String, service_account: String },
    #[error("{0:?} is no range of addresses: write it as 10.0.0.0/24, or 10.0.0.1/32 for one")]
    Address(String),
    #[error("{0} labels are too many for a token: 64 are the most")]
    ManyLabels(usize),
    #[error("the token would have {0} bytes, and 8192 are the most: grant fewer or shorter labels")]
    TooLong(usize),
    #[error("a token must last for a while, and end before the year 10000")]
    Lifetime,
    #[error("the machine can't make a key")]
    Key(#[source] rcgen::Error),
    #[error("the machine can't sign the token")]
    Sign(#[source] jsonwebtoken::errors::Error),
}

/// Why a token was not taken; made for logs.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    #[error("it has {0} bytes, and a join token has at most 8192: is it a join token?")]
    TooLong(usize),
    #[error("it is no join token, or only a part of one: copy the whole of it")]
    Malformed,
    #[error("it is not signed by ES256, as join tokens are")]
    Algorithm,
    #[error("it was not signed by this control plane: make one with `outrigger token create`")]
    Foreign,
    #[error("it was made for another trust domain than {ours}: make a new one")]
    WrongTrustDomain { ours: TrustDomain },
    #[error("it was made for another purpose than joining (its audience is not `outrigger`)")]
    WrongAudience,
    #[error("it says two different things of whom it is for: make a new one")]
    Contradiction,
    #[error("it was made in the future{}: one of the clocks is wrong", moment(.issued))]
    FromTheFuture { issued: SystemTime },
    #[error("it ended{}: make a new one", moment(.at))]
    Expired { at: SystemTime },
}

/// ` at 2025-01-31T12:00:00Z`, or nothing.
fn moment(time: &SystemTime) -> String {
    jiff::Timestamp::try_from(*time).map(|time| format!(" at {time:.0}")).unwrap_or_default()
}
