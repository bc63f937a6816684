//! What the claims of a verified token must say: whose it is, for whom, and when it holds.

use serde_json::{Map, Value};

use super::token::Invalid;

/// Clocks may differ by so many seconds.
pub const SKEW: u64 = 60;

/// Whose tokens are taken.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Expectation {
    pub issuer: String,
    /// Any of them; empty: whatever the audience.
    pub audiences: Vec<String>,
}

impl Expectation {
    /// Until when claims hold, in seconds since 1970, without the skew. `now` is in the same.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn check(&self, claims: &Map<String, Value>, now: u64) -> Result<u64, Invalid> {
        self.check_names(claims)?;
        let ends = match claims.get("exp") {
            None | Some(Value::Null) => return Err(Invalid::Endless),
            Some(exp) => seconds(exp).ok_or(Invalid::Claims)?,
        };
        let begins = match claims.get("nbf") {
            None | Some(Value::Null) => 0,
            Some(nbf) => seconds(nbf).ok_or(Invalid::Claims)?,
        };
        if has_ended(ends, now) {
            return Err(Invalid::Expired);
        }
        if begins > now.saturating_add(SKEW) {
            return Err(Invalid::Early);
        }
        Ok(ends)
    }

    /// Whose they are and for whom, whenever they hold.
    ///
    /// # Errors
    /// Which of both is wrong.
    pub(super) fn check_names(&self, claims: &Map<String, Value>) -> Result<(), Invalid> {
        if claims.get("iss").and_then(Value::as_str) != Some(self.issuer.as_str()) {
            return Err(Invalid::Issuer);
        }
        if !self.audiences.is_empty() && !claims.get("aud").is_some_and(|aud| self.is_for(aud)) {
            return Err(Invalid::Audience);
        }
        Ok(())
    }

    fn is_for(&self, aud: &Value) -> bool {
        let is_ours = |aud: &Value| {
            aud.as_str().is_some_and(|aud| self.audiences.iter().any(|ours| ours == aud))
        };
        match aud {
            Value::Array(all) => all.iter().any(is_ours),
            one => is_ours(one),
        }
    }
}

/// Whether what ends then has ended, whatever clock is right.
pub(super) fn has_ended(ends: u64, now: u64) -> bool {
    ends.saturating_add(SKEW) <= now
}

/// A NumericDate (RFC 7519, 2), which may have a fraction.
fn seconds(value: &Value) -> Option<u64> {
    let Value::Number(number) = value else { return None };
    number.as_u64().or_else(|| {
        let seconds = number.as_f64().filter(|seconds| seconds.is_finite() && *seconds >= 0.0)?;
        Some(seconds as u64)
    })
}
