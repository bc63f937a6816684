//! How a token is shown with a call, and read from one: one place, so that none is ever printed with
//! a request and all who ask for one take the same. Callers: the command line, the demo; the control
//! plane's API and its admin port.
//!
//! Nothing is known here of what a token means.

use http::HeaderMap;
use http::header::AUTHORIZATION;
use tonic::metadata::{Ascii, MetadataValue};

/// The value of `authorization` for a token, blanks around it left out; `None`: the text can't be
/// one.
pub fn bearer(token: &str) -> Option<MetadataValue<Ascii>> {
    let token = token.trim();
    let legal = !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic());
    let mut value = legal.then(|| format!("Bearer {token}").parse().ok()).flatten()?;
    MetadataValue::set_sensitive(&mut value, true);
    Some(value)
}

/// The token that a call shows; `None`: none, or by another scheme. RFC 6750, section 2.1; the
/// scheme's case does not matter (RFC 9110, section 11.1).
pub fn shown(headers: &HeaderMap) -> Option<&[u8]> {
    let shown = headers.get(AUTHORIZATION)?.as_bytes();
    let (scheme, token) = shown.split_at_checked(b"Bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then(|| token.trim_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_one_word_and_never_printed() {
        let value = bearer(" abc\n").expect("a token");
        assert_eq!(value.to_str().ok(), Some("Bearer abc"));
        assert!(!format!("{value:?}").contains("abc"));
        for text in ["", " \n", "a b", "a\nb", "ä"] {
            assert!(bearer(text).is_none(), "{text:?}");
        }
    }
}
