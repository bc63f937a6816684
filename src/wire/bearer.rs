//! How a token is shown with a call: one place, so that none is ever printed with a request. Callers:
//! the command line, the demo.
//!
//! Nothing is known here of what a token means.

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
