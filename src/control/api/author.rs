//! Who makes a call, for the log.
//!
//! The layer that lets a call in puts it into the request's extensions; whoever changes something
//! says it with the change.

use std::fmt;
use std::sync::Arc;

use tonic::Request;

/// What somebody who was let in goes by: a token's name or an identity, never a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Author(pub Arc<str>);

impl Author {
    /// Who makes this call.
    pub fn of<T>(request: &Request<T>) -> Self {
        let known = request.extensions().get::<Self>().cloned();
        known.unwrap_or_else(|| Self("unknown".into()))
    }
}

impl fmt::Display for Author {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
