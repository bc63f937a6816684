//! JSON Web Tokens: read, verified by keys that their issuer publishes, and what they claim.
//!
//! RFC 7515 to 7519, as RFC 8725 wants them read: an algorithm counts only with a key that was made
//! for it, `none` and HMAC are not even known, what a header says of keys is not looked at, and what
//! two readers could read in two ways is no token. Synchronous, without a clock: callers say what
//! time it is. Resources use it to check keys that are written in them, `access` to let people in.

mod algorithm;
mod base64url;
mod claims;
mod expectation;
mod json;
mod keys;
mod token;

#[cfg(test)]
pub(crate) mod tests;

pub use algorithm::Algorithm;
pub use claims::{ClaimName, Claims, Wanted};
pub use expectation::{Expectation, SKEW};
pub use json::object;
pub use keys::{KeyId, Keys, KeysError};
pub use token::{Invalid, MOST_BYTES, Unverified, looks_like_one};
