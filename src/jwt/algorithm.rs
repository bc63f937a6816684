//! How tokens may be signed: with a private key whose public half the issuer shows to everybody.
//!
//! `none` and the HMAC ones are not here. A verifier that knows them can be talked into taking a
//! public key for a shared secret.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ECDSA_P521_SHA512_FIXED, ED25519,
    EcdsaVerificationAlgorithm, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384,
    RSA_PKCS1_2048_8192_SHA512, RSA_PSS_2048_8192_SHA256, RSA_PSS_2048_8192_SHA384,
    RSA_PSS_2048_8192_SHA512, RsaParameters, VerificationAlgorithm,
};

/// An algorithm of RFC 7518, 3.1 or RFC 8037.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    Rs256,
    Rs384,
    Rs512,
    Ps256,
    Ps384,
    Ps512,
    Es256,
    Es384,
    Es512,
    EdDsa,
}

impl Algorithm {
    /// Those of RSA keys; any such key may serve each.
    pub const OF_RSA: [Algorithm; 6] = {
        use Algorithm::{Ps256, Ps384, Ps512, Rs256, Rs384, Rs512};
        [Rs256, Rs384, Rs512, Ps256, Ps384, Ps512]
    };

    /// As tokens and keys name it. `Ed25519` is RFC 9864's name for what everybody calls `EdDSA`.
    pub fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "RS256" => Algorithm::Rs256,
            "RS384" => Algorithm::Rs384,
            "RS512" => Algorithm::Rs512,
            "PS256" => Algorithm::Ps256,
            "PS384" => Algorithm::Ps384,
            "PS512" => Algorithm::Ps512,
            "ES256" => Algorithm::Es256,
            "ES384" => Algorithm::Es384,
            "ES512" => Algorithm::Es512,
            "EdDSA" | "Ed25519" => Algorithm::EdDsa,
            _ => return None,
        })
    }

    /// How an RSA key does it; keys of less than 2048 bits verify nothing.
    pub(super) fn of_rsa(self) -> Option<&'static RsaParameters> {
        Some(match self {
            Algorithm::Rs256 => &RSA_PKCS1_2048_8192_SHA256,
            Algorithm::Rs384 => &RSA_PKCS1_2048_8192_SHA384,
            Algorithm::Rs512 => &RSA_PKCS1_2048_8192_SHA512,
            Algorithm::Ps256 => &RSA_PSS_2048_8192_SHA256,
            Algorithm::Ps384 => &RSA_PSS_2048_8192_SHA384,
            Algorithm::Ps512 => &RSA_PSS_2048_8192_SHA512,
            _ => return None,
        })
    }

    /// The one of a curve, as keys name it: what verifies, and the bytes of a coordinate.
    pub(super) fn of_curve(
        curve: &str,
    ) -> Option<(Self, &'static dyn VerificationAlgorithm, usize)> {
        let ecdsa = |algorithm, by: &'static EcdsaVerificationAlgorithm, bytes| {
            let by: &'static dyn VerificationAlgorithm = by;
            Some((algorithm, by, bytes))
        };
        match curve {
            "P-256" => ecdsa(Algorithm::Es256, &ECDSA_P256_SHA256_FIXED, 32),
            "P-384" => ecdsa(Algorithm::Es384, &ECDSA_P384_SHA384_FIXED, 48),
            "P-521" => ecdsa(Algorithm::Es512, &ECDSA_P521_SHA512_FIXED, 66),
            "Ed25519" => Some((Algorithm::EdDsa, &ED25519, 32)),
            _ => None,
        }
    }
}
