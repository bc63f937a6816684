//! One look over a message's headers, and what the proxy does to them.
//!
//! A request has a handful of headers and the proxy cares about two dozen names, so the headers are
//! walked once and the rest of the path asks a bit set instead of the map.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use super::guard;
use super::http1::Spelling;
use super::http2::TooLarge;

/// Names of our own.
pub const PEER: HeaderName = HeaderName::from_static("x-outrigger-peer");
pub const REASON: HeaderName = HeaderName::from_static("x-outrigger-reason");
pub const ATTEMPT: HeaderName = HeaderName::from_static("x-outrigger-attempt");
pub const DEADLINE: HeaderName = HeaderName::from_static("x-outrigger-deadline-ms");
pub const CARRIED_HTTP: HeaderName = HeaderName::from_static("x-outrigger-http");
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
pub const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
pub const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");

/// Which of the names that matter are there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen(u32);

macro_rules! seen {
    ($($constant:ident = $bit:literal: $($name:literal)|+;)*) => {
        impl Seen {
            $(pub const $constant: Seen = Seen(1 << $bit);)*

            fn of(name: &str) -> Seen {
                match name {
                    $($($name)|+ => Seen::$constant,)*
                    _ if is_alias(name) => Seen::ALIAS,
                    _ => Seen(0),
                }
            }
        }
    };
}

seen! {
    CONNECTION = 0: "connection";
    KEEP_ALIVE = 1: "keep-alive";
    PROXY_CONNECTION = 2: "proxy-connection";
    TE = 3: "te";
    TRANSFER_ENCODING = 4: "transfer-encoding";
    UPGRADE = 5: "upgrade";
    HTTP2_SETTINGS = 6: "http2-settings";
    PEER = 7: "x-outrigger-peer";
    CARRIED_HTTP = 8: "x-outrigger-http";
    REASON = 9: "x-outrigger-reason";
    ATTEMPT = 10: "x-outrigger-attempt";
    DEADLINE = 11: "x-outrigger-deadline-ms";
    REQUEST_ID = 12: "x-request-id";
    TRACE = 13: "traceparent" | "b3" | "x-b3-traceid" | "x-b3-sampled" | "x-b3-flags";
    TRACE_STATE = 14: "tracestate";
    EXPECT = 15: "expect";
    GRPC_TIMEOUT = 16: "grpc-timeout";
    CONTENT_TYPE = 17: "content-type";
    HOST = 18: "host";
    GRPC_STATUS = 19: "grpc-status";
    TRAILER = 20: "trailer";
}

impl Seen {
    /// A name of ours with an underscore in it.
    pub const ALIAS: Seen = Seen(1 << 21);

    pub fn scan(headers: &HeaderMap) -> Seen {
        headers.keys().fold(Seen(0), |seen, name| Seen(seen.0 | Seen::of(name.as_str()).0))
    }

    pub fn has(self, other: Seen) -> bool {
        self.0 & other.0 != 0
    }

    pub const fn or(self, other: Seen) -> Seen {
        Seen(self.0 | other.0)
    }
}

const HOP_BY_HOP: Seen = Seen::CONNECTION
    .or(Seen::KEEP_ALIVE)
    .or(Seen::PROXY_CONNECTION)
    .or(Seen::TE)
    .or(Seen::TRANSFER_ENCODING)
    .or(Seen::UPGRADE)
    .or(Seen::HTTP2_SETTINGS);

/// The same by name.
static HOP_BY_HOP_NAMES: [HeaderName; 7] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::TE,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    HeaderName::from_static("http2-settings"),
];

/// Removes what concerns one connection only (RFC 9110 7.6.1), and says which protocol the message
/// asked to switch to, if any. `te: trailers` stays, because it is true of every hop of the mesh.
pub fn strip_hop_by_hop(headers: &mut HeaderMap, seen: Seen) -> Option<HeaderValue> {
    if !seen.has(HOP_BY_HOP) {
        return None;
    }
    let upgrade = upgrade_of(headers, seen);
    strip_listed(headers, seen);
    let trailers = seen.has(Seen::TE) && lists(headers, &header::TE, b"trailers");
    for name in &HOP_BY_HOP_NAMES {
        headers.remove(name);
    }
    if trailers {
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
    }
    upgrade
}

/// The protocol of a real Upgrade: listed in `Connection`, and not the obsolete h2c.
fn upgrade_of(headers: &HeaderMap, seen: Seen) -> Option<HeaderValue> {
    if !seen.has(Seen::UPGRADE) || !lists(headers, &header::CONNECTION, b"upgrade") {
        return None;
    }
    let protocol = headers.get(header::UPGRADE)?;
    (!protocol.as_bytes().eq_ignore_ascii_case(b"h2c")).then(|| protocol.clone())
}

/// Removes what `Connection` lists, except what a caller must not be able to take away: framing,
/// routing, identity and our own names. What concerns one connection by its own name stays: whoever
/// judges the message may ask for it.
pub fn strip_listed(headers: &mut HeaderMap, seen: Seen) {
    if !seen.has(Seen::CONNECTION) {
        return;
    }
    let listed: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .flat_map(|value| value.as_bytes().split(|&b| b == b','))
        .map(<[u8]>::trim_ascii)
        .filter(|name| !is_hop_by_hop(name))
        .filter_map(|name| HeaderName::from_bytes(name).ok())
        .filter(|name| !is_protected(name))
        .collect();
    for name in listed {
        headers.remove(name);
    }
}

fn is_hop_by_hop(name: &[u8]) -> bool {
    HOP_BY_HOP_NAMES.iter().any(|of| name.eq_ignore_ascii_case(of.as_str().as_bytes()))
}

fn is_protected(name: &HeaderName) -> bool {
    let name = name.as_str();
    matches!(
        name,
        "host"
            | "content-length"
            | "authorization"
            | "cookie"
            | "content-type"
            | "x-request-id"
            | "traceparent"
            | "tracestate"
            | "b3"
            | "trailer"
    ) || name.starts_with("x-outrigger-")
        || name.starts_with("x-b3-")
        || name.starts_with("x-forwarded-")
        || name.starts_with("grpc-")
}

/// True when a comma-separated header has `token`, in any letter case and without its parameters.
pub fn lists(headers: &HeaderMap, name: &HeaderName, token: &[u8]) -> bool {
    headers.get_all(name).iter().any(|value| {
        value.as_bytes().split(|&b| b == b',').any(|item| {
            let item = item.split(|&b| b == b';').next().unwrap_or_default();
            item.trim_ascii().eq_ignore_ascii_case(token)
        })
    })
}

/// Removes from trailers what only a head may say, and only a sidecar.
pub fn strip_trailers(trailers: &mut HeaderMap) {
    for name in [PEER, REASON, ATTEMPT, DEADLINE, CARRIED_HTTP] {
        trailers.remove(name);
    }
    strip_aliases(trailers);
}

/// Names of ours with `_` for `-`: to an app that gets its headers as variables (CGI, WSGI, Rack) they
/// are the same.
fn is_alias(name: &str) -> bool {
    const OURS: &[u8] = b"x-outrigger-";
    let is_like = |(a, b): (&u8, &u8)| a == b || *a == b'_' && *b == b'-';
    let name = name.as_bytes();
    name.len() > OURS.len() && name.iter().zip(OURS).all(is_like) && name.contains(&b'_')
}

/// Removes what would pass for a name of ours.
pub fn strip_aliases(headers: &mut HeaderMap) {
    let aliases: Vec<HeaderName> =
        headers.keys().filter(|name| is_alias(name.as_str())).cloned().collect();
    for name in aliases {
        headers.remove(name);
    }
}

/// A head that can be sent once more, with its letter case and nothing else that was attached to it.
pub fn copy(parts: &http::request::Parts) -> http::request::Parts {
    let mut copy = http::Request::new(()).into_parts().0;
    copy.method = parts.method.clone();
    copy.uri = parts.uri.clone();
    copy.version = parts.version;
    copy.headers = parts.headers.clone();
    if let Some(spelling) = parts.extensions.get::<Spelling>() {
        copy.extensions.insert(spelling.clone());
    }
    copy
}

/// What a caller's sidecar may add to a request: its own names, trace contexts in every format, and
/// what the filters of a route set and add, 16 each.
pub const ADDED: usize = 48;

/// Holds an HTTP/2 request to as many headers as the guard lets pass in HTTP/1, and `added` more. HPACK
/// says in one byte what takes a hundred in memory. The crumbs of a cookie count as one; where they
/// are many they are put together.
///
/// # Errors
/// A sentence, when there are more.
pub fn bound_http2(parts: &mut http::request::Parts, added: usize) -> Result<(), &'static str> {
    if parts.extensions.get::<TooLarge>().is_some() {
        return Err(guard::Rule::SectionTooLarge.sentence());
    }
    let headers = &mut parts.headers;
    let most = usize::from(guard::MAX_FIELDS) + added;
    if headers.len() <= most {
        return Ok(());
    }
    if join_cookies(headers) {
        // A map keeps the room of what it had.
        *headers = headers.clone();
    }
    match headers.len() <= most {
        true => Ok(()),
        false => Err(guard::Rule::TooManyFields.sentence()),
    }
}

/// HTTP/2 may split cookies into several fields; HTTP/1 must have one (RFC 9113 8.2.3). Whether they
/// were split.
pub fn join_cookies(headers: &mut HeaderMap) -> bool {
    let all: Vec<&[u8]> =
        headers.get_all(header::COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if all.len() < 2 {
        return false;
    }
    let joined = HeaderValue::from_bytes(&all.join(&b"; "[..]));
    joined.is_ok_and(|joined| headers.insert(header::COOKIE, joined).is_some())
}

/// Why an HTTP/2 request can't be forwarded: RFC 9113 8.3.1 and what HTTP/1 parsers would read in
/// two ways. What reads the stream has already refused the rest.
pub fn check_http2(parts: &http::request::Parts, seen: Seen) -> Result<(), &'static str> {
    if seen.has(Seen::HOST) {
        let mut hosts = parts.headers.get_all(header::HOST).iter();
        let host = hosts.next().map(HeaderValue::as_bytes).unwrap_or_default();
        if hosts.next().is_some() {
            return Err("Host stands more than once");
        }
        let authority = parts.uri.authority().map(|a| a.as_str().as_bytes());
        if authority.is_some_and(|authority| !authority.eq_ignore_ascii_case(host)) {
            return Err("Host contradicts :authority");
        }
    }
    if parts.uri.authority().is_none() {
        let host = parts.headers.get(header::HOST).map(HeaderValue::as_bytes);
        if !host.is_some_and(guard::is_authority) {
            return Err("the request has neither a valid :authority nor a valid Host");
        }
    }
    if let Some(authority) = parts.uri.authority().map(|authority| authority.as_str()) {
        if authority.contains('@') {
            return Err(":authority has user information");
        }
        if !guard::is_authority(authority.as_bytes()) {
            return Err(":authority is no host with an optional port");
        }
    }
    if parts.method == http::Method::CONNECT {
        return Ok(());
    }
    let path = parts.uri.path_and_query().map_or("", |path| path.as_str());
    let legal = |b: u8| (0x21..=0x7e).contains(&b) && b != b'#';
    if !path.bytes().all(legal) {
        return Err(":path has characters that may not stand in a request line");
    }
    let asterisk = path == "*" && parts.method == http::Method::OPTIONS;
    if !path.starts_with('/') && !asterisk {
        return Err(":path does not start with /");
    }
    Ok(())
}

#[cfg(test)]
mod tests;
