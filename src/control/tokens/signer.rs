//! The key of the join tokens, at work.
//!
//! Reading goes from the outside in: length, form, algorithm, signature, and only then the claims,
//! so that nothing a stranger wrote is believed or repeated. Time is the caller's `now`; our own
//! clock made the token, so its end has no slack.

use std::fmt;
use std::path::Path;
use std::time::{Duration, SystemTime};

use ipnet::IpNet;
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{
    Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, decode_header, encode,
};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256};
use rustls::pki_types::PrivateKeyDer;
use uuid::{NoContext, Timestamp, Uuid};

use super::claims::{AUDIENCE, Wire, seconds, time};
use super::{Error, LONGEST, MOST_LABELS, TokenError};
use crate::control::files::{make_folder, read_private, write_private};
use crate::control::grant::Grant;
use crate::identity::private_key;
use crate::model::TrustDomain;

/// How far in the future a token may have been made: the clock may have been set back a little.
const SLACK: Duration = Duration::from_secs(60);

/// Makes and reads the join tokens of a trust domain.
pub struct Signer {
    trust_domain: TrustDomain,
    signing: EncodingKey,
    verifying: DecodingKey,
}

/// A new token.
#[derive(Clone, PartialEq, Eq)]
pub struct Minted {
    /// A secret: whoever has it may join.
    pub token: String,
    pub id: String,
    pub expires: SystemTime,
}

/// What a token that was taken says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claims {
    pub id: String,
    pub grant: Grant,
    pub expires: SystemTime,
}

impl Signer {
    /// Opens the key `tokens.key` in the data folder, or makes one. Blocking.
    ///
    /// # Errors
    /// [`Error::File`], [`Error::KeyUnusable`], [`Error::KeyKind`], [`Error::Key`].
    pub fn open(folder: &Path, trust_domain: &TrustDomain) -> Result<Self, Error> {
        // The data folder may be a mount whose mode is not ours to choose; the key's own counts.
        make_folder(folder)?;
        let path = folder.join("tokens.key");
        let pem = match read_private(&path)? {
            Some(pem) => pem,
            None => {
                let pem = Self::invent()?.into_bytes();
                write_private(&path, &pem)?;
                pem
            }
        };
        Self::of(&pem, &path, trust_domain)
    }

    /// A new key, as PEM.
    ///
    /// # Errors
    /// [`Error::Key`].
    pub fn invent() -> Result<String, Error> {
        Ok(KeyPair::generate().map_err(Error::Key)?.serialize_pem())
    }

    /// With a key that is kept at `path`, wherever that is.
    ///
    /// # Errors
    /// [`Error::KeyUnusable`], [`Error::KeyKind`].
    pub fn of(pem: &[u8], path: &Path, trust_domain: &TrustDomain) -> Result<Self, Error> {
        let key = read_key(path, pem)?;
        Ok(Self {
            trust_domain: trust_domain.clone(),
            signing: EncodingKey::from_ec_der(key.serialized_der()),
            verifying: DecodingKey::from_ec_der(key.public_key_raw()),
        })
    }

    /// A token for this right, until `ttl` from now, to the next whole second.
    ///
    /// # Errors
    /// When the right can't be granted ([`Error::NoIdentity`], [`Error::Address`],
    /// [`Error::ManyLabels`], [`Error::TooLong`], [`Error::Lifetime`]), or the machine can't sign.
    pub fn mint(&self, grant: &Grant, now: SystemTime, ttl: Duration) -> Result<Minted, Error> {
        let sub = self.judge(grant)?;
        let iat = seconds(now).ok_or(Error::Lifetime)?;
        let end = now.checked_add(ttl).filter(|_| !ttl.is_zero());
        let almost = Duration::from_nanos(999_999_999);
        let exp = end.and_then(|end| end.checked_add(almost)).and_then(seconds);
        let exp = exp.ok_or(Error::Lifetime)?;
        let expires = time(exp).ok_or(Error::Lifetime)?;
        let id = Uuid::new_v7(Timestamp::from_unix(NoContext, iat, 0)).to_string();
        let wire = Wire {
            iss: self.issuer(),
            aud: vec![AUDIENCE.to_owned()],
            sub,
            jti: id.clone(),
            iat,
            exp,
            grant: grant.clone(),
        };
        let token = encode(&Header::new(Algorithm::ES256), &wire, &self.signing);
        let token = token.map_err(Error::Sign)?;
        if token.len() > LONGEST {
            return Err(Error::TooLong(token.len()));
        }
        Ok(Minted { token, id, expires })
    }

    /// What a token grants, if it is one of ours and still holds at `now`.
    ///
    /// # Errors
    /// Every [`TokenError`]; none of them holds anything of the token's text.
    pub fn read(&self, token: &str, now: SystemTime) -> Result<Claims, TokenError> {
        if token.len() > LONGEST {
            return Err(TokenError::TooLong(token.len()));
        }
        let header = decode_header(token).map_err(|_| TokenError::Malformed)?;
        if header.alg != Algorithm::ES256 {
            return Err(TokenError::Algorithm);
        }
        let wire = decode::<Wire>(token, &self.verifying, &signature_only());
        let wire = wire.map_err(|error| match error.kind() {
            ErrorKind::InvalidSignature => TokenError::Foreign,
            _ => TokenError::Malformed,
        })?;
        self.take(wire.claims, now)
    }

    /// Judges what was signed by us.
    fn take(&self, wire: Wire, now: SystemTime) -> Result<Claims, TokenError> {
        if wire.iss != self.issuer() {
            return Err(TokenError::WrongTrustDomain { ours: self.trust_domain.clone() });
        }
        if wire.aud != [AUDIENCE] {
            return Err(TokenError::WrongAudience);
        }
        let identity = wire.grant.identity(&self.trust_domain);
        if identity.is_none_or(|identity| identity.as_str() != wire.sub) {
            return Err(TokenError::Contradiction);
        }
        let issued = time(wire.iat).ok_or(TokenError::Malformed)?;
        let expires = time(wire.exp).ok_or(TokenError::Malformed)?;
        if issued > now + SLACK {
            return Err(TokenError::FromTheFuture { issued });
        }
        if expires <= now {
            return Err(TokenError::Expired { at: expires });
        }
        Ok(Claims { id: wire.jti, grant: wire.grant, expires })
    }

    /// The id that a right is for, when it is one that can be granted.
    fn judge(&self, grant: &Grant) -> Result<String, Error> {
        if grant.labels.len() > MOST_LABELS {
            return Err(Error::ManyLabels(grant.labels.len()));
        }
        if let Some(address) = &grant.address
            && address.parse::<IpNet>().is_err()
        {
            return Err(Error::Address(address.clone()));
        }
        let identity = grant.identity(&self.trust_domain).ok_or_else(|| Error::NoIdentity {
            namespace: grant.namespace.clone(),
            service_account: grant.service_account.clone(),
        })?;
        Ok(identity.as_str().to_owned())
    }

    fn issuer(&self) -> String {
        format!("spiffe://{}", self.trust_domain)
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signer").field("trust_domain", &self.trust_domain).finish_non_exhaustive()
    }
}

impl fmt::Debug for Minted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Minted")
            .field("id", &self.id)
            .field("expires", &self.expires)
            .finish_non_exhaustive()
    }
}

fn read_key(path: &Path, pem: &[u8]) -> Result<KeyPair, Error> {
    let path = path.to_owned();
    let der = match private_key(pem) {
        Ok(PrivateKeyDer::Pkcs8(der)) => der,
        Ok(_) => return Err(Error::KeyKind { path }),
        Err(source) => return Err(Error::KeyUnusable { path, source: source.into() }),
    };
    match KeyPair::try_from(&der) {
        Ok(key) if key.algorithm() == &PKCS_ECDSA_P256_SHA256 => Ok(key),
        Ok(_) => Err(Error::KeyKind { path }),
        Err(source) => Err(Error::KeyUnusable { path, source: source.into() }),
    }
}

/// The claims are judged in [`Signer::take`], by the given time and with a word for each fault.
fn signature_only() -> Validation {
    let mut validation = Validation::new(Algorithm::ES256);
    validation.required_spec_claims.clear();
    validation.validate_exp = false;
    validation.validate_nbf = false;
    validation.validate_aud = false;
    validation
}
