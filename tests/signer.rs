//! Keys that sign tokens, and sets of their public halves, as an issuer has them. Written apart from
//! what verifies them: shared by unit tests, scenarios and benches.
#![allow(dead_code, reason = "each of those who share it uses a part")]

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING,
    ECDSA_P521_SHA512_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256,
    RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RSA_PSS_SHA256, RSA_PSS_SHA384, RSA_PSS_SHA512,
    RsaEncoding, RsaKeyPair,
};
use serde_json::{Map, Value, json};

/// Somebody who signs.
pub struct Signer {
    pub kid: Option<String>,
    pub alg: &'static str,
    key: Key,
}

enum Key {
    Ec(&'static str, EcdsaKeyPair),
    Ed(Ed25519KeyPair),
    Rsa(RsaKeyPair),
}

impl Signer {
    /// With a new key for an algorithm of RFC 7518 or 8037.
    pub fn new(alg: &'static str, kid: &str) -> Self {
        let ec = |curve, by| Key::Ec(curve, EcdsaKeyPair::generate(by).expect("a key"));
        let key = match alg {
            "ES256" => ec("P-256", &ECDSA_P256_SHA256_FIXED_SIGNING),
            "ES384" => ec("P-384", &ECDSA_P384_SHA384_FIXED_SIGNING),
            "ES512" => ec("P-521", &ECDSA_P521_SHA512_FIXED_SIGNING),
            "EdDSA" => Key::Ed(Ed25519KeyPair::generate().expect("a key")),
            _ => Key::Rsa(RsaKeyPair::generate(KeySize::Rsa2048).expect("a key")),
        };
        Self { kid: Some(kid.to_owned()).filter(|kid| !kid.is_empty()), alg, key }
    }

    /// The public half, as a JWK.
    pub fn jwk(&self) -> Value {
        let mut jwk = match &self.key {
            Key::Ec(curve, pair) => {
                let point = &pair.public_key().as_ref()[1..];
                let (x, y) = point.split_at(point.len() / 2);
                json!({"kty": "EC", "crv": curve, "x": encode(x), "y": encode(y)})
            }
            Key::Ed(pair) => {
                json!({"kty": "OKP", "crv": "Ed25519", "x": encode(pair.public_key().as_ref())})
            }
            Key::Rsa(pair) => {
                let (n, e) = integers(pair.public_key().as_ref());
                json!({"kty": "RSA", "n": encode(&n), "e": encode(&e)})
            }
        };
        if let Some(kid) = &self.kid {
            jwk["kid"] = json!(kid);
        }
        jwk
    }

    /// The public half as bytes, as somebody may misuse it.
    pub fn public(&self) -> Vec<u8> {
        match &self.key {
            Key::Ec(_, pair) => pair.public_key().as_ref().to_vec(),
            Key::Ed(pair) => pair.public_key().as_ref().to_vec(),
            Key::Rsa(pair) => pair.public_key().as_ref().to_vec(),
        }
    }

    /// A token with these claims.
    pub fn token(&self, claims: &Value) -> String {
        let mut header = json!({"alg": self.alg, "typ": "JWT"});
        if let Some(kid) = &self.kid {
            header["kid"] = json!(kid);
        }
        self.signed(&header.to_string(), &claims.to_string())
    }

    /// A token of these very texts.
    pub fn signed(&self, header: &str, claims: &str) -> String {
        let signed = format!("{}.{}", encode(header.as_bytes()), encode(claims.as_bytes()));
        let signature = encode(&self.sign(signed.as_bytes()));
        format!("{signed}.{signature}")
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        let rng = SystemRandom::new();
        match &self.key {
            Key::Ec(_, pair) => pair.sign(&rng, message).expect("signed").as_ref().to_vec(),
            Key::Ed(pair) => pair.sign(message).as_ref().to_vec(),
            Key::Rsa(pair) => {
                let padding: &'static dyn RsaEncoding = match self.alg {
                    "RS256" => &RSA_PKCS1_SHA256,
                    "RS384" => &RSA_PKCS1_SHA384,
                    "RS512" => &RSA_PKCS1_SHA512,
                    "PS256" => &RSA_PSS_SHA256,
                    "PS384" => &RSA_PSS_SHA384,
                    _ => &RSA_PSS_SHA512,
                };
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(padding, &rng, message, &mut signature).expect("signed");
                signature
            }
        }
    }
}

/// A JWK set of these.
pub fn jwks(signers: &[&Signer]) -> String {
    let keys: Vec<Value> = signers.iter().map(|signer| signer.jwk()).collect();
    json!({ "keys": keys }).to_string()
}

/// Claims that are sound at that time, with others beside or in place of them.
pub fn claims(issuer: &str, now: u64, more: Value) -> Value {
    let mut claims = json!({"iss": issuer, "sub": "ann", "aud": "api", "exp": now + 600});
    let more: Map<String, Value> = more.as_object().cloned().unwrap_or_default();
    claims.as_object_mut().expect("an object").extend(more);
    claims
}

/// Base64 for URLs, without padding.
pub fn encode(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let bits: Vec<u8> =
        bytes.iter().flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1)).collect();
    let letter = |six: &[u8]| {
        let value = (0..6).fold(0, |value, nth| value << 1 | six.get(nth).copied().unwrap_or(0));
        char::from(LETTERS[usize::from(value)])
    };
    bits.chunks(6).map(letter).collect()
}

/// Both integers of a DER `RSAPublicKey`, without the zero of the sign.
fn integers(der: &[u8]) -> (Vec<u8>, Vec<u8>) {
    fn part(der: &[u8]) -> (&[u8], &[u8]) {
        let (length, from) = match der[1] {
            short if short < 0x80 => (usize::from(short), 2),
            long => {
                let count = usize::from(long & 0x7f);
                let length = der[2..2 + count].iter().fold(0, |n, b| n << 8 | usize::from(*b));
                (length, 2 + count)
            }
        };
        (&der[from..from + length], &der[from + length..])
    }
    let (inner, _) = part(der);
    let (n, rest) = part(inner);
    let (e, _) = part(rest);
    let plain = |bytes: &[u8]| bytes.iter().copied().skip_while(|b| *b == 0).collect();
    (plain(n), plain(e))
}
