//! An issuer as a policy has it, and tokens of its that were verified.

use std::ops::Range;
use std::sync::Arc;

use http::{HeaderName, HeaderValue};
use serde_json::{Map, Value};

use super::asker::Asker;
use super::fault::Trouble;
use super::ring::Ring;
use crate::jwt::{ClaimName, Claims, Invalid, KeyId, SKEW, Unverified};
use crate::resources::access_policy::Jwt;

/// Whose tokens count, and by what they are verified.
#[derive(Debug)]
pub struct Issuer {
    pub(super) id: u64,
    pub written: Jwt,
    pub by: By,
    headers: Box<[(HeaderName, ClaimName)]>,
}

#[derive(Debug)]
pub enum By {
    Keys(Arc<Ring>),
    Answers(Arc<Asker>),
}

/// A token that was found right.
#[derive(Debug)]
pub struct Verified {
    pub claims: Arc<Claims>,
    /// The id of the issuer that it is of.
    pub(super) issuer: u64,
    /// `None`: its issuer was asked.
    pub(super) key: Option<KeyId>,
    /// When it need not be asked about again.
    pub(super) kept: Range<u64>,
    /// For the app.
    pub(in crate::access) headers: Box<[(HeaderName, HeaderValue)]>,
    /// Whether the app gets the token too.
    pub(super) is_forwarded: bool,
    /// Bytes of the token, which its claims take up several times.
    pub(super) weight: usize,
}

impl Issuer {
    pub(super) fn new(id: u64, written: Jwt, by: By) -> Self {
        let headers = written.claim_headers.iter();
        let headers = headers.map(|(name, claim)| (name.clone(), ClaimName::new(claim))).collect();
        Self { id, written, by, headers }
    }

    /// Verifies a token by keys; `now` in seconds since 1970. Returns which key signed it, and when
    /// it ends.
    ///
    /// # Errors
    /// Why it is not taken. Of [`Trouble::Keyless`] and [`Invalid::UnknownKey`] newer keys may say else.
    pub(super) fn verify(
        &self,
        ring: &Ring,
        token: &Unverified<'_>,
        now: u64,
    ) -> Result<(KeyId, u64), Trouble> {
        let keys = ring.keys();
        let keys = keys.as_ref().as_ref().ok_or(Trouble::Keyless)?;
        let key = token.signed_by(keys)?;
        Ok((key, self.written.expects.check(token.claims(), now)?))
    }

    /// A token that was verified by keys.
    pub(super) fn verified(
        &self,
        claims: Map<String, Value>,
        (key, ends): (KeyId, u64),
        weight: usize,
    ) -> Verified {
        self.found(claims, ends, Some(key), 0..u64::MAX, weight)
    }

    /// What its issuer answered about a token: its claims, if it is in force.
    ///
    /// # Errors
    /// Why it is not taken.
    pub(super) fn answered(
        &self,
        claims: Option<Map<String, Value>>,
        cache_for: u64,
        weight: usize,
        now: u64,
    ) -> Result<Verified, Trouble> {
        let mut claims = claims.ok_or(Trouble::Inactive)?;
        // Neither has to be said (RFC 7662, 2.2): the issuer itself was asked, and just now.
        let issuer = self.written.expects.issuer.as_str();
        claims.entry("iss").or_insert_with(|| issuer.into());
        let kept = kept_for(cache_for, now);
        claims.entry("exp").or_insert_with(|| kept.end.into());
        let ends = self.written.expects.check(&claims, now)?;
        Ok(self.found(claims, ends, None, kept, weight))
    }

    fn found(
        &self,
        claims: Map<String, Value>,
        ends: u64,
        key: Option<KeyId>,
        kept: Range<u64>,
        weight: usize,
    ) -> Verified {
        let claims = Claims::new(claims, ends);
        // What is no header value does not pass: nothing is better than something else.
        let value = |(name, claim): &(HeaderName, ClaimName)| {
            let text = claims.text(claim)?;
            let is_plain = !text.is_empty() && text.bytes().all(|b| b >= b' ' && b != 0x7f);
            let value = HeaderValue::from_bytes(text.as_bytes()).ok().filter(|_| is_plain)?;
            Some((name.clone(), value))
        };
        let headers = self.headers.iter().filter_map(value).collect();
        let is_forwarded = self.written.forward;
        Verified {
            claims: claims.into(),
            issuer: self.id,
            key,
            kept,
            headers,
            is_forwarded,
            weight,
        }
    }

    /// Whether what was found right here is so still.
    pub(super) fn stands_by(&self, verified: &Verified) -> bool {
        verified.issuer == self.id && verified.key.is_none_or(|key| self.has(key))
    }

    /// Whether it would be found right, as far as names and keys go, by whomever it was.
    pub(super) fn would_stand_by(&self, verified: &Verified) -> bool {
        let is_of_kind = match (&self.by, verified.key) {
            (By::Keys(_), Some(key)) => self.has(key),
            (By::Answers(_), None) => true,
            _ => false,
        };
        is_of_kind && verified.claims.fit(&self.written.expects)
    }

    fn has(&self, key: KeyId) -> bool {
        match &self.by {
            By::Keys(ring) => ring.keys().as_ref().as_ref().is_some_and(|keys| keys.has(key)),
            By::Answers(_) => false,
        }
    }
}

impl Verified {
    /// Whether it has ended, or is to be asked about again.
    pub(super) fn is_stale(&self, now: u64) -> bool {
        !self.kept.contains(&now) || self.claims.have_ended(now)
    }
}

/// How long an answer of now is kept, in seconds since 1970. Before it was given it was not known: a
/// clock that was set back keeps none for longer.
pub(super) fn kept_for(seconds: u64, now: u64) -> Range<u64> {
    now.saturating_sub(SKEW)..now.saturating_add(seconds)
}

/// Whether newer keys may say else.
pub(super) fn may_change(trouble: Trouble) -> bool {
    matches!(trouble, Trouble::Keyless | Trouble::Invalid(Invalid::UnknownKey))
}
