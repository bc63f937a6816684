//! Requests that ask to leave HTTP: Upgrade, CONNECT, and WebSocket over HTTP/2 (RFC 8441).
//!
//! Between two sidecars and towards the app they all travel as HTTP/1, because that is what every
//! server of WebSockets speaks; the answer is turned back into what the caller understands.

use http::header::{self, HeaderName, HeaderValue};
use http::request::Parts;
use http::uri::{PathAndQuery, Uri};
use http::{HeaderMap, Method, Response, StatusCode, Version};
use hyper::ext::Protocol;

const WEBSOCKET_ACCEPT: HeaderName = HeaderName::from_static("sec-websocket-accept");

/// What the caller asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Switch {
    /// `Upgrade` in HTTP/1, to this protocol.
    Upgrade(HeaderValue),
    Connect,
    /// Extended CONNECT in HTTP/2, made an Upgrade on the way.
    Extended(HeaderValue),
}

/// What the request asks for; `upgrade` is the protocol of its `Upgrade` header, if it had one.
pub fn asked(parts: &Parts, upgrade: Option<HeaderValue>) -> Option<Switch> {
    if parts.method == Method::CONNECT {
        return Some(match parts.extensions.get::<Protocol>() {
            Some(protocol) => Switch::Extended(HeaderValue::from_str(protocol.as_str()).ok()?),
            None => Switch::Connect,
        });
    }
    upgrade.filter(|_| parts.version == Version::HTTP_11).map(Switch::Upgrade)
}

/// Writes the request as HTTP/1 asks for it. `key` is random; HTTP/2 clients send none.
pub fn write_request(parts: &mut Parts, switch: &Switch, key: [u8; 16]) {
    if parts.version == Version::HTTP_2
        && let Some(authority) = parts.uri.authority()
        && let Ok(host) = HeaderValue::from_str(authority.as_str())
    {
        parts.headers.insert(header::HOST, host);
    }
    parts.version = Version::HTTP_11;
    let protocol = match switch {
        Switch::Connect => return,
        Switch::Upgrade(protocol) => protocol,
        Switch::Extended(protocol) => {
            parts.method = Method::GET;
            let path = parts.uri.path_and_query().cloned();
            parts.uri = Uri::from(path.unwrap_or_else(|| PathAndQuery::from_static("/")));
            if protocol.as_bytes().eq_ignore_ascii_case(b"websocket") {
                parts.headers.insert(header::SEC_WEBSOCKET_KEY, base64(key));
                let version = HeaderValue::from_static("13");
                parts.headers.entry(header::SEC_WEBSOCKET_VERSION).or_insert(version);
            }
            protocol
        }
    };
    parts.headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    parts.headers.insert(header::UPGRADE, protocol.clone());
}

/// True when the answer grants what was asked for.
pub fn is_granted<B>(switch: &Switch, response: &Response<B>) -> bool {
    match switch {
        Switch::Connect => response.status().is_success(),
        Switch::Upgrade(_) | Switch::Extended(_) => {
            response.status() == StatusCode::SWITCHING_PROTOCOLS
        }
    }
}

/// Writes the head of a granted answer as the caller understands it; `protocol` is what the far
/// side switched to.
pub fn write_granted(
    headers: &mut HeaderMap,
    status: &mut StatusCode,
    switch: &Switch,
    protocol: Option<HeaderValue>,
) {
    match switch {
        Switch::Connect => {}
        Switch::Upgrade(_) => {
            headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
            if let Some(protocol) = protocol {
                headers.insert(header::UPGRADE, protocol);
            }
        }
        Switch::Extended(_) => {
            *status = StatusCode::OK;
            headers.remove(WEBSOCKET_ACCEPT);
        }
    }
}

/// 16 bytes as base64, 24 characters.
fn base64(key: [u8; 16]) -> HeaderValue {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = [b'='; 24];
    for (three, four) in key.chunks(3).zip(text.chunks_mut(4)) {
        let bits =
            three.iter().fold(0u32, |bits, &b| bits << 8 | u32::from(b)) << (8 * (3 - three.len()));
        for (i, out) in four.iter_mut().enumerate().take(three.len() + 1) {
            *out = ALPHABET[(bits >> (18 - 6 * i) & 63) as usize];
        }
    }
    HeaderValue::from_bytes(&text).unwrap_or_else(|_| HeaderValue::from_static(""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_extended_connect_becomes_an_upgrade() {
        let request = http::Request::builder()
            .method("CONNECT")
            .version(Version::HTTP_2)
            .uri("http://chat.default/room?x=1")
            .extension(Protocol::from_static("websocket"))
            .body(())
            .expect("a request");
        let (mut parts, ()) = request.into_parts();
        let switch = asked(&parts, None).expect("asks for something");
        write_request(&mut parts, &switch, [0; 16]);
        assert_eq!((parts.method.as_str(), parts.uri.to_string()), ("GET", "/room?x=1".to_owned()));
        assert_eq!(parts.headers["host"], "chat.default");
        assert_eq!(parts.headers["upgrade"], "websocket");
        assert_eq!(parts.headers["sec-websocket-key"], "AAAAAAAAAAAAAAAAAAAAAA==");
    }

    #[test]
    fn base64_as_rfc_4648_has_it() {
        assert_eq!(base64(*b"the sample nonce"), "dGhlIHNhbXBsZSBub25jZQ==");
    }
}
