//! Secrets in a query, which nobody is to read in a log, a span or a tap.
//!
//! `access_token` always is one (RFC 6750, 2.3); which others are, callers say. Names are compared as
//! servers read them, percent-encoded or not.

use http::uri::{self, PathAndQuery, Uri};

const USUAL: &str = "access_token";
const MASK: &str = "***";

/// The same, with what is secret in the query masked. A clone where nothing is.
pub fn masked(uri: &Uri, secrets: &[Box<str>]) -> Uri {
    let Some(query) = uri.query() else { return uri.clone() };
    let is_secret = |name: &str| is(name, USUAL) || secrets.iter().any(|secret| is(name, secret));
    let name = |pair: &str| pair.split_once('=').map(|(name, _)| name.len());
    let has_secret = |pair: &str| name(pair).is_some_and(|length| is_secret(&pair[..length]));
    if !query.split('&').any(has_secret) {
        return uri.clone();
    }
    let mask = |pair: &str| match name(pair) {
        Some(length) if is_secret(&pair[..length]) => format!("{}={MASK}", &pair[..length]),
        _ => pair.to_owned(),
    };
    let pairs: Vec<String> = query.split('&').map(mask).collect();
    let target = format!("{}?{}", uri.path(), pairs.join("&"));
    let mut parts = uri::Parts::from(uri.clone());
    // It was a target before, and a mask is one everywhere.
    parts.path_and_query = PathAndQuery::try_from(target).ok();
    Uri::from_parts(parts).unwrap_or_default()
}

fn is(written: &str, name: &str) -> bool {
    if !written.contains('%') {
        return written == name;
    }
    let mut rest = written.as_bytes();
    let mut bytes = name.bytes();
    while let Some((&first, after)) = rest.split_first() {
        let digit = |at: usize| char::from(*after.get(at)?).to_digit(16);
        let escaped = || u8::try_from(digit(0)? * 16 + digit(1)?).ok();
        let (byte, next) = match (first == b'%').then(escaped).flatten() {
            Some(byte) => (byte, &after[2..]),
            None => (first, after),
        };
        if bytes.next() != Some(byte) {
            return false;
        }
        rest = next;
    }
    bytes.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_secret_is_masked_and_nothing_else() {
        let rows = [
            ("/a?access_token=s&b=c", "/a?access_token=***&b=c"),
            ("/a?b=c&%61ccess%5ftoken=s", "/a?b=c&%61ccess%5ftoken=***"),
            ("/a?t=s&t=u&tt=v&token=x", "/a?t=***&t=***&tt=v&token=x"),
            ("http://h:80/a?t=s", "http://h:80/a?t=***"),
            ("/a?t", "/a?t"),
            ("/a?b=t=s", "/a?b=t=s"),
            ("/a", "/a"),
        ];
        for (uri, shown) in rows {
            let uri: Uri = uri.parse().expect("a URI");
            assert_eq!(masked(&uri, &["t".into()]).to_string(), shown);
        }
    }
}
