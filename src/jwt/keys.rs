//! The keys that an issuer publishes: a JWK set (RFC 7517).
//!
//! A key verifies only what it was made for: by its type, its curve, and its `alg`, `use` and
//! `key_ops` where it says them. Keys of other kinds are passed over and counted, as the standard has
//! it; a set that shows a secret is refused whole, since whoever can read it can sign. Each key is made
//! ready once, so that a token costs one verification and nothing else.

use std::fmt;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{ParsedPublicKey, RsaPublicKeyComponents};
use serde_json::{Map, Value};

use super::algorithm::Algorithm;
use super::base64url;
use super::json;

/// More keys of one issuer are a mistake: a token without `kid` is tried against all. Arbitrary.
const MOST: usize = 100;

/// What only the owner of a key has (RFC 7518, 6.2.2, 6.3.2 and 6.4.1).
const SECRET: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

/// Which key it is, by what it is made of: two of one id are the same.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct KeyId([u8; 32]);

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0[..4].iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// What can't be used as a set of keys.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeysError {
    #[error("it is no JWK set: expected JSON such as {{\"keys\": [{{\"kty\": \"EC\", …}}]}}")]
    Form,
    #[error("it has {0} keys; {MOST} is the most")]
    Many(usize),
    #[error(
        "keys[{0}] holds a private or shared key, which must not leave the issuer: publish the public one"
    )]
    Secret(usize),
    #[error("none of its {0} keys can be used: {1}")]
    Unusable(usize, String),
    #[error("it has no keys")]
    Empty,
}

/// Keys that are ready to verify.
#[derive(Debug, Default)]
pub struct Keys {
    keys: Vec<Key>,
    /// Why others of the set are passed over.
    left_out: Vec<String>,
}

#[derive(Debug)]
struct Key {
    name: Option<Box<str>>,
    id: KeyId,
    by: Vec<(Algorithm, ParsedPublicKey)>,
}

/// What came of looking for a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Verified(KeyId),
    /// No key has this name, or, where none is named, none of them signed it.
    NoKey,
    /// The key is made for another algorithm.
    Unfit,
    /// The key did not sign it.
    Unsigned,
}

impl Keys {
    /// Reads a set.
    ///
    /// # Errors
    /// Why nobody can be verified by it.
    pub fn read(text: &[u8]) -> Result<Self, KeysError> {
        let set = json::object(text).ok_or(KeysError::Form)?;
        let Some(Value::Array(written)) = set.get("keys") else { return Err(KeysError::Form) };
        if written.len() > MOST {
            return Err(KeysError::Many(written.len()));
        }
        let mut keys = Keys::default();
        for (nth, key) in written.iter().enumerate() {
            let Value::Object(key) = key else { return Err(KeysError::Form) };
            if SECRET.iter().any(|part| key.contains_key(*part)) {
                return Err(KeysError::Secret(nth));
            }
            match read(key) {
                Ok(key) => keys.keys.push(key),
                Err(why) => keys.left_out.push(format!("keys[{nth}] {why}")),
            }
        }
        match (keys.keys.is_empty(), written.len()) {
            (true, 0) => Err(KeysError::Empty),
            (true, many) => Err(KeysError::Unusable(many, keys.left_out.join("; "))),
            (false, _) => Ok(keys),
        }
    }

    /// How many can be used.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Why others are not used, one sentence each.
    pub fn left_out(&self) -> &[String] {
        &self.left_out
    }

    pub fn has(&self, id: KeyId) -> bool {
        self.keys.iter().any(|key| key.id == id)
    }

    /// Looks for the key that signed something. A key without a name may have any.
    pub(super) fn verify(
        &self,
        algorithm: Algorithm,
        name: Option<&str>,
        signed: &[u8],
        signature: &[u8],
    ) -> Outcome {
        let is_meant = |key: &&Key| match (name, key.name.as_deref()) {
            (Some(name), Some(of)) => name == of,
            _ => true,
        };
        let is_named = self.keys.iter().any(|key| name.is_some() && key.name.as_deref() == name);
        let mut outcome = if is_named { Outcome::Unfit } else { Outcome::NoKey };
        for key in self.keys.iter().filter(is_meant) {
            let fitting = key.by.iter().find(|(of, _)| *of == algorithm);
            let Some((_, public)) = fitting else { continue };
            if public.verify_sig(signed, signature).is_ok() {
                return Outcome::Verified(key.id);
            }
            if is_named {
                outcome = Outcome::Unsigned;
            }
        }
        outcome
    }
}

/// # Errors
/// Why the key is not used.
fn read(key: &Map<String, Value>) -> Result<Key, String> {
    let text = |name: &str| key.get(name).and_then(Value::as_str);
    if text("use").is_some_and(|of| of != "sig") {
        return Err("is not for signatures".to_owned());
    }
    let verifies =
        |ops: &Value| ops.as_array().is_some_and(|all| all.iter().any(|o| o == "verify"));
    if key.get("key_ops").is_some_and(|ops| !verifies(ops)) {
        return Err("is not for verifying".to_owned());
    }
    let bytes = |name: &str| {
        let bytes = text(name).and_then(base64url::decode);
        bytes.ok_or_else(|| format!("has no `{name}`, or one that is not base64url"))
    };
    let (parts, by) = match text("kty") {
        Some("RSA") => of_rsa(bytes("n")?, bytes("e")?)?,
        Some("EC") => of_curve(text("crv"), bytes("x")?, Some(bytes("y")?))?,
        Some("OKP") => of_curve(text("crv"), bytes("x")?, None)?,
        Some(other) => return Err(format!("is of the kind {other:?}, which is not used here")),
        None => return Err("does not say its kind, `kty`".to_owned()),
    };
    let by = match text("alg") {
        Some(name) => {
            let algorithm = Algorithm::parse(name);
            by.into_iter().filter(|(of, _)| Some(*of) == algorithm).collect()
        }
        None => by,
    };
    if by.is_empty() {
        return Err(format!("has an `alg` that is not for it: {:?}", text("alg").unwrap_or("")));
    }
    let id = digest(&SHA256, &parts);
    let id = KeyId(id.as_ref().try_into().map_err(|_| "has no digest")?);
    Ok(Key { name: text("kid").map(Into::into), id, by })
}

type Verifiers = (Vec<u8>, Vec<(Algorithm, ParsedPublicKey)>);

fn of_rsa(modulus: Vec<u8>, exponent: Vec<u8>) -> Result<Verifiers, String> {
    // Some write the sign bit's zero, which RFC 7518, 6.3.1.1 forbids.
    let plain = |bytes: &[u8]| bytes.iter().position(|b| *b != 0).map(|at| bytes[at..].to_vec());
    let (Some(n), Some(e)) = (plain(&modulus), plain(&exponent)) else {
        return Err("is zero".to_owned());
    };
    let bits = n.len() * 8 - n[0].leading_zeros() as usize;
    if !(2048..=8192).contains(&bits) {
        return Err(format!("has {bits} bits; 2048 to 8192 are taken"));
    }
    let parts = [&n[..], b"|", &e].concat();
    let components = RsaPublicKeyComponents { n, e };
    let by = Algorithm::OF_RSA.iter().filter_map(|algorithm| {
        Some((*algorithm, components.to_parsed_public_key(algorithm.of_rsa()?).ok()?))
    });
    let by: Vec<_> = by.collect();
    if by.is_empty() { Err("is no RSA key".to_owned()) } else { Ok((parts, by)) }
}

/// Without `y` it is an Edwards curve's.
fn of_curve(curve: Option<&str>, x: Vec<u8>, y: Option<Vec<u8>>) -> Result<Verifiers, String> {
    let name = curve.unwrap_or("none");
    let found =
        Algorithm::of_curve(name).filter(|(of, ..)| (*of == Algorithm::EdDsa) == y.is_none());
    let Some((algorithm, by, bytes)) = found else {
        return Err(format!("is of the curve {name:?}, which is not used here"));
    };
    if x.len() != bytes || y.as_ref().is_some_and(|y| y.len() != bytes) {
        return Err(format!(
            "has coordinates that are not of {bytes} bytes, as those of {name} are"
        ));
    }
    let public = match y {
        Some(y) => [&[4], &x[..], &y].concat(),
        None => x,
    };
    let parsed = ParsedPublicKey::new(by, &public);
    let parsed = parsed.map_err(|_| format!("is no point of {name}"))?;
    Ok((public, vec![(algorithm, parsed)]))
}
