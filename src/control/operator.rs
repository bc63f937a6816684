//! Operators: who may look at and change the whole control plane.
//!
//! The token is the one secret that does for everybody; identities are proven by certificate. The
//! token is never shown, neither by `Debug` nor in an error, and compared in a time that says nothing
//! about how much of a guess was right. Asked by the admin port and by the calls that operators make.

use std::fmt;
use std::hint::black_box;
use std::sync::Arc;

use crate::model::SpiffeId;
use crate::tls::provider;

/// What an operator must show.
#[derive(Clone)]
pub struct OperatorToken(Arc<[u8]>);

impl OperatorToken {
    /// The text of a new one, of 256 random bits; `None` when the machine gives none.
    pub fn invent() -> Option<String> {
        let mut bytes = [0; 32];
        provider().secure_random.fill(&mut bytes).ok()?;
        Some(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// `None` for an empty one, which everybody could show. White space around it is not part of it:
    /// files end in a newline.
    pub fn new(text: &str) -> Option<Self> {
        let text = text.trim();
        (!text.is_empty()).then(|| Self(text.as_bytes().into()))
    }

    /// For the file that its holders read it from.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.0).into_owned()
    }

    /// Whether `shown` is it. Takes the same time for all of the right length; the length is no
    /// secret.
    pub fn is(&self, shown: &[u8]) -> bool {
        let pairs = self.0.iter().zip(shown);
        let different =
            pairs.fold(0, |different, (ours, theirs)| black_box(different | (ours ^ theirs)));
        shown.len() == self.0.len() && black_box(different) == 0
    }
}

impl fmt::Debug for OperatorToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OperatorToken(..)")
    }
}

/// Who looks after the mesh.
#[derive(Clone, Debug)]
pub struct Operators {
    token: OperatorToken,
    identities: Arc<[SpiffeId]>,
}

impl Operators {
    /// `token` as it stands in the data folder; `identities` as the command line names them.
    pub fn new(token: OperatorToken, identities: Vec<SpiffeId>) -> Self {
        Self { token, identities: identities.into() }
    }

    /// Whether `shown` is the token.
    pub fn know(&self, shown: &[u8]) -> bool {
        self.token.is(shown)
    }

    /// Whether whoever proved to be `id` is one.
    pub fn include(&self, id: &SpiffeId) -> bool {
        self.identities.contains(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_whole_token_is_it() {
        let token = OperatorToken::new(" s3cret\n").expect("a token");
        for (shown, right) in [
            ("s3cret", true),
            ("s3creT", false),
            ("S3cret", false),
            ("s3cre", false),
            ("s3crets", false),
            ("s3cret ", false),
            ("", false),
        ] {
            assert_eq!(token.is(shown.as_bytes()), right, "{shown:?}");
        }
        assert!(OperatorToken::new(" \n").is_none(), "nothing would open every door");
        assert!(!format!("{token:?}").contains("s3cret"));
    }
}
