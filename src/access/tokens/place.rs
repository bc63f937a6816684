//! Where tokens stand in a request: found there, and taken out again.
//!
//! A caller can't hide one by the way it is written: schemes know no letter case, and names of query
//! parameters may be percent-encoded.

use std::borrow::Cow;

use http::header::{self, HeaderMap, HeaderValue};
use http::request::Parts;
use http::uri::{self, PathAndQuery, Uri};

use crate::http::percent;
use crate::resources::access_policy::TokenPlace;

/// Each token at a place; `None` of an item: what can't be read as text.
pub fn tokens<'r>(
    place: &TokenPlace,
    parts: &'r Parts,
    mut each: impl FnMut(Option<Cow<'r, str>>),
) {
    match place {
        TokenPlace::Header { name, prefix } => {
            for value in parts.headers.get_all(name) {
                if let Some(rest) = after(prefix, value.as_bytes()) {
                    each(std::str::from_utf8(rest.trim_ascii()).ok().map(Cow::Borrowed));
                }
            }
        }
        TokenPlace::Cookie(name) => {
            for value in parts.headers.get_all(header::COOKIE) {
                for pair in value.as_bytes().split(|b| *b == b';') {
                    if let Some(found) = cookie(name, pair) {
                        each(std::str::from_utf8(found).ok().map(Cow::Borrowed));
                    }
                }
            }
        }
        TokenPlace::Query(name) => {
            for pair in parts.uri.query().unwrap_or_default().split('&') {
                let (of, value) = pair.split_once('=').unwrap_or((pair, ""));
                if is_named(of, name) {
                    each(plain(value));
                }
            }
        }
    }
}

/// Takes every token at a place out of a request.
pub fn remove(place: &TokenPlace, parts: &mut Parts) {
    match place {
        TokenPlace::Header { name, prefix } => {
            let is_other = |value: &HeaderValue| after(prefix, value.as_bytes()).is_none();
            keep(&mut parts.headers, name, |value| is_other(value).then(|| value.clone()));
        }
        TokenPlace::Cookie(name) => keep(&mut parts.headers, &header::COOKIE, |value| {
            let pairs = value.as_bytes().split(|b| *b == b';');
            let others: Vec<&[u8]> =
                pairs.filter(|pair| cookie(name, pair).is_none()).map(<[u8]>::trim_ascii).collect();
            let rest = others.join(&b"; "[..]);
            HeaderValue::from_bytes(&rest).ok().filter(|rest| !rest.is_empty())
        }),
        TokenPlace::Query(name) => {
            if let Some(without) = without(&parts.uri, name) {
                parts.uri = without;
            }
        }
    }
}

fn keep(
    headers: &mut HeaderMap,
    name: &header::HeaderName,
    what: impl Fn(&HeaderValue) -> Option<HeaderValue>,
) {
    let kept: Vec<HeaderValue> = headers.get_all(name).iter().filter_map(what).collect();
    headers.remove(name);
    for value in kept {
        headers.append(name, value);
    }
}

fn after<'v>(prefix: &str, value: &'v [u8]) -> Option<&'v [u8]> {
    let (head, rest) = value.split_at_checked(prefix.len())?;
    head.eq_ignore_ascii_case(prefix.as_bytes()).then_some(rest)
}

fn cookie<'v>(name: &str, pair: &'v [u8]) -> Option<&'v [u8]> {
    let at = pair.iter().position(|b| *b == b'=')?;
    let is_it = pair[..at].trim_ascii() == name.as_bytes();
    let value = pair[at + 1..].trim_ascii();
    // A quoted one is the same (RFC 6265, 4.1.1).
    let inner = value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\""));
    is_it.then_some(inner.unwrap_or(value))
}

fn is_named(written: &str, name: &str) -> bool {
    written == name || written.contains('%') && plain(written).as_deref() == Some(name)
}

/// What stands percent-encoded, where it is text.
fn plain(text: &str) -> Option<Cow<'_, str>> {
    if !text.contains('%') {
        return Some(Cow::Borrowed(text));
    }
    percent::text(text).map(Cow::Owned)
}

fn without(uri: &Uri, name: &str) -> Option<Uri> {
    let pairs = uri.query()?.split('&');
    let others: Vec<&str> = pairs
        .filter(|pair| !is_named(pair.split_once('=').map_or(*pair, |(of, _)| of), name))
        .collect();
    let target = match others.join("&") {
        rest if rest.is_empty() => uri.path().to_owned(),
        rest => format!("{}?{rest}", uri.path()),
    };
    let mut parts = uri::Parts::from(uri.clone());
    parts.path_and_query = Some(PathAndQuery::try_from(target).ok()?);
    Uri::from_parts(parts).ok()
}
