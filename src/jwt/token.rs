//! A token as it comes, in three parts; nothing in it counts until a key has verified it.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::algorithm::Algorithm;
use super::keys::{KeyId, Keys, Outcome};
use super::{base64url, json};

/// No longer token is looked at. Headers of 64 KiB come in at most; tokens of more than some KiB are
/// refused by many servers. Arbitrary.
pub const MOST_BYTES: usize = 16 << 10;

/// Why a token is not taken; each sentence may be told to whoever sent it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    #[error("the token is longer than {MOST_BYTES} bytes")]
    Long,
    #[error("the token is not of the form of a JSON Web Token")]
    Form,
    #[error("the token's header can't be read")]
    Header,
    #[error("the token is of another type: its `typ` must be JWT or at+jwt, or left out")]
    Type,
    #[error("the token's header has `crit`, and what it asks for is not known here")]
    Critical,
    #[error("the token is not signed by an algorithm that is taken here")]
    Algorithm,
    #[error("the token's claims can't be read")]
    Claims,
    #[error("the token's signature is not right")]
    Signature,
    #[error("the token is signed by a key that its issuer does not publish")]
    UnknownKey,
    #[error("the token is signed by an algorithm that its key is not for")]
    UnfitKey,
    #[error("the token is of another issuer")]
    Issuer,
    #[error("the token is for another audience")]
    Audience,
    #[error("the token does not say when it ends: `exp` is missing")]
    Endless,
    #[error("the token has expired")]
    Expired,
    #[error("the token does not hold yet")]
    Early,
}

/// What a header says that counts. What it says of keys (`jwk`, `jku`, `x5c`, …) does not: whoever
/// signs would choose the key to be verified by.
#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    typ: Option<String>,
    cty: Option<Value>,
}

/// A token that nobody has verified.
#[derive(Debug)]
pub struct Unverified<'t> {
    signed: &'t str,
    signature: Vec<u8>,
    algorithm: Algorithm,
    key: Option<String>,
    claims: Map<String, Value>,
}

/// Whether a text has the form of a signed token: three parts. What has not may be one that says
/// nothing by itself.
pub fn looks_like_one(text: &str) -> bool {
    text.bytes().filter(|byte| *byte == b'.').count() == 2
}

impl<'t> Unverified<'t> {
    /// Reads a token.
    ///
    /// # Errors
    /// Why nobody could take it.
    pub fn read(text: &'t str) -> Result<Self, Invalid> {
        if text.len() > MOST_BYTES {
            return Err(Invalid::Long);
        }
        let (signed, signature) = text.rsplit_once('.').ok_or(Invalid::Form)?;
        let (header, claims) = signed.split_once('.').ok_or(Invalid::Form)?;
        if claims.contains('.') {
            return Err(Invalid::Form);
        }
        let header = base64url::decode(header).and_then(|bytes| json::object(&bytes));
        let header = header.ok_or(Invalid::Header)?;
        if ["crit", "b64"].iter().any(|name| header.contains_key(*name)) {
            return Err(Invalid::Critical);
        }
        let header: Header = serde_json::from_value(header.into()).map_err(|_| Invalid::Header)?;
        let algorithm = Algorithm::parse(&header.alg).ok_or(Invalid::Algorithm)?;
        // A token within a token, which would have to be read in its place.
        if header.cty.is_some() || !header.typ.as_deref().is_none_or(is_type) {
            return Err(Invalid::Type);
        }
        let claims = base64url::decode(claims).and_then(|bytes| json::object(&bytes));
        Ok(Self {
            signed,
            signature: base64url::decode(signature).ok_or(Invalid::Form)?,
            algorithm,
            key: header.kid,
            claims: claims.ok_or(Invalid::Claims)?,
        })
    }

    /// Who it says that it is of; nobody has verified that.
    pub fn issuer(&self) -> Option<&str> {
        self.claims.get("iss").and_then(Value::as_str)
    }

    /// The key that it is signed by.
    ///
    /// # Errors
    /// [`Invalid::UnknownKey`]: newer keys may help; else no key does.
    pub fn signed_by(&self, keys: &Keys) -> Result<KeyId, Invalid> {
        let Self { signed, signature, algorithm, key, claims: _ } = self;
        match keys.verify(*algorithm, key.as_deref(), signed.as_bytes(), signature) {
            Outcome::Verified(id) => Ok(id),
            Outcome::NoKey => Err(Invalid::UnknownKey),
            Outcome::Unfit => Err(Invalid::UnfitKey),
            Outcome::Unsigned => Err(Invalid::Signature),
        }
    }

    /// What it claims, which counts once it is known who signed it.
    pub fn claims(&self) -> &Map<String, Value> {
        &self.claims
    }

    pub fn into_claims(self) -> Map<String, Value> {
        self.claims
    }
}

/// What is made for something else, such as a log-out notice, does not let anybody in
/// (RFC 8725, 3.11).
fn is_type(typ: &str) -> bool {
    let lower = typ.to_ascii_lowercase();
    let name = lower.strip_prefix("application/").unwrap_or(&lower);
    matches!(name, "jwt" | "at+jwt")
}
