//! What somebody has shown beside the connection's identity, and what was found right.

use std::sync::Arc;

use http::HeaderMap;

use super::tokens::{Cleared, Verified};
use crate::jwt::Claims;

/// What a request came with. Only what was verified is here.
#[derive(Clone, Debug, Default)]
pub struct Credentials {
    /// Of its token.
    pub claims: Option<Arc<Claims>>,
    /// The name of its API key.
    pub api_key: Option<Arc<str>>,
    /// What the claims rest on.
    pub(super) token: Option<Arc<Verified>>,
    /// What the name of the key rests on.
    pub(super) key_hash: Option<[u8; 32]>,
}

impl Credentials {
    /// Tells the app who calls, as policies ask; what the caller wrote there itself is removed.
    pub fn dress(&self, cleared: &Cleared, headers: &mut HeaderMap) {
        cleared.clear(headers);
        for (name, value) in self.token.iter().flat_map(|token| &token.headers) {
            headers.insert(name.clone(), value.clone());
        }
    }
}

/// Nobody has shown anything.
pub(super) static NONE: Credentials =
    Credentials { claims: None, api_key: None, token: None, key_hash: None };
