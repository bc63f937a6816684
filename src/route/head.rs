//! What of a request routing looks at.
//!
//! A view of the head where it lies, so that a request that is only asked about (`explain`) goes
//! the same way as one that is sent.

use http::request::Parts;
use http::{HeaderMap, Method, header};

/// What of a request routing looks at.
#[derive(Clone, Copy, Debug)]
pub struct Head<'a> {
    pub method: &'a Method,
    /// As sent, without the query.
    pub path: &'a str,
    pub query: Option<&'a str>,
    pub headers: &'a HeaderMap,
    /// `:authority`, else Host: maybe with a port, in any letter case; empty if there is neither.
    pub host: &'a str,
    pub is_grpc: bool,
}

impl<'a> Head<'a> {
    pub fn of(parts: &'a Parts, is_grpc: bool) -> Self {
        Self {
            method: &parts.method,
            path: parts.uri.path(),
            query: parts.uri.query(),
            headers: &parts.headers,
            host: host(parts),
            is_grpc,
        }
    }
}

/// `:authority`, else Host, else nothing.
pub(super) fn host(parts: &Parts) -> &str {
    let written = || parts.headers.get(header::HOST).and_then(|host| host.to_str().ok());
    parts.uri.authority().map(|authority| authority.as_str()).or_else(written).unwrap_or_default()
}

/// The name, and the port if one is written; the brackets of an IPv6 address stay.
pub fn split_port(host: &str) -> (&str, Option<u16>) {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => (name, port.parse().ok()),
        _ => (host, None),
    }
}
