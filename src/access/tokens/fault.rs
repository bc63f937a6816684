//! Why what a request came with is refused. Each sentence may be told to whoever sent it.

use crate::jwt::Invalid;

/// What is wrong with a token or a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Trouble {
    #[error(transparent)]
    Invalid(#[from] Invalid),
    #[error("the request comes with several tokens, and one is taken")]
    Several,
    #[error("the token is of an issuer whose tokens don't count here")]
    Stranger,
    #[error("the keys of the token's issuer have not been fetched yet: try again later")]
    Keyless,
    #[error("the token's issuer could not be asked about it: try again later")]
    Unanswered,
    #[error("the token's issuer says that it is not in force")]
    Inactive,
    #[error("the token's issuer, or the key that it is signed by, no longer counts")]
    Withdrawn,
    #[error("the API key is not known")]
    UnknownKey,
    #[error("the request comes with several API keys, and one is taken")]
    SeveralKeys,
}

/// What is wrong, and by whose policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    pub trouble: Trouble,
    /// The policy's place among those of the port that say whose tokens or keys count.
    pub(in crate::access) by: usize,
}

impl Trouble {
    /// Whether it is about an API key, not a token.
    pub fn is_of_key(self) -> bool {
        matches!(self, Trouble::UnknownKey | Trouble::SeveralKeys)
    }
}
