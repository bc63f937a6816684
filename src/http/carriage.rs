//! How a request of any HTTP version travels over HTTP/2 between two sidecars, and is restored.
//!
//! The caller's version, and whether its target was in absolute form, stand in `x-outrigger-http`,
//! which sidecars remove from whatever else carries it. A port whose protocol is declared is
//! spoken to in that protocol, whatever the caller spoke.

use http::header::{self, HeaderValue};
use http::request::Parts;
use http::uri::{Authority, PathAndQuery, Scheme, Uri};
use http::{HeaderMap, Version};

use super::headers::{CARRIED_HTTP, Seen, join_cookies};
use crate::model::Protocol;

/// Makes an HTTP/2 request of whatever came, for a connection to another sidecar (`marked`), or to
/// an app that speaks HTTP/2 (not marked). `fallback` is the authority of an HTTP/1.0 request that
/// named no host.
///
/// # Errors
/// A sentence, when the target can't be written as HTTP/2 pseudo-headers.
pub fn to_http2(parts: &mut Parts, fallback: &Authority, marked: bool) -> Result<(), &'static str> {
    if parts.version == Version::HTTP_2 {
        return absolute(parts, fallback);
    }
    if marked {
        let was_absolute = parts.uri.scheme().is_some();
        let mark = match (parts.version, was_absolute) {
            (Version::HTTP_10, false) => "1.0",
            (Version::HTTP_10, true) => "1.0; absolute",
            (_, false) => "1.1",
            (_, true) => "1.1; absolute",
        };
        parts.headers.insert(CARRIED_HTTP, HeaderValue::from_static(mark));
    }
    absolute(parts, fallback)?;
    parts.headers.remove(header::HOST);
    parts.version = Version::HTTP_2;
    Ok(())
}

/// Gives the target the scheme and authority that HTTP/2 needs.
fn absolute(parts: &mut Parts, fallback: &Authority) -> Result<(), &'static str> {
    if parts.uri.authority().is_some() && parts.uri.scheme().is_some() {
        return Ok(());
    }
    let authority = match parts.uri.authority() {
        Some(authority) => authority.clone(),
        None => match parts.headers.get(header::HOST) {
            Some(host) if !host.is_empty() => {
                Authority::try_from(host.as_bytes()).map_err(|_| "Host is not an authority")?
            }
            _ => fallback.clone(),
        },
    };
    let mut uri = http::uri::Parts::default();
    uri.scheme = Some(Scheme::HTTP);
    uri.authority = Some(authority);
    let path = parts.uri.path_and_query().cloned();
    uri.path_and_query = Some(path.unwrap_or_else(|| PathAndQuery::from_static("/")));
    parts.uri = Uri::from_parts(uri).map_err(|_| "the target can't be carried over HTTP/2")?;
    Ok(())
}

/// How the app is to be spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Restored {
    pub version: Version,
    absolute: bool,
}

impl Restored {
    /// For an app that speaks HTTP/1.1 whatever came.
    pub fn http11() -> Self {
        Self { version: Version::HTTP_11, absolute: false }
    }
}

/// Reads, and removes, the mark of a request; it counts only over HTTP/2 from a `trusted` sidecar.
pub fn restored(
    headers: &mut HeaderMap,
    seen: Seen,
    came_as: Version,
    port: Protocol,
    trusted: bool,
) -> Restored {
    let mark = seen.has(Seen::CARRIED_HTTP).then(|| headers.remove(CARRIED_HTTP)).flatten();
    let mark = mark.filter(|_| trusted && came_as == Version::HTTP_2);
    let mark = mark.as_ref().map_or(&b""[..], HeaderValue::as_bytes);
    let came_as = match mark.get(..3) {
        Some(b"1.0") => Version::HTTP_10,
        Some(b"1.1") => Version::HTTP_11,
        _ => came_as,
    };
    let version = match port {
        Protocol::Http2 | Protocol::Grpc => Version::HTTP_2,
        Protocol::Http if came_as == Version::HTTP_2 => Version::HTTP_11,
        _ => came_as,
    };
    Restored { version, absolute: mark.ends_with(b"; absolute") }
}

/// Writes an HTTP/2 request as HTTP/1: the authority becomes `Host`, and the target takes the form
/// that it had.
pub fn to_http1(parts: &mut Parts, restored: Restored) {
    parts.version = restored.version;
    join_cookies(&mut parts.headers);
    let Some(authority) = parts.uri.authority() else {
        return;
    };
    if !parts.headers.contains_key(header::HOST)
        && let Ok(host) = HeaderValue::from_str(authority.as_str())
    {
        parts.headers.insert(header::HOST, host);
    }
    if !restored.absolute {
        let path = parts.uri.path_and_query().cloned();
        parts.uri = Uri::from(path.unwrap_or_else(|| PathAndQuery::from_static("/")));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;

    fn parts(version: Version, uri: &str, host: Option<&str>) -> Parts {
        let mut request = Request::builder().version(version).uri(uri);
        if let Some(host) = host {
            request = request.header("host", host);
        }
        request.body(()).expect("a request").into_parts().0
    }

    #[test]
    fn what_went_in_comes_out() {
        let fallback = Authority::from_static("web.default");
        for (version, uri, host, declared, expected) in [
            (
                Version::HTTP_11,
                "/x?y",
                Some("a:80"),
                Protocol::Auto,
                (Version::HTTP_11, "/x?y", Some("a:80")),
            ),
            (Version::HTTP_10, "/", Some("a"), Protocol::Auto, (Version::HTTP_10, "/", Some("a"))),
            (
                Version::HTTP_10,
                "/",
                None,
                Protocol::Auto,
                (Version::HTTP_10, "/", Some("web.default")),
            ),
            (
                Version::HTTP_11,
                "http://a/x",
                Some("a"),
                Protocol::Auto,
                (Version::HTTP_11, "http://a/x", Some("a")),
            ),
            (Version::HTTP_11, "*", Some("a"), Protocol::Auto, (Version::HTTP_11, "*", Some("a"))),
            (
                Version::HTTP_2,
                "http://a/x",
                None,
                Protocol::Http,
                (Version::HTTP_11, "/x", Some("a")),
            ),
            (
                Version::HTTP_2,
                "http://a/x",
                None,
                Protocol::Auto,
                (Version::HTTP_2, "http://a/x", None),
            ),
            (
                Version::HTTP_11,
                "/x",
                Some("a"),
                Protocol::Grpc,
                (Version::HTTP_2, "http://a/x", None),
            ),
        ] {
            let mut parts = parts(version, uri, host);
            to_http2(&mut parts, &fallback, true).expect("can be carried");
            assert_eq!(parts.version, Version::HTTP_2);
            let seen = Seen::scan(&parts.headers);
            let restored = restored(&mut parts.headers, seen, Version::HTTP_2, declared, true);
            if restored.version != Version::HTTP_2 {
                to_http1(&mut parts, restored);
            }
            let host = parts.headers.get("host").and_then(|host| host.to_str().ok());
            assert_eq!(
                (parts.version, parts.uri.to_string().as_str(), host),
                expected,
                "{uri} {declared:?}"
            );
            assert!(!parts.headers.contains_key(CARRIED_HTTP));
        }
    }
}
