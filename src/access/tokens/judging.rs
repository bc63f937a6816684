//! Whether a token is right: what is remembered of it, else its issuer's keys, else its issuer.
//!
//! The token itself says whose it is; nobody has verified that, and nothing follows from it but by
//! whose keys it is tried. Several policies may take tokens of one issuer, each for its own audience:
//! the first that takes it counts.

use std::sync::Arc;
use std::time::Instant;

use aws_lc_rs::digest::{SHA256, digest};

use super::cache::{Found, Hash};
use super::fault::{Fault, Trouble};
use super::intake::{Accepted, Intake, Wait};
use super::issuer::{By, Verified, may_change};
use crate::jwt::{Invalid, KeyId, Unverified};

/// Why a token is not taken, at least not yet.
pub(super) enum Unjudged {
    Fault(Fault),
    /// And what is wrong for whoever can't wait.
    Wait(Wait, Fault),
}

/// The key that signed a token, and when the token ends.
type Proof = (KeyId, u64);

impl From<(Trouble, usize)> for Unjudged {
    fn from((trouble, by): (Trouble, usize)) -> Self {
        Unjudged::Fault(Fault { trouble, by })
    }
}

impl Intake {
    /// Judges a token that stands in these places; `by` is whose fault it is if nobody takes it.
    pub(super) fn judged(
        &self,
        token: &str,
        places: u64,
        by: usize,
        now: u64,
    ) -> Result<Arc<Verified>, Unjudged> {
        let hash = digest(&SHA256, token.as_bytes());
        let hash: Hash =
            hash.as_ref().try_into().map_err(|_| (Trouble::Invalid(Invalid::Form), by))?;
        if let Some(Found::Right(verified)) = self.cache.find(&hash) {
            let stands = |of: &Accepted| of.places & places != 0 && of.issuer.stands_by(&verified);
            if !verified.is_stale(now) && self.issuers.iter().any(stands) {
                return Ok(verified);
            }
        }
        let trouble = match Unverified::read(token) {
            Err(invalid) => Trouble::Invalid(invalid),
            Ok(unverified) => match self.by_keys(&unverified, places, now) {
                None => Trouble::Stranger,
                Some(judged) => {
                    let (nth, proof) = judged?;
                    let (claims, weight) = (unverified.into_claims(), token.len());
                    let verified = self.issuers[nth].issuer.verified(claims, proof, weight);
                    let verified = Arc::new(verified);
                    self.cache.keep(hash, Found::Right(Arc::clone(&verified)));
                    return Ok(verified);
                }
            },
        };
        let asked = self.by_answers(token, hash, places, now);
        asked.unwrap_or_else(|| Err((trouble, by).into()))
    }

    /// The issuer whose keys say that it is right; `None`: it is of none that shows keys.
    fn by_keys(
        &self,
        token: &Unverified<'_>,
        places: u64,
        now: u64,
    ) -> Option<Result<(usize, Proof), Unjudged>> {
        let (mut wrong, mut wait) = (None, None);
        for (nth, Accepted { issuer, places: of }) in self.issuers.iter().enumerate() {
            let By::Keys(ring) = &issuer.by else { continue };
            let is_of = token.issuer() == Some(issuer.written.expects.issuer.as_str());
            if of & places == 0 || !is_of {
                continue;
            }
            match issuer.verify(ring, token, now) {
                Ok(proof) => return Some(Ok((nth, proof))),
                Err(trouble) => {
                    if may_change(trouble) {
                        wait = wait.or_else(|| ring.ask(Instant::now()));
                    }
                    wrong.get_or_insert((trouble, nth));
                }
            }
        }
        let wrong = wrong?;
        Some(Err(wait.map_or_else(
            || wrong.into(),
            |wait| Unjudged::Wait(Wait(wait), Fault { trouble: wrong.0, by: wrong.1 }),
        )))
    }

    /// What those say who are to be asked; `None`: nobody is.
    fn by_answers(
        &self,
        token: &str,
        hash: Hash,
        places: u64,
        now: u64,
    ) -> Option<Result<Arc<Verified>, Unjudged>> {
        let mut wrong = None;
        for (nth, Accepted { issuer, places: of }) in self.issuers.iter().enumerate() {
            let By::Answers(asker) = &issuer.by else { continue };
            if of & places == 0 {
                continue;
            }
            let key = of_issuer(hash, issuer.id);
            match self.cache.find(&key) {
                Some(Found::Right(verified)) if !verified.is_stale(now) => {
                    return Some(Ok(verified));
                }
                Some(Found::Wrong { trouble, kept }) if kept.contains(&now) => {
                    wrong.get_or_insert((trouble, nth));
                }
                _ => {
                    let asked = asker.ask(issuer, &self.cache, token, key);
                    let Some(answered) = asked else {
                        wrong.get_or_insert((Trouble::Unanswered, nth));
                        continue;
                    };
                    let fault = Fault { trouble: Trouble::Unanswered, by: nth };
                    return Some(Err(Unjudged::Wait(Wait(answered), fault)));
                }
            }
        }
        wrong.map(|wrong| Err(wrong.into()))
    }
}

/// What an issuer says of a token is its own.
fn of_issuer(mut hash: Hash, issuer: u64) -> Hash {
    for (byte, of) in hash.iter_mut().zip(issuer.wrapping_add(1).to_be_bytes()) {
        *byte ^= of;
    }
    hash
}
