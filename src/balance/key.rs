//! A request's key: what a hashing policy sends to one endpoint.
//!
//! What is there but empty is no key: it would send everybody without a name to one endpoint.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::time::Duration;

use http::header::COOKIE;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue};

use super::affinity::of_ip;
use super::hash::xxh64;
use crate::http::percent;
use crate::model::HashOn;
use crate::runtime::clock::Rng;

/// A request's key, hashed.
#[derive(Debug)]
pub struct Key {
    /// None: the request has no key and goes to any endpoint.
    pub hash: Option<u64>,
    /// `Set-Cookie` for the answer, when the request had no such cookie and one was made.
    pub cookie: Option<HeaderValue>,
}

/// The key of a request that came from `client`. Every sidecar hashes the same key to the same
/// number.
pub fn key(on: &HashOn, parts: &Parts, client: SocketAddr, rng: &mut Rng) -> Key {
    let hash = match on {
        HashOn::Header(name) => header(&parts.headers, name),
        HashOn::Cookie { name, path, ttl } => {
            return match cookie(&parts.headers, name) {
                Some(value) => Key { hash: Some(xxh64(value, 0)), cookie: None },
                None => fresh(name, path.as_deref(), *ttl, rng),
            };
        }
        HashOn::Query(name) => parts.uri.query().and_then(|query| parameter(query, name)),
        HashOn::Path => some(parts.uri.path().as_bytes()),
        HashOn::SourceIp => Some(of_ip(client.ip(), 0)),
    };
    Key { hash, cookie: None }
}

/// The key of a connection, whose bytes nobody reads.
pub fn connection_key(on: &HashOn, client: SocketAddr) -> Option<u64> {
    matches!(on, HashOn::SourceIp).then(|| of_ip(client.ip(), 0))
}

fn some(value: &[u8]) -> Option<u64> {
    (!value.is_empty()).then(|| xxh64(value, 0))
}

/// All values of a header count, in their order.
fn header(headers: &HeaderMap, name: &HeaderName) -> Option<u64> {
    let values = headers.get_all(name).iter().filter(|value| !value.is_empty());
    values.fold(None, |hash, value| Some(xxh64(value.as_bytes(), hash.unwrap_or(0))))
}

/// The first cookie of that name. HTTP/2 may send each in a header of its own.
fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a [u8]> {
    headers
        .get_all(COOKIE)
        .iter()
        .flat_map(|header| header.as_bytes().split(|&byte| byte == b';'))
        .filter_map(|pair| split(pair.trim_ascii(), b'='))
        .find(|&(found, value)| found == name.as_bytes() && !value.is_empty())
        .map(|(_, value)| value)
}

/// A new cookie: 128 bits at random, so that two clients hardly share one. It guards nothing.
fn fresh(name: &str, path: Option<&str>, ttl: Option<Duration>, rng: &mut Rng) -> Key {
    let value = format!("{:016x}{:016x}", rng.next_u64(), rng.next_u64());
    let mut cookie = format!("{name}={value}");
    if let Some(path) = path {
        cookie.push_str("; Path=");
        cookie.push_str(path);
    }
    if let Some(ttl) = ttl {
        // Max-Age counts whole seconds, and 0 would delete the cookie.
        let seconds = ttl.as_millis().div_ceil(1000).max(1);
        cookie.push_str(&format!("; Max-Age={seconds}"));
    }
    cookie.push_str("; HttpOnly");
    Key { hash: some(value.as_bytes()), cookie: HeaderValue::try_from(cookie).ok() }
}

/// The first value of a query parameter, decoded.
fn parameter(query: &str, name: &str) -> Option<u64> {
    let pairs = query.as_bytes().split(|&byte| byte == b'&').filter_map(|pair| split(pair, b'='));
    let mut values = pairs.filter(|(found, _)| *decoded(found) == *name.as_bytes());
    values.next().and_then(|(_, value)| some(&decoded(value)))
}

/// Without its percent-encoding (RFC 3986 section 2.1); what is none stays as it is.
fn decoded(text: &[u8]) -> Cow<'_, [u8]> {
    if !text.contains(&b'%') {
        return Cow::Borrowed(text);
    }
    Cow::Owned(percent::bytes(text).map(|(byte, _)| byte).collect())
}

fn split(text: &[u8], at: u8) -> Option<(&[u8], &[u8])> {
    let place = text.iter().position(|&byte| byte == at)?;
    Some((&text[..place], &text[place + 1..]))
}

#[cfg(test)]
mod tests;
